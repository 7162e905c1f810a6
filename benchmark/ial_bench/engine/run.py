"""Runs one planned run: features, fit, index, query, score, record.

Everything finished survives a kill: features by chunk, the fitted method, answers by chunk, and finally the record,
which is written when all else is in place.
"""

from __future__ import annotations

import gc
import shutil
import traceback
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ial_bench.datasets.dataset import Dataset
from ial_bench.encoders.encoder import EncoderCard
from ial_bench.encoders.spec import without_folders
from ial_bench.engine import fitted_methods, predictions, provenance
from ial_bench.engine.distributed import Team
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.fitted_methods import STATE, PartStore, RunParts
from ial_bench.engine.ground_truth import GroundTruth, ground_truth_key
from ial_bench.engine.identity import RunSpec
from ial_bench.engine.plan import ANSWER_ROWS, EngineOptions, Planned, make_context
from ial_bench.engine.record import (
    PROTOCOL_VERSION,
    DatasetRecord,
    EncoderRecord,
    FeaturePhase,
    MethodRecord,
    Metrics,
    PartRecord,
    Phases,
    PredictionsRecord,
    Provenance,
    QueryPhase,
    RunRecord,
    Size,
    Status,
    TimedPhase,
)
from ial_bench.engine.records import finished, record_path, write_record
from ial_bench.engine.scoring import rescore, score
from ial_bench.engine.selection import Selection
from ial_bench.engine.timing import inference_mode, measure_queries, timed
from ial_bench.errors import BenchError, DataError, SkipMethod, StorageError, WorkerError
from ial_bench.files import check_storage, check_writable, make_folder, storage_errors, sweep
from ial_bench.folders import locked, whole_folder
from ial_bench.machine import give_back_freed_memory
from ial_bench.method import Method, Scores
from ial_bench.progress import Reporter, chunks
from ial_bench.settings import BACKBONE, nearest_preset
from ial_bench.topk import TopK


@dataclass(frozen=True)
class _Outcome:
    status: Status
    reason: str | None = None
    traceback: str | None = None
    metrics: Metrics | None = None
    phases: Phases | None = None
    size: Size | None = None
    predictions: PredictionsRecord | None = None
    facts: dict[str, Any] | None = None
    parts: list[PartRecord] = field(default_factory=list)
    scores: Scores | None = None


class Engine:
    """Runs methods on one dataset.

    Args:
        dataset: what to run on.
        options: where and how.
        store: encoders and features, shared by all runs.
        report: progress.
        team: the processes that take part in a fit; by default this one.

    Raises:
        StorageError: results or cache cannot be written to.
    """

    def __init__(
        self, dataset: Dataset, options: EngineOptions, store: FeatureStore, report: Reporter, team: Team | None = None
    ) -> None:
        self.dataset = dataset
        self.options = options
        self.store = store
        self.report = report
        self.team = team or Team(options.device)
        self.part_store = PartStore(dataset, options, store, report, self.team)
        self.selection = Selection.of(dataset, options.limit)
        check_writable(options.results / dataset.name)
        check_writable(options.cache)
        if self.team.main:
            sweep(options.results / dataset.name)
            sweep(options.cache)

    def execute(self, planned: Planned) -> RunRecord:
        """Run it and store its record; a failure or a skip is recorded too.

        Raises:
            StorageError: results or cache cannot be written to; nothing that was finished is lost.
            WorkerError: a worker process was ended from outside; nothing that was finished is lost.
            KeyboardInterrupt: passed on; the run resumes at the next call.
        """
        started = _now()
        if planned.state == "skip":
            return self._store(planned, _Outcome("skipped", planned.reason), started)
        work = make_folder(self.options.cache / "runs") / planned.spec.run_id
        with locked(work, Path(f"{work}.lock")):
            if not self.options.rerun and (record := finished(self.options.results, self.dataset.name, planned.spec)):
                return record  # made by another process while this one waited for the lock
            try:
                outcome = self._run(planned, make_folder(work))
            except SkipMethod as skip:
                outcome = _Outcome("skipped", skip.reason)
            except (StorageError, WorkerError):
                raise  # a fault of this machine, not of the method
            except (Exception, SystemExit) as error:  # a plugin may call sys.exit
                if self.team.fitting:
                    raise  # the other processes cannot go on with other runs
                check_storage(error, work)
                reason = str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
                outcome = _Outcome("failed", reason, traceback.format_exc())
            try:
                record = self._store(planned, outcome, started)
            except ValueError as error:  # facts or numbers that JSON cannot hold
                outcome = _Outcome("failed", f"what it tells is not JSON: {error}", traceback.format_exc())
                record = self._store(planned, outcome, started)
            if outcome.status == "done":
                fitted_methods.keep(work / STATE, self.options.cache, planned.spec.run_id)
            if outcome.status != "failed":
                shutil.rmtree(work, ignore_errors=True)
            gc.collect()  # a method and its training refer to each other, and hold weights, gradients and moments
            give_back_freed_memory()
            return record

    def _run(self, planned: Planned, work: Path) -> _Outcome:
        spec, chosen = planned.spec, self.selection
        if self.options.rerun:
            fitted_methods.empty(work)
        parts = RunParts(self.part_store, spec)
        context = make_context(planned.method, self.options, self.store, self.report, spec.seed, work)
        method = planned.method(planned.config, replace(context, parts=parts))
        method.prepare()
        features = self._features(method)
        fit, index = self._fit(method, parts, work)
        top = self._predict(method, planned, work)
        method.answered()
        fitted_methods.store_facts(method, work / STATE)
        query: QueryPhase | None = None
        if self.options.timing and len(chosen.queries):
            self.report.log(f"{spec.method}: measuring latency")
            query = measure_queries(method, chosen.queries, spec.k, self.options.device)
        size = method.parameters()
        path = record_path(self.options.results, self.dataset.name, spec.method, spec.run_id)
        stored = path.with_suffix(".predictions.parquet")
        key = ground_truth_key(self._dataset_record(spec))
        self.truth.write(self.options.results / self.dataset.name, key)
        sha = predictions.write_predictions(stored, chosen.queries.ids, top)
        return _Outcome(
            "done",
            metrics=score(top, self.truth, self.options.ks) if len(top) else None,
            phases=Phases(features=features, fit=fit, index=index, query=query),
            size=Size(storage_bytes=method.storage_bytes(), parameters=size.total, parameters_trained=size.trained),
            predictions=PredictionsRecord(path=stored.name, sha256=sha, k=top.indices.shape[1]),
            facts=fitted_methods.plain(method.facts),
            parts=parts.records,
            scores=method.scores_are,
        )

    @cached_property
    def truth(self) -> GroundTruth:
        """The truth that all runs are measured against."""
        return GroundTruth.of(self.dataset, self.selection)

    def _features(self, method: Method) -> FeaturePhase | None:
        """Encode all photos that the run needs and the cache lacks."""
        if method.backbone is None or not method.uses_features:
            return None
        chosen = self.selection
        parts = {
            "train": chosen.train,
            "val": chosen.val,
            "database": chosen.database,
            "query": chosen.queries,
        }
        made = [self.store.extract(method.backbone, p, f"{n} photos") for n, p in parts.items() if len(p)]
        return FeaturePhase(
            seconds=sum(m.seconds for m in made),
            images=sum(m.images for m in made),
            cached=not any(m.seconds_now for m in made),
        )

    def _fit(self, method: Method, parts: RunParts, work: Path) -> tuple[TimedPhase, TimedPhase]:
        """Fit and index, or restore what an earlier, interrupted run had fitted."""
        state = work / STATE
        if fitted_methods.is_whole(state):
            phases = fitted_methods.restored(method, state)
            self.report.log(f"{method.info.name}: resuming after its fit")
            parts.records += [PartRecord(**part) for part in phases["parts"]]
            return TimedPhase(**phases["fit"]), TimedPhase(**phases["index"])
        chosen = self.selection
        with timed(self.options.device) as fit_phase:
            if method.shares_fit:
                parts.own(method, chosen.train, chosen.val)
            else:
                self.report.log(f"{method.info.name}: fitting on {len(chosen.train):,} photos")
                with self.team.fit(method, parts.spec.seed, self.dataset, self.options.limit, work):
                    method.fit(chosen.train, chosen.val)
        with timed(self.options.device) as index_phase:
            method.index(chosen.candidates)
        fit, index = parts.whole(fit_phase()), index_phase()
        with storage_errors(work / "state.new"), whole_folder(state) as fresh:
            phases = {"fit": fit.model_dump(), "index": index.model_dump()}
            fitted_methods.store(method, fresh, {**phases, "parts": [part.model_dump() for part in parts.records]})
        return fit, index

    def _predict(self, method: Method, planned: Planned, work: Path) -> TopK:
        """Answers to all queries, chunk by chunk; chunks that an interrupted run finished are reused."""
        queries, k = self.selection.queries, planned.spec.k
        n_candidates = len(self.selection.candidates)
        parts = []
        with self.report.track(len(queries), f"{planned.spec.method}: answer queries", "photos") as advance:
            for part in chunks(len(queries), ANSWER_ROWS):
                path = work / f"answers-{part.start:09d}-{part.stop:09d}.npz"
                top = predictions.read_chunk(path)
                if top is None:
                    with inference_mode():
                        top = method.predict(queries.batch(part, oracle=method.info.oracle), k)
                    if method.scores_are != "logits":
                        top = replace(top, log_sum=None)  # a sum over scores that are not logits has no meaning
                    top.check(part.stop - part.start, k, n_candidates, method.info.name, part.start)
                    predictions.write_chunk(path, top)
                parts.append(top)
                advance(part.stop - part.start)
        return predictions.join(parts, min(k, n_candidates))

    def _store(self, planned: Planned, outcome: _Outcome, started: str) -> RunRecord:
        spec, info = planned.spec, planned.method.info
        preset, changed = nearest_preset(planned.method, planned.config)
        hardware = provenance.hardware(self.options.device)
        backbone = planned.config.model_dump().get(BACKBONE)
        record = RunRecord(
            run_id=spec.run_id,
            status=outcome.status,
            reason=None if outcome.reason is None else without_folders(outcome.reason, backbone),
            traceback=outcome.traceback,
            method=MethodRecord(
                name=info.name,
                title=info.title,
                family=info.family,
                version=info.version,
                origin=Path(planned.origin).name,  # records are published: no paths of this machine
                oracle=info.oracle,
                stochastic=info.stochastic,
                final_fit=info.final_fit,
                config=dict(spec.config),
                preset=preset,
                changed=list(changed),
                backbone=planned.backbone,
                weights_digest=spec.weights_digest,
                encoder=encoder_record(planned.encoder),
                source_digest=spec.source_digest,
                scores=outcome.scores,
                parts=outcome.parts,
                facts=outcome.facts or {},
            ),
            dataset=self._dataset_record(spec).model_copy(
                update={"truth_digest": self.truth.digest if outcome.status == "done" else None}
            ),
            seed=spec.seed,
            k=spec.k,
            dtype=spec.dtype,
            protocol_version=PROTOCOL_VERSION,
            metrics=outcome.metrics,
            phases=outcome.phases,
            size=outcome.size,
            predictions=outcome.predictions,
            provenance=Provenance(
                project=provenance.project(),
                packages=provenance.packages(),
                hardware=hardware,
                hardware_digest=provenance.hardware_digest(hardware),
                engine={
                    "workers": self.options.workers,
                    "device": self.options.device,
                },
                started=started,
                finished=_now(),
            ),
        )
        if outcome.status != "done" and finished(self.options.results, self.dataset.name, spec) is not None:
            self.report.log(f"{spec.method}: the result of its earlier run {spec.run_id} is kept")
            return record
        write_record(record_path(self.options.results, self.dataset.name, spec.method, spec.run_id), record)
        return record

    def adopt(self, planned: Planned) -> RunRecord:
        """The record of a run that was done before, brought up to date where an earlier ial-bench wrote it.

        A record of schema version 1 gets what is now known of its encoder; one of an earlier protocol is scored again.
        If its answers were changed, it stays as it is, and tables leave it out.

        Raises:
            StorageError: it cannot be written.
        """
        assert planned.done is not None  # noqa: S101 - called for done runs alone
        record = planned.done
        self._tidy(record.run_id)
        path = record_path(self.options.results, self.dataset.name, planned.spec.method, record.run_id)
        if record.method.encoder is None and planned.encoder is not None:
            method = record.method.model_copy(update={"encoder": encoder_record(planned.encoder)})
            record = record.model_copy(update={"method": method})
            write_record(path, record)
        if record.protocol_version < PROTOCOL_VERSION:
            try:
                record = rescore(path, record, self.dataset, self.options.ks)
                self.report.log(f"{record.method.name}: answers scored by version {PROTOCOL_VERSION} of the protocol")
            except DataError as error:
                self.report.log(f"{record.method.name}: not scored: {error}")
        return record

    def _tidy(self, run_id: str) -> None:
        """Finish what a run that was killed after writing its record left undone, unless another process does so."""
        from filelock import Timeout

        work = self.options.cache / "runs" / run_id
        if not work.is_dir():
            return
        with suppress(Timeout), locked(work, Path(f"{work}.lock"), timeout=0):
            if fitted_methods.is_whole(work / STATE):
                fitted_methods.keep(work / STATE, self.options.cache, run_id)
            shutil.rmtree(work, ignore_errors=True)

    def _dataset_record(self, spec: RunSpec) -> DatasetRecord:
        chosen = self.selection
        return DatasetRecord(
            name=self.dataset.name,
            digest=spec.dataset_digest,
            candidate_digest=spec.candidate_digest,
            streets_digest=spec.streets_digest,
            contents_digest=spec.contents_digest,
            limit=spec.limit,
            n_train=len(chosen.train),
            n_val=len(chosen.val),
            n_database=len(chosen.database),
            n_queries=len(chosen.queries),
            n_places=len(np.unique(chosen.queries.places)),
            n_candidates=len(chosen.candidates),
            n_queries_without_candidate=int((chosen.queries.labels < 0).sum()),
        )


def encoder_record(card: EncoderCard | None) -> EncoderRecord | None:
    """The encoder as a record has it."""
    return None if card is None else EncoderRecord(digest=card.digest, **card.identity, notes=list(card.notes))


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
