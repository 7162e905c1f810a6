"""A small regression to train, with every knob a test needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ial_bench.engine.features import FeatureStore
from ial_bench.method import RunContext
from ial_bench.progress import NoReport
from ial_bench.training.config import TrainingConfig
from ial_bench.training.loop import Group, Trainer
from ial_bench.training.ranks import Ranks
from ial_bench.training.sampler import BatchSampler, Rows


class Regression:
    """Least squares on made rows; `loss` may be bent, val values be given, and steps be counted.

    Args:
        n: rows.
        dropout: of the inputs.
        vals: val SSA-1 of each epoch; None: no val split.
        bend: changes the loss at a step.
    """

    def __init__(
        self,
        n: int = 24,
        dropout: float = 0.0,
        vals: list[float] | None = None,
        bend: Callable[[int, torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        made = torch.Generator().manual_seed(0)
        self.x = torch.randn(n, 5, generator=made)
        self.y = self.x @ torch.randn(5, 3, generator=made) + 0.1 * torch.randn(n, 3, generator=made)
        self.net = nn.Sequential(nn.Dropout(dropout), nn.Linear(5, 3))
        with torch.no_grad():
            for parameter in self.net.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=made))
        self.vals, self._bend = vals, bend
        self.seen: list[list[int]] = []
        self.after: list[list[torch.Tensor]] = []
        self.ranks = Ranks()

    @property
    def module(self) -> nn.Module:
        return self.net

    def groups(self) -> list[Group]:
        return [Group(list(self.net.parameters()))]

    def inputs(self, batches: list[Rows], epoch: int) -> Iterator[torch.Tensor]:
        for rows in batches:
            yield self.x[rows]

    def losses(self, rows: Rows, inputs: torch.Tensor) -> Mapping[str, torch.Tensor]:
        self.seen.append(rows.tolist())
        loss = ((self.net(inputs) - self.y[rows]) ** 2).mean()
        if self._bend is not None:
            loss = self._bend(len(self.seen), loss)
        return {"loss": loss, "half": loss / 2}

    def after_step(self) -> None:
        self.after.append([p.detach().clone() for p in self.net.parameters()])

    def val_ssa1(self) -> float | None:
        return None if self.vals is None else self.vals[len(self.after) % len(self.vals)]

    def weights(self) -> list[torch.Tensor]:
        return [p.detach().clone() for p in self.net.parameters()]


def trainer(
    task: Any, *, work: Path | None = None, seed: int = 0, checkpoint_steps: int = 200, batch: int = 8, n: int = 24,
    **settings: Any,
) -> Trainer:  # fmt: skip
    store = FeatureStore(Path("unused"), "cpu", 8, 0, NoReport())
    context = RunContext(seed, "cpu", store, NoReport(), work=work, checkpoint_steps=checkpoint_steps)
    config = TrainingConfig(**{"epochs": 3, "learning_rate": 0.05, **settings})
    return Trainer("made", task, config, BatchSampler(n, batch, seed), context)
