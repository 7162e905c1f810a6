"""Fitted parts in the cache: each is fitted once, whichever method asks first, and handed to all that name it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.photos import Photos
from ial_bench.engine import models
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.identity import RunSpec, part_id
from ial_bench.engine.models import STATE
from ial_bench.engine.plan import ConfiguredMethod, EngineOptions, make_context, spec_of
from ial_bench.engine.record import PartRecord, TimedPhase
from ial_bench.engine.team import Team
from ial_bench.engine.timing import timed
from ial_bench.files import check_target, make_folder, storage_errors
from ial_bench.method import Method, Part, RunContext
from ial_bench.progress import Reporter

FOLDER = "parts"


def part_of(
    part: Part, context: RunContext, whose: RunSpec, dataset: Dataset, options: EngineOptions
) -> tuple[Method, RunSpec]:
    """A part's method, as yet without a fit, and its identity as a run of its own.

    Args:
        part: which.
        context: what the method is given.
        whose: identity of the run, or of the part, that is made of it.
        dataset: whose photos it is fitted on.
        options: where and how.

    Raises:
        SkipMethod: its encoder or its streets cannot be had here.
    """
    source = None if part.method.__module__.startswith("ial_methods.") else whose.source_digest
    method = part.method(part.config, context)
    return method, spec_of(method, ConfiguredMethod(part.method, part.config, "", source), whose.seed, dataset, options)


class Shelf:
    """The parts that are fitted on one dataset.

    Args:
        dataset: whose photos they are fitted on.
        options: where and how.
        store: encoders and features.
        report: progress.
        team: the processes that take part in a fit.
    """

    def __init__(
        self, dataset: Dataset, options: EngineOptions, store: FeatureStore, report: Reporter, team: Team
    ) -> None:
        self.dataset, self.options, self.store, self.report, self.team = dataset, options, store, report, team
        self._made: set[str] = set()

    def fit(self, method: Method, spec: RunSpec, train: Photos, val: Photos) -> TimedPhase:
        """Fit a method that shares its fit, or take over what was fitted before; what it took, whenever that was.

        An interrupted fit goes on from its checkpoint. Of processes that want one part, the second waits.

        Raises:
            DataError: what is kept is damaged.
            SkipMethod: it cannot be fitted here.
            StorageError: the cache cannot be written to.
        """
        from filelock import FileLock

        identity = part_id(spec)
        folder = make_folder(self.options.cache / FOLDER) / identity
        check_target(Path(f"{folder}.lock"))  # a lock empties the file that it is
        with storage_errors(folder), FileLock(f"{folder}.lock"):
            if self.options.rerun and identity not in self._made:
                shutil.rmtree(folder, ignore_errors=True)
            state = folder / STATE
            if models.is_whole(state):
                self.report.log(f"{method.info.name}: taking over the fit {identity}")
                return TimedPhase(**models.restored_fit(method, state)["fit"])
            cost = self._fit(method, spec, (train, val), make_folder(folder))
            fresh = folder / f"{STATE}.new"
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            models.store_fit(method, fresh, {"fit": cost.model_dump()})
            fresh.rename(state)
            models.empty(folder, but=state)  # checkpoints
            self._made.add(identity)
            return cost

    def _fit(self, method: Method, spec: RunSpec, photos: tuple[Photos, Photos], folder: Path) -> TimedPhase:
        self.report.log(f"{method.info.name}: fitting on {len(photos[0]):,} photos")
        own = method.context
        method.context = replace(own, work=folder)
        together = self.team.fit(method, spec.seed, self.dataset, self.options.limit, folder)
        try:
            with timed(self.options.device) as told, together:
                method.fit(*photos)
        finally:
            method.context = own
        return told()


@dataclass
class Parts:
    """The parts of one run, and what they took: the source of parts in its context.

    Attributes:
        shelf: where they are kept.
        spec: of the run.
        source: digest of the source of the run's method; None of what comes with ial-bench.
        told: for the record.
    """

    shelf: Shelf
    spec: RunSpec
    told: list[PartRecord] = field(default_factory=list)

    def fitted(self, name: str, part: Part, train: Photos, val: Photos) -> Method:
        """The part's method, fitted and not yet indexed."""
        shelf, seed = self.shelf, self.spec.seed
        context = make_context(part.method, shelf.options, shelf.store, shelf.report, seed)
        method, spec = part_of(part, replace(context, parts=self), self.spec, shelf.dataset, shelf.options)
        with self._timed(name, method, spec) as cost:
            method.prepare()
            cost.append(shelf.fit(method, spec, train, val))
        return method

    def own(self, method: Method, train: Photos, val: Photos) -> None:
        """Fit the run's own method, which shares its fit."""
        with self._timed("fit", method, self.spec) as cost:
            cost.append(self.shelf.fit(method, self.spec, train, val))

    @contextmanager
    def _timed(self, name: str, method: Method, spec: RunSpec) -> Iterator[list[TimedPhase]]:
        started, cost = time.perf_counter(), list[TimedPhase]()
        yield cost
        info, phase = method.info, cost[0]
        self.told.append(
            PartRecord(
                name=name, method=info.name, version=info.version, identity=part_id(spec), seconds=phase.seconds,
                seconds_now=time.perf_counter() - started, peak_rss_bytes=phase.peak_rss_bytes,
                peak_device_bytes=phase.peak_device_bytes,
            )
        )  # fmt: skip

    def whole(self, fit: TimedPhase) -> TimedPhase:
        """What a run's fit took as a whole, by what it took in this process: parts count whenever they were made."""
        elsewhere = sum(part.seconds - part.seconds_now for part in self.told)
        peaks = {
            name: max((v for of in (fit, *self.told) if (v := getattr(of, name)) is not None), default=None)
            for name in ("peak_rss_bytes", "peak_device_bytes")
        }
        return TimedPhase(seconds=max(0.0, fit.seconds + elsewhere), seconds_now=fit.seconds, **peaks)
