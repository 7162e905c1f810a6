"""Tasks to train: on photos or on cached features, with a loss against the candidates or one of a subclass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from ial_bench.datasets.loader import DecodedPhotos, feature_batches
from ial_bench.datasets.photos import Photos
from ial_bench.frozen import Features
from ial_bench.method import RunContext, Scores
from ial_bench.training.augmentation import Augmentation, pixel_batches
from ial_bench.training.config import PhotoTrainingConfig, TrainingConfig
from ial_bench.training.loop import TrainingTask
from ial_bench.training.sampler import Rows, step_candidates

Logits: TypeAlias = Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]


class PhotoTask(TrainingTask):
    """A task on the pixels of the labelled train photos. Arguments not named here are those of `TrainingTask`.

    Args:
        train: photos; those whose address is no candidate are left out.
        preprocessing: of the encoder, for evaluation.
        kept: where decoded photos are kept.
    """

    def __init__(
        self, name: str, config: PhotoTrainingConfig, context: RunContext, module: nn.Module, train: Photos,
        preprocessing: dict[str, Any], kept: DecodedPhotos, val_ssa1: Callable[[], float | None],
    ) -> None:  # fmt: skip
        self.photos = train.part(np.flatnonzero(train.labels >= 0))
        super().__init__(name, config, context, module, len(self.photos), val_ssa1)
        self.labels = torch.from_numpy(self.photos.labels.astype(np.int64))
        self.augmentation, self.kept = Augmentation.of(preprocessing, config), kept

    def inputs(self, batches: list[Rows], epoch: int) -> Iterator[torch.Tensor]:
        """Pixels of each batch."""
        context, pin = self.context, self.device.type == "cuda"
        return pixel_batches(
            self.photos, self.augmentation, batches, context.seed, epoch, context.workers, pin=pin, kept=self.kept
        )


class FeatureTask(TrainingTask):
    """A task on cached features. Arguments not named here are those of `TrainingTask`.

    Args:
        x: float32 [m, d], may be memory-mapped.
        rows: int64 [n], those to learn from.
        unit: whether they are brought to unit norm.
    """

    def __init__(
        self, name: str, config: TrainingConfig, context: RunContext, module: nn.Module, x: npt.NDArray[np.float32],
        rows: Rows, val_ssa1: Callable[[], float | None], *, unit: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(name, config, context, module, len(rows), val_ssa1)
        self.x, self.rows, self._unit = x, rows, unit

    def inputs(self, batches: list[Rows], epoch: int) -> Iterator[torch.Tensor]:  # noqa: ARG002 - the same in all
        """Features of each batch."""
        for x in feature_batches(self.x, [self.rows[b] for b in batches]):
            yield F.normalize(x, dim=-1) if self._unit else x


class FeatureMatchTask(FeatureTask):
    """Cached features against the candidates. Arguments not named here are those of `TrainingTask`.

    Args:
        train: photos; those whose address is no candidate are left out.
        logits: of features [b, d] on the device against some candidates or all, as of `candidate_loss`.
        size: candidates of a step, as of `candidate_loss`.
        scores: what the logits are.
    """

    def __init__(
        self, name: str, config: TrainingConfig, context: RunContext, module: nn.Module, train: Features,
        logits: Logits, size: int | None, scores: Scores, val_ssa1: Callable[[], float | None],
    ) -> None:  # fmt: skip
        super().__init__(name, config, context, module, train.x, np.flatnonzero(train.labels >= 0), val_ssa1)
        self._labels = torch.from_numpy(train.labels[self.rows].astype(np.int64))
        self._n_candidates = len(train.photos.candidates)
        self._logits, self._size, self._scores = logits, size, scores

    def losses(self, rows: Rows, inputs: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """Mean over the joint batch of `match_loss`."""
        x, labels = inputs.to(self.device), self._labels[rows].to(self.device)

        def logits(some: torch.Tensor | None) -> torch.Tensor:
            return self.ranks.gather(self._logits(x, some).float())

        return {"loss": candidate_loss(self, logits, labels, self._n_candidates, self._size, self._scores)}


class PhotoMatchTask(PhotoTask):
    """Photos against the candidates. Arguments not named here are those of `PhotoTask`.

    Args:
        encode: pixels to features.
        logits: of features [b, d] against some candidates or all, as of `candidate_loss`.
        size: candidates of a step, as of `candidate_loss`.
        scores: what the logits are.
    """

    def __init__(
        self, name: str, config: PhotoTrainingConfig, context: RunContext, module: nn.Module, train: Photos,
        preprocessing: dict[str, Any], kept: DecodedPhotos, encode: Callable[[torch.Tensor], torch.Tensor],
        logits: Logits, size: int | None, scores: Scores, val_ssa1: Callable[[], float | None],
    ) -> None:  # fmt: skip
        super().__init__(name, config, context, module, train, preprocessing, kept, val_ssa1)
        self._encode, self._logits, self._size, self._scores = encode, logits, size, scores

    def losses(self, rows: Rows, inputs: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """Mean over the joint batch of `match_loss`."""
        x = self.ranks.gather(self._encode(inputs.to(self.device, non_blocking=True)).float())
        labels, n = self.labels[rows].to(self.device), len(self.photos.candidates)
        return {"loss": candidate_loss(self, partial(self._logits, x), labels, n, self._size, self._scores)}


def candidate_loss(
    task: TrainingTask, logits: Callable[[torch.Tensor | None], torch.Tensor], labels: torch.Tensor, n_candidates: int,
    size: int | None, scores: Scores,
) -> torch.Tensor:  # fmt: skip
    """`match_loss` of the joint batch, against all candidates or `size` of them.

    Args:
        task: whose step it is.
        logits: of the joint batch [n, c] for some candidates (int64 [c], sorted), or for all (None).
        labels: int64 [b], of this process's photos.
        n_candidates: in all.
        size: candidates of a step: those of the batch, and others drawn anew each time; None: all.
        scores: what the logits are.
    """
    target, some = task.ranks.gather(labels), None
    if size is not None:
        seed, step = task.context.seed, task.trainer.log.steps
        drawn = step_candidates(target.cpu().numpy(), n_candidates, size, seed, step)
        some = None if drawn is None else torch.from_numpy(drawn).to(target.device)
    found = logits(some)
    return match_loss(found, target if some is None else torch.searchsorted(some, target), scores)


def match_loss(logits: torch.Tensor, target: torch.Tensor, scores: Scores) -> torch.Tensor:
    """Mean over photos of the loss against their right candidates.

    Cross-entropy of the softmax over all candidates; of ``sigmoid`` scores the sum over candidates of the binary loss
    ``-log sigmoid(z l)``, z = 1 for the right one and -1 for all others, without a softmax (Zhai et al., Sigmoid Loss
    for Language Image Pre-Training, ICCV 2023, equation 1).

    Args:
        logits: [n, n_candidates], with the bias of a sigmoid model.
        target: int64 [n].
        scores: what the logits are.
    """
    if scores != "sigmoid":
        return F.cross_entropy(logits, target)
    right = F.one_hot(target, logits.shape[1]).to(logits.dtype)
    return -F.logsigmoid((2 * right - 1) * logits).sum(dim=1).mean()
