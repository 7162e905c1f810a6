"""The training loop: steps, schedule, checkpoints, the best epoch by val SSA-1.

Everything random follows from (seed, step), so a training that was killed and resumes from its checkpoint ends with
the same weights as one that ran through.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ial_bench.errors import BenchError, ConfigError, DataError, SkipMethod
from ial_bench.machine import give_back_freed_memory
from ial_bench.method import RunContext
from ial_bench.seeds import derive_seed
from ial_bench.training.checkpoint import (
    Checkpoint,
    Tensors,
    TrainingLog,
    damaged,
    laid_out_like,
    put_tensors,
    read_checkpoint,
    trained_tensors,
    write_checkpoint,
)
from ial_bench.training.config import TrainingConfig
from ial_bench.training.ranks import Ranks
from ial_bench.training.sampler import BatchSampler, Rows

_LOG_SECONDS = 10.0
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TrainingError(BenchError):
    """A training that cannot continue."""


@dataclass(frozen=True)
class Group:
    """Parameters with a learning rate of their own.

    Attributes:
        parameters: those that are trained.
        rate: factor on the configured learning rate.
        decay: whether matrices among them are decayed as configured.
    """

    parameters: list[nn.Parameter]
    rate: float = 1.0
    decay: bool = True


class TrainingTask(ABC):
    """A task on some train photos; `trainer` runs it. A subclass writes `inputs` and `losses`.

    Args:
        name: of the method, for progress.
        config: how to train.
        context: seed, device, progress, and the folder for checkpoints.
        module: the network. Only those of its parameters that ask for gradients are trained.
        n: photos to learn from.
        val_ssa1: SSA-1 on val of the network as it is, None without a val split.

    Raises:
        SkipMethod: there is nothing to learn from.
    """

    def __init__(
        self, name: str, config: TrainingConfig, context: RunContext, module: nn.Module, n: int,
        val_ssa1: Callable[[], float | None],
    ) -> None:  # fmt: skip
        if n == 0:
            raise SkipMethod("there are no train photos to learn from")
        self.name, self.config, self.context, self.module, self.n = name, config, context, module, n
        self.val_ssa1 = val_ssa1
        self.device = torch.device(context.device)
        self.ranks = Ranks()

    @cached_property
    def trainer(self) -> Trainer:
        """Made when it is first asked for: by then the task is complete."""
        return Trainer(self.name, self, self.config, self.sampler(), self.context, self.ranks)

    def sampler(self) -> BatchSampler:
        """Which photos make up which step; at random, unless a subclass overrides it."""
        return BatchSampler(self.n, self.config.batch_size, self.context.seed, multiple=self.ranks.size)

    def groups(self) -> list[Group]:
        """The trained parameters, in one group."""
        return [Group([p for p in self.module.parameters() if p.requires_grad])]

    @abstractmethod
    def inputs(self, batches: list[Rows], epoch: int) -> Iterator[Any]:
        """What `losses` gets for each batch, in order; the rows are this process's share."""

    @abstractmethod
    def losses(self, rows: Rows, inputs: Any) -> Mapping[str, torch.Tensor]:
        """Scalars by name over the joint batch of all processes; ``loss`` is what is minimised."""

    def after_step(self) -> None:  # noqa: B027 - most tasks need nothing
        """Keep the weights within bounds."""


class Trainer:
    """Trains a task.

    Args:
        name: of the method, for progress.
        task: what is trained.
        config: how.
        sampler: which photos make up which step.
        context: seed, device, progress, and the folder for checkpoints.
        ranks: the processes that take part.

    Raises:
        ConfigError: a precision that the device does not have.
    """

    def __init__(
        self, name: str, task: TrainingTask, config: TrainingConfig, sampler: BatchSampler, context: RunContext,
        ranks: Ranks | None = None,
    ) -> None:  # fmt: skip
        self.name, self.task, self.config, self.sampler, self.context = name, task, config, sampler, context
        self.ranks = ranks or Ranks()
        self.device = torch.device(context.device)
        if config.precision == "fp16" and self.device.type != "cuda":
            raise ConfigError(f"{name}: fp16 needs a CUDA device", f"--set {name}.precision=fp32")
        self.optimiser = _optimiser(task.groups(), config)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "fp16")
        self.log = TrainingLog()
        self.best: Tensors | None = None
        self._sums: dict[str, float] = {}
        self._file: Path | None = None if context.work is None else context.work / "training.safetensors"

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.config.epochs * self.sampler.steps

    def run(self) -> TrainingLog:
        """Train, and leave the best epoch's weights in the task's module.

        Raises:
            TrainingError: a loss or a weight is not finite.
            ImageError: a photo cannot be decoded.
            StorageError: a checkpoint cannot be written.
            DataError: the checkpoint to resume from is damaged.
        """
        with _repeatable(self.device):
            self._resume()
            first = self.log.steps // self.sampler.steps
            for epoch in range(first, self.config.epochs):
                self._epoch(epoch)
                self._end_epoch(epoch)
        if self.best is not None:
            put_tensors(self.task.module, self.best)
        return self.log

    def _epoch(self, epoch: int) -> None:
        done = self.log.steps - epoch * self.sampler.steps
        saved = self.log.steps
        shares = [self.ranks.share(rows) for rows in self.sampler.epoch(epoch)[done:]]
        begun = logged = time.monotonic()
        for i, (rows, inputs) in enumerate(zip(shares, self.task.inputs(shares, epoch), strict=True), 1):
            self._step(rows, inputs)
            now = time.monotonic()
            if now - logged >= _LOG_SECONDS:
                logged = now
                self._say(epoch, i * self.sampler.size / (now - begun), (now - begun) / i)
            due = self.log.steps - saved >= self.context.checkpoint_steps
            if due and self._window(self.log.steps - 1)[1] and i < len(shares):
                self._save()
                saved = self.log.steps
        self._speed = len(shares) * self.sampler.size / max(time.monotonic() - begun, 1e-9)

    def _step(self, rows: Rows, inputs: Any) -> None:
        step, config = self.log.steps, self.config
        torch.manual_seed(derive_seed("training step", self.context.seed, step, self.ranks.rank))
        rate = config.learning_rate * config.rate_at(step, self.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        with self._autocast():
            losses = self.task.losses(rows, inputs)
        self._count(losses)
        window, full = self._window(step)
        self.scaler.scale(losses["loss"] / window).backward()  # type: ignore[no-untyped-call]
        if full:
            trained = [p for g in self.optimiser.param_groups for p in g["params"]]
            self.ranks.average_gradients(trained)
            self.scaler.unscale_(self.optimiser)
            norm = nn.utils.clip_grad_norm_(trained, math.inf if config.clip_norm is None else config.clip_norm)
            if not self.scaler.is_enabled():  # the scaler leaves such steps out by itself
                self._check("the gradient's norm", float(norm))
            self.scaler.step(self.optimiser)
            self.scaler.update()
            self.optimiser.zero_grad(set_to_none=True)
            with torch.no_grad():
                self.task.after_step()
        self.log.steps += 1

    def _window(self, step: int) -> tuple[int, bool]:
        """Steps whose gradients are added up with those of `step`, and whether it is the last of them.

        Windows end with their epoch; the last one of an epoch may be short.
        """
        done = step % self.sampler.steps
        first = done - done % self.config.accumulate
        size = min(self.config.accumulate, self.sampler.steps - first)
        return size, done + 1 == first + size

    def _autocast(self) -> Any:
        dtype = _DTYPES.get(self.config.precision)
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)

    def _count(self, losses: Mapping[str, torch.Tensor]) -> None:
        values = torch.stack([v.detach().float() for v in losses.values()]).tolist()
        for name, value in zip(losses, values, strict=True):
            self._check(name, value)
            self._sums[name] = self._sums.get(name, 0.0) + value

    def _check(self, name: str, value: float) -> None:
        if math.isfinite(value):
            return
        stored = self._file is not None and self._file.is_file()
        kept = f"the last good checkpoint is {self._file}" if stored else "no checkpoint had been written"
        raise TrainingError(
            f"{self.name}: {name} is {value} at step {self.log.steps + 1:,} of {self.steps:,}; {kept}",
            f"a lower rate may help, such as --set {self.name}.learning_rate={self.config.learning_rate / 4:g}",
        )

    def _say(self, epoch: int, speed: float, seconds: float) -> None:
        if self.ranks.main:
            done = self.log.steps - epoch * self.sampler.steps
            left = seconds * (self.steps - self.log.steps)
            self.context.report.log(
                f"{self.name}: epoch {epoch + 1}/{self.config.epochs}, step {done:,}/{self.sampler.steps:,}, "
                f"loss {self._sums['loss'] / done:.3f}, {speed:,.0f} images/s, {left:,.0f} s left"
            )

    def _end_epoch(self, epoch: int) -> None:
        means = {n: s / self.sampler.steps for n, s in self._sums.items()}
        val = self.task.val_ssa1()
        speed = round(self._speed, 1)
        self.log.epochs.append({"losses": means, "val_ssa1": val, "images_per_second": speed})
        if val is None or val > self.log.best_val:  # of equals, the earlier; without val, the last
            self.log.best_epoch, self.best = epoch + 1, trained_tensors(self.task.module)
        self._sums = {}
        self._save()
        give_back_freed_memory()  # steps of unlike texts leave holes of unlike sizes
        if self.ranks.main:
            scored = "" if val is None else f", val SSA-1 {100 * val:.1f} %"
            self.context.report.log(
                f"{self.name}: epoch {epoch + 1}/{self.config.epochs}, loss {means['loss']:.3f}{scored}, "
                f"{speed:,.0f} images/s"
            )

    def _save(self) -> None:
        if self._file is None or not self.ranks.main:
            return
        state = self.optimiser.state_dict()["state"]
        progress = {
            "log": self.log.as_dict(), "sums": self._sums, "size": self.sampler.size,
            "scaler": self.scaler.state_dict() if self.scaler.is_enabled() else {},
        }  # fmt: skip
        write_checkpoint(self._file, Checkpoint(trained_tensors(self.task.module), self.best, state, progress))

    def _resume(self) -> None:
        if self._file is None or (stored := read_checkpoint(self._file)) is None:
            return
        try:
            self._take_over(stored)
        except (DataError, KeyError, TypeError, ValueError) as error:  # whole, but of other code
            raise damaged(self._file, f"it does not fit this training ({error!r})") from error
        self.context.report.log(f"{self.name}: training goes on from step {self.log.steps:,} of {self.steps:,}")

    def _take_over(self, stored: Checkpoint) -> None:
        if stored.progress["size"] != self.sampler.size:
            raise ConfigError(
                f"{self.name}: the checkpoint {self._file} is of batches of {stored.progress['size']} photos, "
                f"these are of {self.sampler.size}",
                "go on with the number of processes it was begun with, or run it again with --rerun",
            )
        put_tensors(self.task.module, stored.weights)
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": stored.optimiser, "param_groups": groups})
        _lay_out_alike(self.optimiser)
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(stored.progress["scaler"])
        self.best, self._sums = stored.best, stored.progress["sums"]
        self.log = TrainingLog(**stored.progress["log"])


def _optimiser(groups: list[Group], config: TrainingConfig) -> torch.optim.Optimizer:
    parts = []
    for group in groups:
        for decayed in (True, False):
            some = [p for p in group.parameters if (p.ndim >= 2) == decayed]
            decay = config.weight_decay if decayed and group.decay else 0.0
            if some:
                parts.append({"params": some, "factor": group.rate, "weight_decay": decay})
    if config.optimiser == "sgd":
        return torch.optim.SGD(parts, lr=config.learning_rate, momentum=config.betas[0])
    kind = torch.optim.AdamW if config.optimiser == "adamw" else torch.optim.Adam
    # One pass over each tensor, where torch's default on CPUs makes ten; a GPU's default is fast as it is.
    fused = True if all(p.device.type == "cpu" for group in groups for p in group.parameters) else None
    return kind(parts, lr=config.learning_rate, betas=config.betas, eps=config.epsilon, fused=fused)


def _lay_out_alike(optimiser: torch.optim.Optimizer) -> None:
    """Give moments the memory layout of their parameters: checkpoints hold them contiguous."""
    for parameter, state in optimiser.state.items():
        for name, value in state.items():
            if value.shape == parameter.shape:
                state[name] = laid_out_like(parameter.detach(), value)


def full_precision(device: torch.device) -> Any:
    """For losses: cosines in half precision, times a logit scale of 100, are off by tenths."""
    return torch.autocast(device.type, enabled=False)


@contextmanager
def _repeatable(device: torch.device) -> Iterator[None]:
    """Leave torch's random state as it was, and ask cuDNN for algorithms that repeat themselves."""
    cudnn: Any = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
