"""Run records: made up, or of real runs of methods that need no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.identity import RunSpec
from ial_bench.engine.plan import ConfiguredMethod, EngineOptions, plan
from ial_bench.engine.record import (
    PROTOCOL_VERSION,
    DatasetRecord,
    DistanceMetrics,
    Interval,
    MethodRecord,
    Metrics,
    Phases,
    Provenance,
    QueryPhase,
    RunRecord,
    Size,
    Status,
    TimedPhase,
)
from ial_bench.engine.records import record_path, write_record
from ial_bench.engine.run import Engine
from ial_bench.progress import NoReport
from ial_bench.registry import Registry

PAPER_COUNTS = {"pitts-ial": (428, 19_152), "sf-ial-base": (400, 21_000), "sf-ial-large": (3_616, 280_000)}
"""Candidates and queries of the paper's datasets."""

Accuracy = Mapping[str, float | tuple[float, tuple[float, float]]]


def make_record(
    name: str = "some-method",
    accuracy: Accuracy | None = None,
    *,
    title: str | None = None,
    config: Mapping[str, Any] | None = None,
    preset: str | None = None,
    changed: Sequence[str] = (),
    version: str = "1",
    origin: str = "a test",
    source: str | None = None,
    backbone: str | None = None,
    weights: str | None = None,
    oracle: bool = False,
    seed: int = 0,
    status: Status = "done",
    reason: str | None = None,
    dataset: str = "made-city",
    dataset_digest: str = "d" * 64,
    without_candidate: int = 0,
    counts: tuple[int, int] = (78, 1234),
    limit: int | None = None,
    k: int = 10,
    latency_ms: float | None = None,
    hardware: str = "fast machine",
    storage_bytes: int = 0,
    parameters: int = 0,
    finished: str = "2026-01-01T00:00:00+00:00",
) -> RunRecord:
    """A record with the given facts.

    `accuracy` maps a metric to its value, or to its value and interval; `counts` are of candidates and queries.
    """
    metrics = None
    if status == "done":
        one = Interval(value=0.5, ci95=None)
        named = {m: v if isinstance(v, tuple) else (v, None) for m, v in (accuracy or {"SSA-1": 0.5}).items()}
        metrics = Metrics(
            accuracy={m: Interval(value=value, ci95=ci95) for m, (value, ci95) in named.items()},
            distance_m=DistanceMetrics(
                median=10.0, to="nowhere", within_25=one, within_50=one, within_100=one, within_200=one
            ),
        )
    query = None
    if latency_ms is not None:
        query = QueryPhase(
            p50_ms=latency_ms, p95_ms=2 * latency_ms, p99_ms=3 * latency_ms, n=200, warmup=20,
            decode_p50_ms=1.0, images_per_second=10.0, throughput_batch=32,
        )  # fmt: skip
    moment = TimedPhase(seconds=1.0)
    record = RunRecord(
        run_id="to be told",
        status=status,
        reason=reason,
        method=MethodRecord(
            name=name, title=name if title is None else title, family="made", version=version, origin=origin,
            oracle=oracle, stochastic=True, final_fit="none", config=dict(config or {}), preset=preset,
            changed=list(changed), backbone=backbone,
            weights_digest=weights, source_digest=source,
        ),
        dataset=DatasetRecord(
            name=dataset, digest=dataset_digest, candidate_digest="c" * 64, limit=limit, n_train=10, n_val=0,
            n_database=0, n_queries=counts[1], n_places=56, n_candidates=counts[0],
            n_queries_without_candidate=without_candidate,
        ),
        seed=seed,
        k=k,
        dtype="float32",
        protocol_version=PROTOCOL_VERSION,
        metrics=metrics,
        phases=Phases(fit=moment, index=moment, query=query) if status == "done" else None,
        size=Size(storage_bytes=storage_bytes, parameters=parameters, parameters_trained=0)
        if status == "done"
        else None,
        provenance=Provenance(
            project={"version": "0"}, packages={}, hardware={"cpu": hardware, "cores": 4}, hardware_digest=hardware,
            engine={}, started=finished, finished=finished,
        ),
    )  # fmt: skip
    return identified(record)


def identified(record: RunRecord, **update: Any) -> RunRecord:
    """The record with some of its parts changed, and the id that it then has."""
    changed = record.model_copy(update=update)
    return changed.model_copy(update={"run_id": RunSpec.of(changed).run_id})


def store(results: Path, record: RunRecord) -> Path:
    """Write a record to where it belongs."""
    path = record_path(results, record.dataset.name, record.method.name, record.run_id)
    write_record(path, record)
    return path


def run_baselines(
    dataset: Dataset,
    folder: Path,
    names: Sequence[str] = ("random", "majority", "gps-oracle"),
    seeds: Sequence[int] = (0,),
    k: int = 10,
    limit: int | None = None,
) -> list[RunRecord]:
    """Run methods without encoders through the engine; records and predictions go to ``folder/results``."""
    registry, report = Registry(), NoReport()
    options = EngineOptions(folder / "results", folder / "cache", k=k, limit=limit, timing=False)
    store = FeatureStore(options.cache, options.device, options.batch_size, options.workers, report)
    choices = [ConfiguredMethod(cls := registry.get(name), cls.Config(), registry.origin(name)) for name in names]
    engine = Engine(dataset, options, store, report)
    return [engine.execute(planned) for planned in plan(dataset, choices, seeds, options, store, report)]
