"""What there is to run: method x configuration x seed on one dataset, each with its identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.photos import Candidates, Photos
from ial_bench.datasets.streets import needed
from ial_bench.datasets.table import SPLITS
from ial_bench.encoders.base import FLOAT32, EncoderCard, Precision
from ial_bench.encoders.spec import EncoderSpec, shown_spec
from ial_bench.engine.features import CHUNK_ROWS, FeatureStore
from ial_bench.engine.record import ANSWERS_VERSION, RunRecord, read_record, record_path
from ial_bench.engine.score import DEFAULT_KS
from ial_bench.errors import DataError, SkipMethod
from ial_bench.files import digest
from ial_bench.method import Method, MethodConfig, Reporter, RunContext
from ial_bench.settings import BACKBONE

DTYPE: Precision = FLOAT32
STORED_K = 10
_ID_LENGTH = 16  # hexadecimal digits of the SHA-256


@dataclass(frozen=True)
class RunSpec:
    """Everything that can change a run's predictions; what cannot (batch size, device, paths) is left out.

    Attributes:
        config: full configuration; files of the encoder by their base names.
        protocol_version: of the answers, `ANSWERS_VERSION`.
        weights_digest: `EncoderCard.first_digest`, by which records of schema version 1 are known.
        encoder_digest: `EncoderCard.digest`; with it, the encoder's name is no part of the identity.
        known_as: id of the record of schema version 1 that this run already has.
    """

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
    protocol_version: int = ANSWERS_VERSION
    streets_digest: str | None = None
    encoder_digest: str | None = None
    source_digest: str | None = None
    known_as: str | None = None

    @property
    def run_id(self) -> str:
        """The first 16 digits of the SHA-256 of the canonical JSON of all of it.

        Without the street network where the method does not read it, without the source of what comes with ial-bench,
        and with the encoder's digest in the place of its name and weights: one encoder under two names or paths is one
        run.
        """
        if self.known_as is not None:
            return self.known_as
        if self.encoder_digest is None:
            return self.first_id
        config = {key: value for key, value in self.config.items() if key != BACKBONE}
        return _id_of(replace(self, config=config), without={"weights_digest"})

    @property
    def first_id(self) -> str:
        """The id by the rule of schema version 1, which is still that of runs without an encoder."""
        return _id_of(self, without={"encoder_digest"})


def _id_of(spec: RunSpec, without: set[str]) -> str:
    told = {key: value for key, value in asdict(spec).items() if key not in {"known_as", *without}}
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
        precision: of the arithmetic that cached features are encoded with.
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
    precision: Precision = FLOAT32


@dataclass(frozen=True)
class Planned:
    """One run: to do, done already, or impossible here.

    Attributes:
        spec: its identity.
        method: the class.
        config: its configuration.
        origin: the distribution or file the class comes from.
        backbone: the encoder it starts from, its files by their base names.
        encoder: the encoder's card, None where it cannot be had.
        state: ``run``, ``done`` or ``skip``.
        reason: why it is skipped.
        done: the record of a run that is done.
    """

    spec: RunSpec
    method: type[Method]
    config: MethodConfig
    origin: str
    backbone: str | None
    encoder: EncoderCard | None
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
    method: type[Method],
    options: EngineOptions,
    store: FeatureStore,
    report: Reporter,
    seed: int,
    work: Path | None = None,
) -> RunContext:
    """What `method` is given in this run; `work` is the run's own folder.

    A lower precision of encoding is for methods on cached features; others train and answer with towers of their own.
    """
    source = store if method.uses_features else store.in_float32()
    return RunContext(
        seed, options.device, source, report, options.batch_size, options.workers, work, options.checkpoint_steps,
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
    card: EncoderCard | None = None
    streets: str | None = None
    method = choice.method(choice.config, make_context(choice.method, options, store, report, seed))
    try:
        if method.backbone is not None:
            card = method.context.features.card(method.backbone)
        if method.reads_streets:
            streets = needed(dataset.streets).digest
    except SkipMethod as skip:
        reason = skip.reason
    spec = RunSpec(
        info.name, info.version, recorded_config(choice.config), None if card is None else card.first_digest,
        dataset.digest, dataset.candidates.digest, options.limit, seed, options.k,
        dtype=options.precision if choice.method.uses_features else DTYPE,
        streets_digest=streets, encoder_digest=None if card is None else card.digest, source_digest=choice.source,
    )  # fmt: skip
    if card is not None and _has_first_record(options.results, dataset.name, spec, card):
        spec = replace(spec, known_as=spec.first_id)
    backbone = None if method.backbone is None else shown_spec(method.backbone)
    common = (spec, choice.method, choice.config, choice.origin, backbone, card)
    if reason is not None:
        return Planned(*common, "skip", reason=reason)
    if not options.rerun and (record := finished(options.results, dataset.name, spec)) is not None:
        return Planned(*common, "done", done=record)
    return Planned(*common, "run")


def recorded_config(config: MethodConfig) -> dict[str, Any]:
    """A configuration as records hold it: JSON values, the encoder's files by their base names."""
    told = config.model_dump(mode="json")
    if isinstance(told.get(BACKBONE), str):
        told[BACKBONE] = shown_spec(told[BACKBONE])
    return told


def _has_first_record(results: Path, dataset: str, spec: RunSpec, card: EncoderCard) -> bool:
    """Whether this very run was made and recorded under schema version 1, where encoders were known by less.

    What that version left out must be known otherwise: an encoder of a published name, and the same libraries.
    """
    if not EncoderSpec.parse(card.spec).published:
        return False
    record = finished(results, dataset, replace(spec, known_as=spec.first_id))
    if record is None:
        return False
    if record.method.encoder is not None:
        return record.method.encoder.digest == card.digest
    return all(record.provenance.packages.get(name) == number for name, number in card.libraries.items())


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
