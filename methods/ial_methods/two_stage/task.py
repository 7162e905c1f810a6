"""Training of first stages on cached features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from ial_bench import Features, SkipMethod
from ial_bench.datasets.loader import feature_batches
from ial_bench.geocoding.geocoder import NearestPlace, PlaceIndex
from ial_bench.training.loop import Group, Trainer
from ial_bench.training.order import BatchOrder, Rows
from ial_bench.training.ranks import Ranks

if TYPE_CHECKING:
    from ial_methods.two_stage.regression import Regression


class LocatingTask(ABC):
    """Photos' features against their positions; the epoch is kept whose positions have the best SSA-1 on val.

    Args:
        stage1: has `config`, `context`, `name` and `locate`.
        train: photos to learn from.
        val: photos to choose the epoch on.

    Raises:
        SkipMethod: there is nothing to learn from.
    """

    def __init__(self, stage1: Any, train: Features, val: Features) -> None:
        if len(train) == 0:
            raise SkipMethod("there are no train photos to learn from")
        self._stage1, self._train, self._val = stage1, train, val
        self._ranks = Ranks()
        config, context = stage1.config, stage1.context
        self._geocoder = NearestPlace(PlaceIndex.of(train.photos)) if len(val) else None
        order = BatchOrder(len(train), config.batch_size, context.seed, multiple=self._ranks.size)
        self.trainer = Trainer(stage1.name, self, config, order, context, self._ranks)

    @property
    @abstractmethod
    def module(self) -> nn.Module:
        """All that is trained."""

    @abstractmethod
    def losses(self, rows: Rows, inputs: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """As `Task.losses`."""

    def groups(self) -> list[Group]:
        """All of it."""
        return [Group(list(self.module.parameters()))]

    def inputs(self, batches: list[Rows], epoch: int) -> Iterator[torch.Tensor]:  # noqa: ARG002 - features stay the same
        """Unit features of each batch."""
        for x in feature_batches(self._train.x, batches):
            yield F.normalize(x, dim=-1)

    def after_step(self) -> None:  # noqa: B027 - most need nothing
        """Nothing to keep within bounds."""

    def val_ssa1(self) -> float | None:
        """SSA-1 on val by the nearest train place."""
        if self._geocoder is None:
            return None
        right = 0
        for x, labels in self._val.blocks(1024):
            right += int((self._geocoder.rank(self._stage1.locate(x), 1).indices[:, 0] == labels).sum())
        return right / len(self._val)


class RegressionTask(LocatingTask):
    """Photos' features against coordinates.

    Args:
        stage1: whose head is trained.
        train: photos to learn from.
        val: photos to choose the epoch on.
        metres: float32 [n, 2], positions of the train photos.

    Raises:
        SkipMethod: there is nothing to learn from.
    """

    _stage1: Regression

    def __init__(self, stage1: Regression, train: Features, val: Features, metres: npt.NDArray[np.float32]) -> None:
        super().__init__(stage1, train, val)
        self._metres = metres

    @property
    def module(self) -> nn.Module:
        """The head."""
        return self._stage1.head

    def losses(self, rows: Rows, inputs: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """Mean Huber loss of both coordinates over the joint batch, over its threshold: metres, of large errors."""
        device, threshold = self._stage1.context.device, self._stage1.config.huber_m
        found = self._ranks.gather(self._stage1.head(inputs.to(device)).float())
        true = self._ranks.gather(torch.from_numpy(self._metres[rows]).to(device))
        return {"loss": F.huber_loss(found, true, delta=threshold) / threshold}
