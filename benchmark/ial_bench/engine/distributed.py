"""Several processes, one run: the main process does everything, and the others take part in `fit`.

A launcher (`accelerate launch`, `torchrun`) starts the same command several times. Only the main process plans, encodes
photos, answers, and writes records; the others wait until it calls them to the fit of a method that is trained.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.plan import EngineOptions, make_context
from ial_bench.engine.selection import Selection
from ial_bench.errors import SkipMethod
from ial_bench.method import Method
from ial_bench.progress import NoReport
from ial_bench.training.config import TrainingConfig

if TYPE_CHECKING:
    from ial_bench.registry import Registry
    from ial_bench.training.ranks import Ranks


@dataclass(frozen=True)
class _Fit:
    """The fit that the other processes are called to."""

    folder: Path
    limit: int | None
    method: str
    config: Mapping[str, Any]
    seed: int
    work: Path


def several_processes() -> bool:
    """Whether a launcher started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def own_device(device: str) -> str:
    """This process's device: where a launcher started several processes on CUDA, each has its own."""
    if several_processes() and device.startswith("cuda"):
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return device


class Team:
    """The processes of this command; one, unless a launcher started several.

    Args:
        device: what this process computes on.

    Raises:
        ConfigError: several were started, but accelerate is not installed.
    """

    def __init__(self, device: str = "cpu") -> None:
        self._ranks: Ranks | None = None
        self.fitting = False
        if several_processes():
            from ial_bench.training.ranks import Ranks

            self._ranks = Ranks(device)

    @property
    def main(self) -> bool:
        """Whether this is the process that does everything."""
        return self._ranks is None or self._ranks.main

    @contextmanager
    def fit(self, method: Method, seed: int, dataset: Dataset, limit: int | None, work: Path) -> Iterator[None]:
        """Have the other processes fit too during the block, in which the main process fits, if training goes by steps.

        A method that is made of parts does not train itself.

        `fitting` stays true after an error in the block: the others then wait for steps that never come, until this
        process ends and the launcher ends them. A skip is raised in all processes alike.
        """
        trained = isinstance(method.config, TrainingConfig) and not method.parts()
        self.fitting = self._ranks is not None and trained
        if self._ranks is not None and self.fitting:
            config = method.config.model_dump(mode="json")
            self._ranks.tell(_Fit(dataset.folder, limit, method.info.name, config, seed, work))
        try:
            yield
        except SkipMethod:
            self.fitting = False
            raise
        self.fitting = False

    def follow(self, registry: Registry, options: EngineOptions, store: FeatureStore) -> None:
        """In the other processes: take part in every fit until the main process is done.

        Raises:
            Exception: whatever a fit raises; do not catch it, so that the launcher ends all processes.
        """
        assert self._ranks is not None  # noqa: S101 - only a launcher starts other processes
        while (call := self._ranks.tell(None)) is not None:
            chosen = Selection.of(Dataset(call.folder), call.limit)
            cls = registry.get(call.method)
            context = make_context(cls, options, store, NoReport(), call.seed, call.work)
            method = cls(cls.Config.model_validate(call.config), context)
            try:
                method.prepare()
                method.fit(chosen.train, chosen.val)
            except SkipMethod:
                continue  # the main process skips it too, and says why
        self._end()

    def dismiss(self) -> None:
        """In the main process, when everything is done: let the others go."""
        if self._ranks is not None:
            self._ranks.tell(None)
            self._end()

    def _end(self) -> None:
        from torch import distributed

        distributed.destroy_process_group()
