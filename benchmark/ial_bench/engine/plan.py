"""What there is to run: method x configuration x seed on one dataset, each with its identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.photos import Candidates, Photos
from ial_bench.datasets.streets import needed
from ial_bench.datasets.table import SPLITS
from ial_bench.engine.features import CHUNK_ROWS, FeatureStore
from ial_bench.engine.record import PROTOCOL_VERSION, RunRecord, read_record, record_path
from ial_bench.engine.score import DEFAULT_KS
from ial_bench.errors import DataError, SkipMethod
from ial_bench.files import digest
from ial_bench.method import Method, MethodConfig, Reporter, RunContext

DTYPE = "float32"
STORED_K = 10
_ID_LENGTH = 16  # hexadecimal digits of the SHA-256


@dataclass(frozen=True)
class RunSpec:
    """Everything that can change a run's predictions; what cannot (batch size, device, paths) is left out."""

    method: str
    version: str
    config: Mapping[str, Any]
    weights_digest: str | None
    dataset_digest: str
    candidate_digest: str
    limit: int | None
    seed: int
    k: int
    dtype: str = DTYPE
    splits: tuple[str, ...] = SPLITS
    protocol_version: int = PROTOCOL_VERSION
    streets_digest: str | None = None
    source_digest: str | None = None

    @property
    def run_id(self) -> str:
        """The first 16 digits of the SHA-256 of the canonical JSON of all of it.

        Without the street network where the method does not read it, and the source of what comes with ial-bench.
        """
        told = asdict(self)
        for name in ("streets_digest", "source_digest"):
            if told[name] is None:
                del told[name]
        return digest(told)[:_ID_LENGTH]


@dataclass(frozen=True)
class EngineOptions:
    """Where and how to run.

    Attributes:
        results: folder of records and predictions.
        cache: folder of features, half-done runs and fitted methods.
        device: torch device.
        batch_size: photos to encode at once.
        workers: processes that read and decode photos.
        k: candidates stored per query.
        ks: the k of SSA-k and SA-k.
        limit: photos per split at most; None: all.
        timing: whether to measure latency.
        rerun: whether to run again what is done.
        chunk_rows: photos per completion mark.
        checkpoint_steps: training steps between checkpoints.
    """

    results: Path
    cache: Path
    device: str = "cpu"
    batch_size: int = 32
    workers: int = 0
    k: int = STORED_K
    ks: Sequence[int] = DEFAULT_KS
    limit: int | None = None
    timing: bool = True
    rerun: bool = False
    chunk_rows: int = CHUNK_ROWS
    checkpoint_steps: int = 200


@dataclass(frozen=True)
class Planned:
    """One run: to do, done already, or impossible here.

    Attributes:
        spec: its identity.
        method: the class.
        config: its configuration.
        origin: the distribution or file the class comes from.
        backbone: the encoder it starts from.
        state: ``run``, ``done`` or ``skip``.
        reason: why it is skipped.
        done: the record of a run that is done.
    """

    spec: RunSpec
    method: type[Method]
    config: MethodConfig
    origin: str
    backbone: str | None
    state: Literal["run", "done", "skip"]
    reason: str | None = None
    done: RunRecord | None = None


@dataclass(frozen=True)
class Selection:
    """The photos of a run: the whole splits, or `limit` of each."""

    train: Photos
    val: Photos
    database: Photos
    queries: Photos
    candidates: Candidates

    @classmethod
    def of(cls, dataset: Dataset, limit: int | None) -> Selection:
        """The splits of `dataset`; with a limit, evenly spaced photos of each. The candidates stay all."""

        def some(split: str) -> Photos:
            photos = dataset.split(split)
            if limit is None or len(photos) <= limit:
                return photos
            return photos.part(np.linspace(0, len(photos) - 1, limit).astype(np.int64))

        database, everything = some("database"), dataset.candidates
        candidates = Candidates(everything.addresses, everything.positions, database)
        return cls(some("train"), some("val"), database, some("query"), candidates)


@dataclass(frozen=True)
class Choice:
    """A method as it was chosen on the command line.

    Attributes:
        method: the class.
        config: its configuration.
        origin: the distribution or file the class comes from.
        source: digest of a plugin's source, None of what comes with ial-bench.
    """

    method: type[Method]
    config: MethodConfig
    origin: str
    source: str | None = None


def make_context(
    options: EngineOptions, store: FeatureStore, report: Reporter, seed: int, work: Path | None = None
) -> RunContext:
    """What a method of this run is given; `work` is the run's own folder."""
    return RunContext(
        seed, options.device, store, report, options.batch_size, options.workers, work, options.checkpoint_steps,
        options.cache,
    )  # fmt: skip


def plan(
    dataset: Dataset, choices: Sequence[Choice], seeds: Sequence[int], options: EngineOptions, store: FeatureStore,
    report: Reporter,
) -> list[Planned]:  # fmt: skip
    """The runs that `choices` and `seeds` ask for. A method without randomness is planned once, with seed 0."""
    planned = []
    for choice in choices:
        for seed in seeds if choice.method.info.stochastic else (0,):
            planned.append(_plan_one(dataset, choice, seed, options, store, report))  # noqa: PERF401 - reads better
    return planned


def _plan_one(
    dataset: Dataset, choice: Choice, seed: int, options: EngineOptions, store: FeatureStore, report: Reporter
) -> Planned:
    info = choice.method.info
    reason: str | None = None
    weights: str | None = None
    streets: str | None = None
    method = choice.method(choice.config, make_context(options, store, report, seed))
    try:
        if method.backbone is not None:
            weights = store.card(method.backbone).digest
        if method.reads_streets:
            streets = needed(dataset.streets).digest
    except SkipMethod as skip:
        reason = skip.reason
    spec = RunSpec(
        info.name, info.version, choice.config.model_dump(mode="json"), weights, dataset.digest,
        dataset.candidates.digest, options.limit, seed, options.k, streets_digest=streets,
        source_digest=choice.source,
    )  # fmt: skip
    common = (spec, choice.method, choice.config, choice.origin, method.backbone)
    if reason is not None:
        return Planned(*common, "skip", reason=reason)
    if not options.rerun and (record := finished(options.results, dataset.name, spec)) is not None:
        return Planned(*common, "done", done=record)
    return Planned(*common, "run")


def finished(results: Path, dataset: str, spec: RunSpec) -> RunRecord | None:
    """The record of the run if it is done and its predictions are there."""
    path = record_path(results, dataset, spec.method, spec.run_id)
    if not path.is_file():
        return None
    try:
        record = read_record(path)
    except DataError:
        return None  # it is run again, and the record replaced
    whole = record.predictions is not None and (path.parent / record.predictions.path).is_file()
    return record if record.status == "done" and whole else None
