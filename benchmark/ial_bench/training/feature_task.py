"""The loss of a head's logits on cached features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from ial_bench.datasets.loader import feature_batches
from ial_bench.errors import SkipMethod
from ial_bench.frozen import Features
from ial_bench.training.loop import Group, Trainer
from ial_bench.training.objective import match_loss
from ial_bench.training.order import BatchOrder, Rows, step_candidates
from ial_bench.training.ranks import Ranks

if TYPE_CHECKING:
    from ial_bench.training.feature_method import FeatureTrainingMethod


class FeatureTask:
    """Photos' features against the candidates.

    Raises:
        SkipMethod: there is nothing to learn from.
    """

    def __init__(self, method: FeatureTrainingMethod, train: Features, val: Features) -> None:
        self._method, self._train, self._val = method, train, val
        self._rows = np.flatnonzero(train.labels >= 0)
        if len(self._rows) == 0:
            raise SkipMethod("there are no train photos to learn from")
        self._n_candidates = len(train.photos.candidates)
        self._ranks = Ranks()
        config, context = method.config, method.context
        order = BatchOrder(len(self._rows), config.batch_size, context.seed, multiple=self._ranks.size)
        self.trainer = Trainer(method.info.name, self, config, order, context, self._ranks)

    @property
    def module(self) -> nn.Module:
        """The head."""
        return self._method.head

    def groups(self) -> list[Group]:
        """The head's trained parameters."""
        return [Group([p for p in self.module.parameters() if p.requires_grad])]

    def inputs(self, batches: list[Rows], epoch: int) -> Iterator[torch.Tensor]:  # noqa: ARG002 - features stay the same
        """Features of each batch."""
        yield from feature_batches(self._train.x, [self._rows[b] for b in batches])

    def losses(self, rows: Rows, inputs: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """Mean over the joint batch of `match_loss`."""
        device = self._method.context.device
        labels = torch.from_numpy(self._train.labels[self._rows[rows]].astype(np.int64)).to(device)
        some = self._some(labels)
        logits = self._ranks.gather(self._method.logits(inputs.to(device), some).float())
        target = self._ranks.gather(labels)
        if some is not None:
            target = torch.searchsorted(some, target)
        return {"loss": match_loss(logits, target, self._method.scores_are)}

    def _some(self, labels: torch.Tensor) -> torch.Tensor | None:
        """The candidates of this step: those of the whole batch, and others drawn at random. None: all."""
        size, seed = self._method.config.candidates_per_step, self._method.context.seed
        if size is None:
            return None
        joint = self._ranks.gather(labels).cpu().numpy()
        drawn = step_candidates(joint, self._n_candidates, size, seed, self.trainer.log.steps)
        return None if drawn is None else torch.from_numpy(drawn).to(labels.device)

    def after_step(self) -> None:
        """Nothing to keep within bounds."""

    def val_ssa1(self) -> float | None:
        """SSA-1 on val."""
        if len(self._val) == 0:
            return None
        self._method.refresh()
        return self._method.ssa1(self._val)
