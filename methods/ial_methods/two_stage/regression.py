"""Image -> GPS -> address with a first stage that is trained to give coordinates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ial_bench import Effort, Features, MethodInfo, RunContext, Sizes, unit_norm
from ial_bench.geo.points import Points, centroids
from ial_bench.geo.projections import from_local_m, to_local_m
from ial_bench.training.checkpoint import put_tensors, trained_tensors
from ial_bench.training.config import TrainingConfig
from ial_methods.two_stage.pipeline import REFERENCE, Pipeline, ValByPlace

if TYPE_CHECKING:
    from ial_methods.two_stage.training import PositionHead

_FILE = "head.npz"


class TwoStageRegression(Pipeline):
    """A network on the frozen feature gives metres east and north of the middle of the train photos.

    It is trained by the Huber loss of both, and the epoch is kept whose positions have the best SSA-1 on val by the
    nearest train place, whatever the second stage.
    """

    info = MethodInfo(
        name="two-stage-regression",
        title="Image-GPS-Address (regression)",
        family="two-stage",
        summary="Position by a trained regression head, then the address by a geocoder.",
        reference=REFERENCE,
        stochastic=True,
        final_fit="train",
        version="2",
    )

    class Config(TrainingConfig, Pipeline.Config):
        """Settings; the defaults are sized for a city of some thousand photos."""

        width: int = Field(2048, ge=1, description="of the head's hidden layer")
        huber_m: float = Field(50.0, gt=0, description="the loss is quadratic below, and linear above so many metres")
        epochs: int = Field(60, ge=1, description="passes over the train photos; the best by val SSA-1 is kept")
        learning_rate: float = Field(3e-3, gt=0, description="the largest, reached after the warm-up")
        weight_decay: float = Field(0.3, ge=0, description="of matrices; vectors and scalars are never decayed")

    config: Config
    stage1: Regression

    def stage1_effort(self, sizes: Sizes) -> Effort:
        """Train photos through the head both ways, those of val forwards."""
        config, steps = self.config, self.config.steps_over(sizes.train)
        seen = 6 * steps * min(config.batch_size, sizes.train) + 2 * config.epochs * sizes.val
        return Effort(flops=seen * self.stage1_parameters(sizes), steps=steps)

    def stage1_parameters(self, sizes: Sizes) -> float:
        return float(self.config.width * (sizes.dim + 3) + 2)

    def __init__(self, config: Config, context: RunContext) -> None:
        super().__init__(config, context)
        self.stage1 = Regression(config, context, self.info.name)


class Regression:
    """The first stage.

    Args:
        config: settings.
        context: seed and device.
        name: of the method, for progress.
    """

    head: PositionHead

    def __init__(self, config: TwoStageRegression.Config, context: RunContext, name: str) -> None:
        self.config, self.context, self.name = config, context, name

    def fit(self, train: Features, val: Features, log: Callable[[str], None]) -> None:  # noqa: ARG002 - the engine logs
        """Train the head; that of the best epoch on val is kept.

        Raises:
            SkipMethod: there are no train photos.
        """
        from ial_methods.two_stage.training import PositionHead, RegressionTask

        positions = train.photos.positions
        self.origin = centroids(positions, np.zeros(len(positions), dtype=np.int64), 1)[0]
        metres = to_local_m(positions, self.origin).astype(np.float32)
        # Outputs of about 1 then mean what is usual in this city.
        scale = max(float(np.sqrt(np.square(metres).mean())), 1.0) if len(metres) else 1.0
        c, context = self.config, self.context
        self.head = PositionHead(train.x.shape[1], c.width, scale, context.seed).to(context.device)
        val_ssa1 = ValByPlace(train, val, self.locate)
        self._log = RegressionTask(self.name, c, context, self.head, c.huber_m, train.x, metres, val_ssa1).trainer.run()

    def index(self, parts: Sequence[Features], encoder: str) -> None:
        """Nothing to do: the head needs no gallery."""

    def locate(self, x: npt.NDArray[np.float32]) -> Points:
        """The head's answers as latitude and longitude."""
        import torch

        with torch.inference_mode():
            metres = self.head(torch.from_numpy(unit_norm(x)).to(self.context.device)).cpu().numpy()
        return from_local_m(metres.astype(np.float64), self.origin)

    def facts(self) -> Mapping[str, Any]:
        return {"training": self._log.as_dict()}

    def storage_bytes(self) -> int:
        return sum(p.numel() * p.element_size() for p in self.head.parameters())

    def trained_parameters(self) -> int:
        return sum(p.numel() for p in self.head.parameters())

    def save(self, folder: Path) -> None:
        arrays: dict[str, Any] = {n: t.numpy() for n, t in trained_tensors(self.head).items()}
        np.savez(folder / _FILE, scale=np.array(self.head.scale), origin=self.origin, **arrays)

    def load(self, folder: Path, encoder: str) -> None:  # noqa: ARG002 - its weights are its own
        import torch

        from ial_methods.two_stage.training import PositionHead

        with np.load(folder / _FILE, allow_pickle=False) as stored:
            arrays = {n: stored[n] for n in stored.files}
        scale, self.origin = float(arrays.pop("scale")), arrays.pop("origin")
        dim, width = arrays["hidden.weight"].shape[1], arrays["hidden.weight"].shape[0]
        self.head = PositionHead(dim, width, scale, self.context.seed).to(self.context.device)
        put_tensors(self.head, {n: torch.from_numpy(a) for n, a in arrays.items()})
