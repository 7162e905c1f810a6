"""Metric learning of an image tower."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ial_bench import Features, Photos, SkipMethod
from ial_bench.datasets.loader import Prepared, photo_tensors
from ial_bench.encoders.pooling import NetVLAD, start_centres
from ial_bench.seeds import derive_seed, generator
from ial_bench.training.augmentation import Augmentation, pixel_batches
from ial_bench.training.loop import Group, Trainer, full_precision
from ial_bench.training.order import BatchOrder, Rows
from ial_bench.training.ranks import Ranks
from ial_methods.retrieval.positives import classes_of

if TYPE_CHECKING:
    from ial_methods.retrieval.tuned import RetrievalTuned

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


class MetricTask:
    """Photos of a class are to be alike.

    Raises:
        SkipMethod: there is nothing to learn from.
    """

    def __init__(self, method: RetrievalTuned, train: Photos, val: Photos) -> None:
        config, context, tower = method.config, method.context, method.tower
        self._method, self._all, self._val, self._tower = method, train, val, tower
        self._best: tuple[int, Features, Features] | None = None  # an epoch, and the features after it
        self._train = train.part(np.flatnonzero(train.labels >= 0))
        if len(self._train) == 0:
            raise SkipMethod("there are no train photos to learn from")
        self._ranks = Ranks()
        classes, self.classes = classes_of(self._train, config.positives, config.cell_m, config.cell_degrees)
        self._classes = torch.from_numpy(classes)
        if isinstance(tower.head, NetVLAD):
            self._start(tower.head)
        self._view = Augmentation.of(tower.preprocessing, config)
        self._module = nn.ModuleDict({"tower": tower, "loss": self._loss().to(tower.device)})
        pairs = config.loss == "multi-similarity"
        order = BatchOrder(
            len(self._train), config.batch_size, context.seed, classes if pairs else None, self._ranks.size,
            config.views if pairs else None,
        )  # fmt: skip
        self.trainer = Trainer(method.info.name, self, config, order, context, self._ranks)

    def _loss(self) -> nn.Module:
        config = self._method.config
        if config.loss == "multi-similarity":
            return MultiSimilarity(config.alpha, config.beta, config.base, config.epsilon_mined)
        seed = derive_seed("cosface", self._method.context.seed)
        return CosFace(self.classes, self._tower.dim, config.margin, config.scale, seed)

    @property
    def rank(self) -> int:
        """Of this process among those that train."""
        return self._ranks.rank

    @property
    def module(self) -> nn.Module:
        """The tower, and the classifier of cosface."""
        return self._module

    def groups(self) -> list[Group]:
        """The encoder, a pooling that is trained, and the classifier."""
        config, tower = self._method.config, self._tower
        head = [] if tower.head is None else [p for p in tower.head.parameters() if p.requires_grad]
        own = {id(p) for p in head}
        body = [p for p in tower.parameters() if p.requires_grad and id(p) not in own]
        classifier = list(self._module["loss"].parameters())
        parts = [Group(body), Group(head, config.head_rate), Group(classifier, config.classifier_rate, decay=False)]
        return [g for g in parts if g.parameters]

    def inputs(self, batches: list[Rows], epoch: int) -> Iterator[torch.Tensor]:
        """Pixels of each batch."""
        context, kept = self._method.context, self._method.decoded
        pin = context.device.startswith("cuda")
        yield from pixel_batches(
            self._train, self._view, batches, context.seed, epoch, context.workers, pin=pin, kept=kept
        )

    def losses(self, rows: Rows, inputs: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """The loss over the joint batch."""
        device = self._tower.device
        features = self._ranks.gather(self._tower(inputs.to(device, non_blocking=True)).float())
        classes = self._ranks.gather(self._classes[rows].to(device))
        with full_precision(device):
            return {"loss": self._module["loss"](features, classes)}

    def after_step(self) -> None:
        """Nothing to keep within bounds."""

    def val_ssa1(self) -> float | None:
        """SSA-1 on val by the vote of the train photos, with the best k and temperature."""
        if len(self._val) == 0:
            return None
        train, val = self._encoded()
        found = self._method.best_on_val(train, val)
        if found is not None and found > self.trainer.log.best_val and self._method.context.work is not None:
            self._best = len(self.trainer.log.epochs) + 1, train, val  # on the disk: the epochs after it need no memory
        return found

    def features(self) -> tuple[Features, Features]:
        """Of all train photos and of val, by the tower after training: those that chose the epoch, where they are."""
        if self._best is not None and self._best[0] == self.trainer.log.best_epoch:
            return self._best[1:]
        return self._encoded()

    def _encoded(self) -> tuple[Features, Features]:
        return self._method.features(self._all), self._method.features(self._val)

    def _start(self, head: NetVLAD) -> None:
        """Begin NetVLAD with centres of local features of some train photos, the same in all processes."""
        context, tower = self._method.context, self._tower
        rng = generator("netvlad", context.seed)
        n = min(self._method.config.netvlad_photos, len(self._train))
        rows = np.sort(rng.choice(len(self._train), n, replace=False))
        batches = [part.tolist() for part in np.array_split(rows, -(-n // context.batch_size))]
        each = max(1, _MAX_LOCAL // n)
        local = []
        pin = context.device.startswith("cuda")
        pixels = photo_tensors(self._train, Prepared(tower.preprocess), batches, context.workers, pin=pin)
        with torch.inference_mode():
            for part in pixels:
                found = functional.normalize(tower.local(part.to(tower.device)).float(), dim=1).transpose(1, 2).cpu()
                local += [photo[rng.permutation(len(photo))[:each]] for photo in found.numpy()]
        seed = derive_seed("netvlad", context.seed) % 2**31
        head.start(*self._ranks.tell(start_centres(np.concatenate(local), head.clusters, seed)))
