"""What there is to run: method x configuration x seed on one dataset, each with its identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.streets import needed
from ial_bench.encoders.encoder import FLOAT32, EncoderCard, Precision
from ial_bench.encoders.spec import EncoderSpec, shown_spec
from ial_bench.engine.features import CHUNK_ROWS, FeatureStore
from ial_bench.engine.identity import RunSpec
from ial_bench.engine.record import RunRecord
from ial_bench.engine.records import finished
from ial_bench.engine.scoring import DEFAULT_KS
from ial_bench.errors import SkipMethod, no_exit
from ial_bench.method import Method, MethodConfig, RunContext
from ial_bench.progress import Reporter
from ial_bench.settings import BACKBONE

STORED_K = 10
ENCODE_ROWS, ANSWER_ROWS = 32, 1024
"""Photos that are encoded, and queries that a method is asked about, at once.

The last digits of a sum depend on what else is in the batch: each photo is always in the same batch, whatever the
number of workers, the chunks and the interruptions.
"""


@dataclass(frozen=True)
class EngineOptions:
    """Where and how to run.

    Attributes:
        results: folder of records and predictions.
        cache: folder of features, half-done runs and fitted methods.
        device: torch device.
        batch_size: photos to encode at once; answers are comparable if it is `ENCODE_ROWS`.
        workers: processes that read and decode photos.
        k: candidates stored per query.
        ks: the k of SSA-k and SA-k.
        limit: photos per split at most; None: all.
        timing: whether to measure latency.
        rerun: whether to repeat runs that are done.
        chunk_rows: photos per completion mark.
        checkpoint_steps: training steps between checkpoints.
        precision: of the arithmetic by which cached features are encoded.
    """

    results: Path
    cache: Path
    device: str = "cpu"
    batch_size: int = ENCODE_ROWS
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
        backbone: the encoder it starts from, with base names for its files.
        encoder: the encoder's card, None where it is not available.
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
class ConfiguredMethod:
    """A method with its configuration, as the command line asks for it.

    Attributes:
        method: the class.
        config: its configuration.
        origin: the distribution or file the class comes from.
        source: digest of a plugin's source, None for what comes with ial-bench.
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
    """The context of `method` in this run; `work` is the run's own folder.

    A lower precision is for methods on cached features; others train and answer with their own towers.
    """
    source = store if method.uses_features else store.in_float32()
    return RunContext(
        seed, options.device, source, report, options.batch_size, options.workers, work, options.checkpoint_steps,
        options.cache,
    )  # fmt: skip


def plan(
    dataset: Dataset, choices: Sequence[ConfiguredMethod], seeds: Sequence[int], options: EngineOptions,
    store: FeatureStore, report: Reporter,
) -> list[Planned]:  # fmt: skip
    """The runs that `choices` and `seeds` ask for. A method without randomness is planned once, with seed 0."""
    planned = []
    for configured in choices:
        for seed in seeds if configured.method.info.stochastic else (0,):
            planned.append(_plan_one(dataset, configured, seed, options, store, report))  # noqa: PERF401 - reads better
    return planned


def _plan_one(
    dataset: Dataset,
    configured: ConfiguredMethod,
    seed: int,
    options: EngineOptions,
    store: FeatureStore,
    report: Reporter,
) -> Planned:
    info = configured.method.info
    reason: str | None = None
    card: EncoderCard | None = None
    streets: str | None = None
    with no_exit(f"method {info.name}"):
        method = configured.method(configured.config, make_context(configured.method, options, store, report, seed))
        named = method.backbone
    try:
        if named is not None:
            card = method.context.features.card(named)
        if method.reads_streets:
            streets = needed(dataset.streets).digest
    except SkipMethod as skip:
        reason = skip.reason
    spec = _spec(configured, seed, dataset, options, card, streets)
    if card is not None and _has_first_record(options.results, dataset.name, spec, card):
        spec = replace(spec, known_as=spec.first_id)
    backbone = None if named is None else shown_spec(named)
    common = (spec, configured.method, configured.config, configured.origin, backbone, card)
    if reason is not None:
        return Planned(*common, "skip", reason=reason)
    if not options.rerun and (record := finished(options.results, dataset.name, spec)) is not None:
        return Planned(*common, "done", done=record)
    return Planned(*common, "run")


def spec_of(
    method: Method, configured: ConfiguredMethod, seed: int, dataset: Dataset, options: EngineOptions
) -> RunSpec:
    """The identity of a run of an instantiated method.

    Raises:
        SkipMethod: its encoder or its streets are not available here.
    """
    card = None if method.backbone is None else method.context.features.card(method.backbone)
    streets = needed(dataset.streets).digest if method.reads_streets else None
    return _spec(configured, seed, dataset, options, card, streets)


def _spec(
    configured: ConfiguredMethod,
    seed: int,
    dataset: Dataset,
    options: EngineOptions,
    card: EncoderCard | None,
    streets: str | None,
) -> RunSpec:
    info = configured.method.info
    return RunSpec(
        info.name, info.version, recorded_config(configured.config), None if card is None else card.first_digest,
        dataset.digest, dataset.candidates.digest, options.limit, seed, options.k,
        dtype=options.precision if configured.method.uses_features else FLOAT32,
        streets_digest=streets, encoder_digest=None if card is None else card.digest, source_digest=configured.source,
        contents_digest=dataset.contents_digest,
    )  # fmt: skip


def recorded_config(config: MethodConfig) -> dict[str, Any]:
    """A configuration as records hold it: JSON values, with base names for the encoder's files."""
    values = config.model_dump(mode="json")
    if isinstance(values.get(BACKBONE), str):
        values[BACKBONE] = shown_spec(values[BACKBONE])
    return values


def _has_first_record(results: Path, dataset: str, spec: RunSpec, card: EncoderCard) -> bool:
    """Whether this very run was recorded under schema version 1, which knew less of encoders.

    What that version left out must be sure in another way: an encoder with a published name, and the same libraries.
    """
    if not EncoderSpec.parse(card.spec).published:
        return False
    record = finished(results, dataset, replace(spec, known_as=spec.first_id))
    if record is None:
        return False
    if record.method.encoder is not None:
        return record.method.encoder.digest == card.digest
    return all(record.provenance.packages.get(name) == number for name, number in card.libraries.items())
