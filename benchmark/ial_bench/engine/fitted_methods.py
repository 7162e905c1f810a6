"""Fitted methods on disk, and the parts that they share.

A fitted method lies in the folder of its run while that is going on, then in ``cache/models``, to answer again. A part
lies in ``cache/parts``: it is fitted once, whichever method asks first, and handed to all that name it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.photos import Photos
from ial_bench.engine.distributed import Team
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.identity import RunSpec, part_id
from ial_bench.engine.plan import ConfiguredMethod, EngineOptions, make_context, spec_of
from ial_bench.engine.record import PartRecord, TimedPhase
from ial_bench.engine.timing import timed
from ial_bench.errors import DataError
from ial_bench.files import make_folder, sha256_file
from ial_bench.folders import locked, move, whole_folder
from ial_bench.json_files import read_sealed, write_sealed
from ial_bench.method import Method, Part, RunContext
from ial_bench.progress import Reporter

PARTS = "parts"
"""Folder of the cache."""
STATE = "state"
FACTS = "facts"
_FIT = "fit.safetensors"
PHASES = "phases.json"
"""The file that is written last: a folder that has it is whole. It holds the SHA-256 of every other file."""

_ANEW = "`bench run` with --rerun fits it anew; so does the same command when the folder is deleted"


def is_whole(folder: Path) -> bool:
    """Whether `folder` holds a fitted method."""
    return (folder / PHASES).is_file()


def store(method: Method, folder: Path, phases: Mapping[str, Any]) -> None:
    """Store a fitted method and its facts in an empty folder, and mark it as whole.

    Args:
        method: fitted.
        folder: where.
        phases: what the fit took.

    Raises:
        ValueError: its facts are not JSON.
        StorageError: the folder cannot be written to.
    """
    method.save(folder)
    seal(folder, {**phases, FACTS: plain(method.facts)})


def restored(method: Method, folder: Path) -> dict[str, Any]:
    """Restore a fitted method with its facts; returns what the fit took.

    Raises:
        DataError: as `unsealed`; or another release of the method stored it in another form.
    """
    phases = unsealed(folder)
    try:
        method.facts.update(phases.pop(FACTS))
        method.load(folder)
    except (KeyError, FileNotFoundError) as error:  # although all files are as they were stored
        name = method.info.name
        raise DataError(f"another release of {name} stored the fitted method in {folder}: {error}", _ANEW) from error
    return phases


def store_facts(method: Method, folder: Path) -> None:
    """Store the facts again, after the queries.

    Raises:
        ValueError: they are not JSON.
        StorageError: the folder cannot be written to.
    """
    phases = unsealed(folder)
    seal(folder, {**phases, FACTS: plain(method.facts)})


def store_fit(method: Method, folder: Path, phases: Mapping[str, Any]) -> None:
    """Store a method's fit, before its index, in an empty folder; for other methods to start from.

    Raises:
        ValueError: its facts are not JSON.
        StorageError: the folder cannot be written to.
    """
    from safetensors.numpy import save_file

    save_file({k: np.asarray(v, order="C") for k, v in method.fit_state().items()}, folder / _FIT)
    seal(folder, {**phases, FACTS: plain(method.facts)})


def restored_fit(method: Method, folder: Path) -> dict[str, Any]:
    """Restore what `store_fit` stored; returns what the fit took.

    Raises:
        DataError: as `unsealed`.
    """
    from safetensors.numpy import load_file

    phases = unsealed(folder)
    method.facts.update(phases.pop(FACTS))
    method.restore_fit(load_file(folder / _FIT))
    return phases


def empty(folder: Path, but: Path | None = None) -> None:
    """Remove all that lies in a folder, except one entry."""
    for path in folder.iterdir():
        if path != but:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as JSON values; NaN and infinity, which JSON lacks, become null.

    Raises:
        ValueError: they hold values that are not JSON.
    """
    from pydantic_core import from_json, to_json

    try:
        values: dict[str, Any] = from_json(to_json(dict(facts), inf_nan_mode="null"))
    except ValueError as error:
        raise ValueError(f"what the method tells of itself is not JSON: {error}") from error
    return values


def seal(folder: Path, phases: Mapping[str, Any]) -> None:
    """Mark the fitted method in `folder` as whole, with what it took.

    Raises:
        StorageError: the folder cannot be written to.
    """
    write_sealed(folder / PHASES, {**phases, "files": _sums(folder)})


def unsealed(folder: Path) -> dict[str, Any]:
    """What `seal` stored, if the fitted method is unchanged since.

    Raises:
        DataError: a file is missing, changed or new; or an earlier release stored it without checksums.
    """
    try:
        phases = read_sealed(folder / PHASES)
    except DataError as error:
        raise DataError(f"the fitted method in {folder} is damaged: {error.problem}", _ANEW) from error
    stored, found = phases.pop("files"), _sums(folder)
    if changed := sorted(name for name in stored.keys() | found.keys() if stored.get(name) != found.get(name)):
        raise DataError(
            f"the fitted method in {folder} is damaged: {', '.join(changed)} is not as it was stored", _ANEW
        )
    return phases


def _sums(folder: Path) -> dict[str, str]:
    files = (f for f in sorted(folder.rglob("*")) if f.is_file() and f != folder / PHASES)
    return {f.relative_to(folder).as_posix(): sha256_file(f) for f in files}


def keep(state: Path, cache: Path, run_id: str) -> None:
    """Move the fitted method of a finished run to where `kept` finds it, replacing an earlier one.

    Folders of the cache may lie on several disks.

    Raises:
        StorageError: the cache cannot be written to.
    """
    move(state, make_folder(cache / "models") / run_id)


def kept(cache: Path, run_id: str) -> Path | None:
    """The folder of a run's fitted method, None if it was deleted or never made here.

    A run that was killed between its record and the move leaves it in its own folder.
    """
    folders = (cache / "models" / run_id, cache / "runs" / run_id / STATE)
    return next((f for f in folders if is_whole(f)), None)


def sizes(cache: Path) -> dict[str, int]:
    """Bytes of each fitted method that is kept, by run."""
    return _sizes(cache, "models/[!.]*")


def part_sizes(cache: Path) -> dict[str, int]:
    """Bytes of each shared part that is kept, by its identity."""
    return _sizes(cache, f"{PARTS}/[!.]*/{STATE}")


def _sizes(cache: Path, folders: str) -> dict[str, int]:
    return {
        folder.relative_to(cache).parts[1]: sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        for folder in sorted(cache.glob(folders))
        if is_whole(folder)
    }


def part_of(
    part: Part, context: RunContext, whose: RunSpec, dataset: Dataset, options: EngineOptions
) -> tuple[Method, RunSpec]:
    """A part's method, not yet fitted, and its identity as a run of its own.

    Args:
        part: the part.
        context: what the method is given.
        whose: identity of the run, or of the part, that uses it.
        dataset: whose photos it is fitted on.
        options: where and how.

    Raises:
        SkipMethod: its encoder or its streets are not available here.
    """
    source = None if part.method.__module__.startswith("ial_methods.") else whose.source_digest
    method = part.method(part.config, context)
    return method, spec_of(method, ConfiguredMethod(part.method, part.config, "", source), whose.seed, dataset, options)


class PartStore:
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
        """Fit a method that shares its fit, or restore an earlier fit; returns what the fit took, whenever it was.

        An interrupted fit goes on from its checkpoint. Of two processes that need one part, the second waits.

        Raises:
            DataError: the stored fit is damaged.
            SkipMethod: it cannot be fitted here.
            StorageError: the cache cannot be written to.
        """
        identity = part_id(spec)
        folder = make_folder(self.options.cache / PARTS) / identity
        with locked(folder, Path(f"{folder}.lock")):
            if self.options.rerun and identity not in self._made:
                shutil.rmtree(folder, ignore_errors=True)
            state = folder / STATE
            if is_whole(state):
                self.report.log(f"{method.info.name}: taking over the fit {identity}")
                return TimedPhase(**restored_fit(method, state)["fit"])
            cost = self._fit(method, spec, (train, val), make_folder(folder))
            with whole_folder(state) as fresh:
                store_fit(method, fresh, {"fit": cost.model_dump()})
            empty(folder, but=state)  # checkpoints
            self._made.add(identity)
            return cost

    def _fit(self, method: Method, spec: RunSpec, photos: tuple[Photos, Photos], folder: Path) -> TimedPhase:
        self.report.log(f"{method.info.name}: fitting on {len(photos[0]):,} photos")
        own = method.context
        method.context = replace(own, work=folder)
        together = self.team.fit(method, spec.seed, self.dataset, self.options.limit, folder)
        try:
            with timed(self.options.device) as measured, together:
                method.fit(*photos)
        finally:
            method.context = own
        return measured()


@dataclass
class RunParts:
    """The parts of one run, and what they took: the source of parts in its context.

    Attributes:
        part_store: where parts are kept.
        spec: of the run.
        records: the parts for the run's record.
    """

    part_store: PartStore
    spec: RunSpec
    records: list[PartRecord] = field(default_factory=list)

    def fitted(self, name: str, part: Part, train: Photos, val: Photos) -> Method:
        """The part's method, fitted and not yet indexed."""
        kept, seed = self.part_store, self.spec.seed
        context = make_context(part.method, kept.options, kept.store, kept.report, seed)
        method, spec = part_of(part, replace(context, parts=self), self.spec, kept.dataset, kept.options)
        with self._timed(name, method, spec) as cost:
            method.prepare()
            cost.append(kept.fit(method, spec, train, val))
        return method

    def own(self, method: Method, train: Photos, val: Photos) -> None:
        """Fit the run's own method, which shares its fit."""
        with self._timed("fit", method, self.spec) as cost:
            cost.append(self.part_store.fit(method, self.spec, train, val))

    @contextmanager
    def _timed(self, name: str, method: Method, spec: RunSpec) -> Iterator[list[TimedPhase]]:
        started, cost = time.perf_counter(), list[TimedPhase]()
        yield cost
        info, phase = method.info, cost[0]
        self.records.append(
            PartRecord(
                name=name, method=info.name, version=info.version, identity=part_id(spec), seconds=phase.seconds,
                seconds_now=time.perf_counter() - started, peak_rss_bytes=phase.peak_rss_bytes,
                peak_device_bytes=phase.peak_device_bytes,
            )
        )  # fmt: skip

    def whole(self, fit: TimedPhase) -> TimedPhase:
        """What a run's whole fit took, from what it took in this process: parts count whenever they were made."""
        elsewhere = sum(part.seconds - part.seconds_now for part in self.records)
        peaks = {
            name: max((v for of in (fit, *self.records) if (v := getattr(of, name)) is not None), default=None)
            for name in ("peak_rss_bytes", "peak_device_bytes")
        }
        return TimedPhase(seconds=max(0.0, fit.seconds + elsewhere), seconds_now=fit.seconds, **peaks)
