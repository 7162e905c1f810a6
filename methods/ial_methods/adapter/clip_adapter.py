"""CLIP-Adapter: a small network that adapts CLIP's image feature (Gao et al., IJCV 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from ial_bench import Candidates, Features, MethodInfo, Sizes, State, Workload, derive_seed
from ial_bench.training.checkpoint import TrainingLog
from ial_bench.training.feature_method import FeatureTrainingMethod
from ial_methods.clip.zero_shot import TemplateSettings, scaled_texts

if TYPE_CHECKING:
    import torch
    from torch import nn

_PAPER_RATIO = 0.2
_PAPER = {
    "ratio_grid": (_PAPER_RATIO,), "reduction": 4, "epochs": 200, "batch_size": 32, "optimiser": "sgd",
    "learning_rate": 2e-3, "final_rate": 0.0, "warm_up": 0.005, "weight_decay": 5e-4, "clip_norm": None,
}  # fmt: skip


class ClipAdapter(FeatureTrainingMethod):
    """A bottleneck network of two layers on the image feature; both towers stay frozen.

    The share of the adapted feature in the blend is chosen on val, by one training for each ratio of the grid. With
    ratio 0 it is zero-shot CLIP. The paper's text adapter, which gains nothing beside the image adapter there, is
    left out.
    """

    info = MethodInfo(
        name="clip-adapter",
        title="CLIP-Adapter",
        family="adapter",
        summary="A trained bottleneck network on CLIP's image feature, blended with it.",
        reference="Gao et al., CLIP-Adapter: Better Vision-Language Models with Feature Adapters, IJCV 2024",
        stochastic=True,
        final_fit="train",
        scores="logits",
        version="2",
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": _PAPER}

    class Config(TemplateSettings, FeatureTrainingMethod.Config):
        """Settings; the defaults of the schedule are sized for a city of some thousand photos."""

        reduction: int = Field(4, ge=1, description="length of a feature over the width of the bottleneck")
        ratio_grid: tuple[float, ...] = Field(
            (0.2, 0.6),
            min_length=1,
            description="shares of the adapted feature in the blend to choose from; one value fixes it",
        )
        epochs: int = Field(20, ge=1, description="passes over the train photos; the best by val SSA-1 is kept")
        learning_rate: float = Field(0.02, gt=0, description="the largest, reached after the warm-up")

        @field_validator("ratio_grid")
        @classmethod
        def _shares(cls, grid: tuple[float, ...]) -> tuple[float, ...]:
            if not all(0 <= ratio <= 1 for ratio in grid):
                raise ValueError("ratios lie from 0 to 1")
            return grid

    config: Config
    head: nn.ModuleDict

    def workload(self, sizes: Sizes) -> Workload:
        """A training for each ratio."""
        once = super().workload(sizes)
        return replace(once, fit=once.fit * len(self.config.ratio_grid))

    def head_parameters(self, sizes: Sizes) -> float:
        """The bottleneck and the texts behind it."""
        return 2.0 * sizes.dim * sizes.dim / self.config.reduction + super().head_parameters(sizes)

    def fit_features(self, train: Features, val: Features) -> None:
        """Train for each ratio; the one that is best on val is kept, of equals the first."""
        self.texts = scaled_texts(self.context.features, self.backbone, train.photos.candidates, self.config.templates)
        tried: dict[float, float] = {}
        best: tuple[float, nn.ModuleDict, dict[str, Any]] | None = None
        for ratio in self._ratios(val):
            self._fit_with(ratio, train, val)
            if len(val):
                tried[ratio] = self.ssa1(val)
            if best is None or tried[ratio] > tried[best[0]]:
                best = ratio, self.head, self.facts["training"]
        assert best is not None  # noqa: S101 - the grid is not empty
        self.ratio, self.head, self.facts["training"] = best
        self.facts["ratio"] = self.ratio
        self.facts["val_ssa1_by_ratio"] = {f"{ratio:g}": ssa1 for ratio, ssa1 in tried.items()}

    def _ratios(self, val: Features) -> tuple[float, ...]:
        grid = self.config.ratio_grid
        if len(grid) > 1 and len(val) == 0:
            self.context.report.log(f"{self.info.name}: no val split to choose the ratio on; taking {_PAPER_RATIO}")
            return (_PAPER_RATIO,)
        return grid

    def _fit_with(self, ratio: float, train: Features, val: Features) -> None:
        self.ratio = ratio
        if ratio == 0:  # nothing of the adapter is left to train
            self.head, self.facts["training"] = self._new_head(), TrainingLog().as_dict()
            return
        whole = self.context
        if whole.work is not None:  # each ratio has checkpoints of its own
            self.context = replace(whole, work=whole.work / f"ratio-{ratio:g}")
        try:
            super().fit_features(train, val)
        finally:
            self.context = whole

    def build(self, candidates: Candidates) -> nn.ModuleDict:  # noqa: ARG002 - their texts are encoded once for all
        return self._new_head()

    def _new_head(self) -> nn.ModuleDict:
        """The bottleneck with random weights, ``A(f) = ReLU(W2 ReLU(W1 f))``, and the texts behind it."""
        import torch
        from torch import nn

        d = self.texts.shape[1]
        width = max(1, d // self.config.reduction)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed("clip-adapter", self.context.seed))
            down, up = nn.Linear(d, width, bias=False), nn.Linear(width, d, bias=False)
        head = nn.ModuleDict({"down": down, "up": up})
        head.register_buffer("texts", torch.from_numpy(self.texts))
        return head.to(self.context.device)

    def logits(self, x: torch.Tensor, some: torch.Tensor | None) -> torch.Tensor:
        """Scaled cosines of ``ratio A(f) + (1 - ratio) f`` with the texts.

        As in the authors' code, the feature goes in as CLIP gives it, is normalised after the blend, and A has an
        outer ReLU.
        """
        from torch.nn.functional import normalize, relu

        adapted = relu(self.head["up"](relu(self.head["down"](x))))
        unit = normalize(self.ratio * adapted + (1 - self.ratio) * x, dim=-1)
        texts: torch.Tensor = self.head.texts  # type: ignore[assignment]
        return unit @ (texts if some is None else texts[some]).T + (self.logit_bias or 0.0)

    def state(self) -> State:
        return {**super().state(), "texts": self.texts, "ratio": np.array(self.ratio)}

    def restore(self, state: State) -> None:
        self.texts, self.ratio = np.array(state["texts"]), float(state["ratio"])
        self.head = self._new_head()
        self.restore_head(state)
