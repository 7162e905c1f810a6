"""Base class of methods that train something small on features of CLIP's frozen image tower.

The photos' features come from the engine's cache, so an epoch costs no image encoding; photos are therefore not
changed in training. Torch is imported where it is used: methods are listed and planned without it.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ial_bench.datasets.photos import Candidates
from ial_bench.frozen import Features, FrozenEncoderMethod, FrozenTextMethod
from ial_bench.method import State
from ial_bench.training.checkpoint import put_tensors, tensors_from_state, tensors_to_state, trained_tensors
from ial_bench.training.config import TrainingConfig
from ial_bench.workload import PHOTO, Effort, Sizes, Workload

if TYPE_CHECKING:
    import torch
    from torch import nn


class FeatureTrainingMethod(FrozenTextMethod):
    """Trains a head that turns features of photos into logits of candidates, by `match_loss`.

    A subclass implements `build` and `logits`; and `answer_with` if the head needs something for queries, such as text
    features, that is computed once and not in every call.
    """

    class Config(TrainingConfig, FrozenEncoderMethod.Config):
        """Settings of every such method."""

        candidates_per_step: int | None = Field(
            None, ge=2, description="candidates that a step tells apart, drawn anew each time; null: all"
        )

    config: Config
    head: nn.Module

    @abstractmethod
    def build(self, candidates: Candidates) -> nn.Module:
        """The head, on the device, from the run's seed; only the parameters that are trained ask for gradients."""

    @abstractmethod
    def logits(self, x: torch.Tensor, some: torch.Tensor | None) -> torch.Tensor:
        """Logits [n, n_candidates] of raw features [n, d] on the device, with gradients; with the encoder's bias.

        `some`: int64, sorted, the candidates to score; the logits are then [n, len(some)].
        """

    def answer_with(self) -> None:
        """Compute what `score_features` needs from the head as it is. Called without gradients."""

    def fit_features(self, train: Features, val: Features) -> None:
        """Train the head; that of the best epoch on val is kept."""
        from ial_bench.training.task import FeatureMatchTask

        self.head = self.build(train.photos.candidates)
        task = FeatureMatchTask(
            self.info.name, self.config, self.context, self.head, train, self.logits, self.config.candidates_per_step,
            self.scores_are, partial(self._val_ssa1, val),
        )  # fmt: skip
        self.facts["training"] = task.trainer.run().as_dict()
        self.refresh()

    def _val_ssa1(self, val: Features) -> float | None:
        if len(val) == 0:
            return None
        self.refresh()
        return self.ssa1(val)

    def workload(self, sizes: Sizes) -> Workload:
        """The head's arithmetic on features: a linear map to the candidates, unless a subclass knows better."""
        config, head = self.config, self.head_parameters(sizes)
        steps = config.steps_over(sizes.train)
        shown = min(config.candidates_per_step or sizes.candidates, sizes.candidates)
        seen = steps * min(config.batch_size, sizes.train)
        share = shown / max(1, sizes.candidates)
        flops = (6 * seen * share + 2 * config.epochs * sizes.val) * head
        return Workload(self.text_effort(sizes) + Effort(flops=flops, steps=steps), PHOTO, head)

    def head_parameters(self, sizes: Sizes) -> float:
        """Parameters of the head, each used once for a photo."""
        return float(sizes.dim * sizes.candidates)

    def refresh(self) -> None:
        """Make `score_features` answer with the head as it is now."""
        import torch

        with torch.inference_mode():
            self.answer_with()

    def score_features(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits of all candidates."""
        import torch

        with torch.inference_mode():
            logits = self.logits(torch.tensor(x, device=self.context.device), None)  # copied: the cache is read-only
        scores: npt.NDArray[np.float32] = logits.float().cpu().numpy()
        return scores

    def trained_parameters(self) -> int:
        """Parameters of the head that are trained."""
        return sum(p.numel() for p in self.head.parameters() if p.requires_grad)

    def state(self) -> State:
        """The head's trained parameters. Subclasses add what `rebuild` needs."""
        return tensors_to_state(trained_tensors(self.head))

    def restore_head(self, state: State) -> None:
        """Copy the trained parameters into `self.head`, which has been built."""
        put_tensors(self.head, tensors_from_state(state))
        self.refresh()
