"""MaPLe's training: the loss of photos against the candidates' prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from ial_bench import Photos, SkipMethod
from ial_bench.training.augmentation import Augmentation, pixel_batches
from ial_bench.training.loop import Group, Trainer, full_precision
from ial_bench.training.objective import match_loss
from ial_bench.training.order import BatchOrder, Rows, step_candidates
from ial_bench.training.ranks import Ranks

if TYPE_CHECKING:
    from ial_methods.prompt.maple import MaPLe


class MaPLeTask:
    """Photos against the candidates' prompts, on one dataset.

    Raises:
        SkipMethod: there is nothing to learn from.
    """

    def __init__(self, method: MaPLe, train: Photos, val: Photos) -> None:
        config, context = method.config, method.context
        self._method, self._val = method, val
        self._train = train.part(np.flatnonzero(train.labels >= 0))
        if len(self._train) == 0:
            raise SkipMethod("there are no train photos to learn from")
        self._labels = torch.from_numpy(self._train.labels.astype(np.int64))
        self._view = Augmentation.of(method.towers.preprocessing, config)
        self._ranks = Ranks()
        order = BatchOrder(len(self._train), config.batch_size, context.seed, multiple=self._ranks.size)
        self.trainer = Trainer(method.info.name, self, config, order, context, self._ranks)

    @property
    def module(self) -> nn.Module:
        """The prompts and their couplings."""
        return self._method.head

    def groups(self) -> list[Group]:
        """All of them."""
        return [Group(list(self.module.parameters()))]

    def inputs(self, batches: list[Rows], epoch: int) -> Iterator[torch.Tensor]:
        """Pixels of each batch."""
        context, kept = self._method.context, self._method.decoded
        pin = context.device.startswith("cuda")
        yield from pixel_batches(
            self._train, self._view, batches, context.seed, epoch, context.workers, pin=pin, kept=kept
        )

    def losses(self, rows: Rows, inputs: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """Mean over the joint batch of `match_loss`."""
        method, towers = self._method, self._method.towers
        images = self._ranks.gather(method.encode_pixels(inputs.to(towers.device, non_blocking=True)).float())
        labels = self._ranks.gather(self._labels[rows].to(towers.device))
        some = self._some(labels)
        texts = F.normalize(method.encode_prompts(some).float(), dim=-1)
        with full_precision(towers.device):
            logits = towers.biased(towers.logit_scale.float() * F.normalize(images, dim=-1) @ texts.T)
        target = labels if some is None else torch.searchsorted(some, labels)
        return {"loss": match_loss(logits, target, method.scores_are)}

    def _some(self, labels: torch.Tensor) -> torch.Tensor | None:
        size, seed = self._method.config.candidates_per_step, self._method.context.seed
        step = self.trainer.log.steps
        drawn = step_candidates(labels.cpu().numpy(), len(self._method.prompts), size, seed, step)
        return None if drawn is None else torch.from_numpy(drawn).to(labels.device)

    def after_step(self) -> None:
        """Nothing to keep within bounds."""

    def val_ssa1(self) -> float | None:
        """SSA-1 on val."""
        return self._method.ssa1(self._val)
