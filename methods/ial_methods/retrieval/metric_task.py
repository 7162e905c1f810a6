"""Metric learning of an image tower."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ial_bench import Features, Photos, RunContext, derive_seed, generator
from ial_bench.datasets.loader import DecodedPhotos, Prepared, photo_tensors
from ial_bench.encoders.image_tower import ImageTower
from ial_bench.encoders.pooling import NetVLAD, start_centres
from ial_bench.training.loop import Group, full_precision
from ial_bench.training.sampler import BatchSampler, Rows
from ial_bench.training.task import PhotoTask
from ial_methods.retrieval.metric import MetricConfig, classes_of

_MAX_LOCAL = 100_000
"""Local features that k-means sees at most."""


class MultiSimilarity(nn.Module):
    """The multi-similarity loss over the pairs that its miner keeps, cosines between features.

    Args:
        alpha: sharpness on positives.
        beta: sharpness on negatives.
        base: lambda of the paper.
        epsilon: the miner's margin.
    """

    def __init__(self, alpha: float, beta: float, base: float, epsilon: float) -> None:
        super().__init__()
        from pytorch_metric_learning.losses import MultiSimilarityLoss
        from pytorch_metric_learning.miners import MultiSimilarityMiner

        self._loss: Any = MultiSimilarityLoss(alpha=alpha, beta=beta, base=base)
        self._miner: Any = MultiSimilarityMiner(epsilon=epsilon)

    def forward(self, x: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Mean over features [n, d] of classes int64 [n]."""
        loss: torch.Tensor = self._loss(x, classes, self._miner(x, classes))
        return loss


class CosFace(nn.Module):
    """Cross-entropy of cosines with a weight per class, times `scale`, that of the right one less `margin`.

    Args:
        classes: how many.
        dim: length of a feature.
        margin: a cosine.
        scale: a factor.
        seed: of the weights at the start.
    """

    def __init__(self, classes: int, dim: int, margin: float, scale: float, seed: int) -> None:
        super().__init__()
        from pytorch_metric_learning.losses import CosFaceLoss

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._loss: Any = CosFaceLoss(classes, dim, margin=margin, scale=scale)

    def forward(self, x: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Mean over features [n, d] of classes int64 [n]."""
        loss: torch.Tensor = self._loss(x, classes)
        return loss


class MetricTask(PhotoTask):
    """Photos of a class are to be alike. Arguments not named here are those of `PhotoTask`.

    Args:
        config: settings.
        tower: what is trained.
        train: photos to learn from.
        val: photos to choose the epoch on.
        features: of photos, by the tower as it is.
        best_on_val: SSA-1 on val by the vote of the train photos, from features of both; None without val.
    """

    config: MetricConfig

    def __init__(
        self, name: str, config: MetricConfig, context: RunContext, tower: ImageTower, train: Photos, val: Photos,
        kept: DecodedPhotos, features: Callable[[Photos], Features],
        best_on_val: Callable[[Features, Features], float | None],
    ) -> None:  # fmt: skip
        super().__init__(name, config, context, tower, train, tower.preprocessing, kept, self._val_ssa1)
        self._tower, self._parts = tower, (train, val)
        self._features, self._best_on_val = features, best_on_val
        self._best: tuple[int, Features, Features] | None = None  # an epoch, and the features after it
        self._classes, self.classes = classes_of(self.photos, config.positives, config.cell_m, config.cell_degrees)
        if isinstance(tower.head, NetVLAD):
            self._start(tower.head)
        self._loss = self._new_loss().to(tower.device)
        self.module = nn.ModuleDict({"tower": tower, "loss": self._loss})

    def _new_loss(self) -> nn.Module:
        config = self.config
        if config.loss == "multi-similarity":
            return MultiSimilarity(config.alpha, config.beta, config.base, config.epsilon_mined)
        seed = derive_seed("cosface", self.context.seed)
        return CosFace(self.classes, self._tower.dim, config.margin, config.scale, seed)

    def sampler(self) -> BatchSampler:
        """With several photos of a class in a batch, for a loss over pairs."""
        pairs, config = self.config.loss == "multi-similarity", self.config
        classes, views = (self._classes, config.views) if pairs else (None, None)
        return BatchSampler(self.n, config.batch_size, self.context.seed, classes, self.ranks.size, views)

    def groups(self) -> list[Group]:
        """The encoder, a pooling that is trained, and the classifier."""
        config, tower = self.config, self._tower
        head = [] if tower.head is None else [p for p in tower.head.parameters() if p.requires_grad]
        own = {id(p) for p in head}
        body = [p for p in tower.parameters() if p.requires_grad and id(p) not in own]
        classifier = list(self._loss.parameters())
        parts = [Group(body), Group(head, config.head_rate), Group(classifier, config.classifier_rate, decay=False)]
        return [g for g in parts if g.parameters]

    def losses(self, rows: Rows, inputs: torch.Tensor) -> Mapping[str, torch.Tensor]:
        device = self._tower.device
        features = self.ranks.gather(self._tower(inputs.to(device, non_blocking=True)).float())
        classes = self.ranks.gather(torch.from_numpy(self._classes[rows]).to(device))
        with full_precision(device):
            return {"loss": self._loss(features, classes)}

    def _val_ssa1(self) -> float | None:
        if len(self._parts[1]) == 0:
            return None
        train, val = self._encoded()
        found = self._best_on_val(train, val)
        if found is not None and found > self.trainer.log.best_val and self.context.work is not None:
            self._best = len(self.trainer.log.epochs) + 1, train, val  # on the disk: the epochs after it need no memory
        return found

    def features(self) -> tuple[Features, Features]:
        """Of all train photos and of val, by the tower after training: those that chose the epoch, where they are."""
        if self._best is not None and self._best[0] == self.trainer.log.best_epoch:
            return self._best[1:]
        return self._encoded()

    def _encoded(self) -> tuple[Features, Features]:
        train, val = self._parts
        return self._features(train), self._features(val)

    def _start(self, head: NetVLAD) -> None:
        """Begin NetVLAD with centres of local features of some train photos, the same in all processes."""
        context, tower = self.context, self._tower
        rng = generator("netvlad", context.seed)
        n = min(self.config.netvlad_photos, len(self.photos))
        rows = np.sort(rng.choice(len(self.photos), n, replace=False))
        batches = [part.tolist() for part in np.array_split(rows, -(-n // context.batch_size))]
        each = max(1, _MAX_LOCAL // n)
        local = []
        pin = context.device.startswith("cuda")
        pixels = photo_tensors(self.photos, Prepared(tower.preprocess), batches, context.workers, pin=pin)
        with torch.inference_mode():
            for part in pixels:
                found = functional.normalize(tower.local(part.to(tower.device)).float(), dim=1).transpose(1, 2).cpu()
                local += [photo[rng.permutation(len(photo))[:each]] for photo in found.numpy()]
        seed = derive_seed("netvlad", context.seed) % 2**31
        head.start(*self.ranks.tell(start_centres(np.concatenate(local), head.clusters, seed)))
