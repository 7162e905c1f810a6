"""A pack checked against the dataset, and its valid runs merged into a folder of results.

Every number that follows from the answers of a pack is computed anew. What does not is taken from its records: times,
memory, the machine, and what a method reports of its fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.ground_truth import GroundTruth, ground_truth_key
from ial_bench.engine.identity import ANSWERS_VERSION, RunSpec
from ial_bench.engine.predictions import read_predictions, write_predictions
from ial_bench.engine.provenance import hardware_digest
from ial_bench.engine.record import PROTOCOL_VERSION, EncoderRecord, MethodRecord, Received, RunRecord
from ial_bench.engine.records import read_record, record_path, write_record
from ial_bench.engine.scoring import PREDICTED_POSITION, disagreements_of, score
from ial_bench.engine.selection import Selection
from ial_bench.errors import BenchError, DataError, PredictionError
from ial_bench.json_files import digest
from ial_bench.method import Method
from ial_bench.packs.pack import Manifest, Pack
from ial_bench.registry import Registry
from ial_bench.settings import nearest_preset
from ial_bench.topk import TopK

OWN = "ial-bench"
"""The origin of methods that come with the harness."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""Of a method: a folder is named after it."""


@dataclass(frozen=True)
class Verified:
    """What was found of one run of a pack.

    Attributes:
        run_id: as the pack names it.
        method: its name, empty where the record cannot be read.
        record: None where it cannot be read.
        top: its answers, None where they cannot be read.
        problems: what does not follow from answers and dataset.
        notes: what cannot be verified.
    """

    run_id: str
    method: str
    record: RunRecord | None
    top: TopK | None
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether no problem was found."""
        return not self.problems


class Verifier:
    """Checks packs against one dataset.

    Args:
        dataset: at hand.
        limit: photos a split of the runs.
        registry: methods that are known here; None: those installed.
    """

    def __init__(self, dataset: Dataset, limit: int | None, registry: Registry | None = None) -> None:
        self.dataset = dataset
        self.limit = limit
        self.registry = registry or Registry()
        self.selection = Selection.of(dataset, limit)
        self.truth = GroundTruth.of(dataset, self.selection)

    def about(self, manifest: Manifest) -> list[str]:
        """What a pack says about its dataset that does not hold."""
        facts = [
            ("version of the dataset", manifest.dataset_digest, self.dataset.digest),
            ("candidate set", manifest.candidate_digest, self.dataset.candidates.digest),
            ("ground truth", manifest.ground_truth, self.truth.digest),
        ]
        return [
            f"the {what} is another one: {a[:12]} in the pack, {b[:12]} at hand" for what, a, b in facts if a != b
        ]  # fmt: skip

    def run(self, pack: Pack, run_id: str) -> Verified:
        """One run of a pack that is about this dataset."""
        try:
            record = pack.record(run_id)
        except DataError as error:
            return Verified(run_id, "", None, None, (error.problem,))
        name = record.method.name
        try:
            top = pack.answers(run_id, len(self.truth))
            top.check(len(self.truth), record.k, len(self.truth.candidate_rows), name)
        except (DataError, PredictionError) as error:
            return Verified(run_id, name, record, None, (error.problem,))
        problems = [*self._belongs(pack, run_id, record), *self._identity(record), *self._facts(record)]
        if not problems:
            problems = disagreements_of(record, top, self.truth, self.dataset)
        notes = []
        if record.metrics and record.metrics.distance_m.to == PREDICTED_POSITION:
            notes.append("distances are taken as told: a pack holds no positions")
        return Verified(run_id, name, record, top, tuple(problems), tuple(notes))

    def _belongs(self, pack: Pack, run_id: str, record: RunRecord) -> Iterator[str]:
        """Whether the record is of this run, of this dataset, and finished."""
        manifest, about = pack.manifest, record.dataset
        facts = [
            ("run_id", record.run_id, run_id), ("status", record.status, "done"),
            ("dataset.name", about.name, manifest.dataset), ("dataset.digest", about.digest, manifest.dataset_digest),
            ("dataset.candidate_digest", about.candidate_digest, manifest.candidate_digest),
            ("dataset.limit", about.limit, manifest.limit),
            ("dataset.n_train", about.n_train, len(self.selection.train)),
            ("dataset.n_val", about.n_val, len(self.selection.val)),
            ("dataset.n_database", about.n_database, len(self.selection.database)),
        ]  # fmt: skip
        for name, a, b in facts:
            if a != b:
                yield f"{name} is {a!r} in the record and should be {b!r}"
        if record.predictions is None or record.predictions.sha256 != manifest.runs[run_id].answers:
            yield "the record names other answers than the pack has"
        elif record.predictions.k != min(record.k, len(self.truth.candidate_rows)):
            yield f"predictions.k is {record.predictions.k} for k = {record.k}"
        if not ANSWERS_VERSION <= record.protocol_version <= PROTOCOL_VERSION:
            yield f"protocol_version is {record.protocol_version}, known are {ANSWERS_VERSION} to {PROTOCOL_VERSION}"
        if about.streets_digest is not None:
            known = None if self.dataset.streets is None else self.dataset.streets.digest
            if known is not None and about.streets_digest != known:
                yield "it was run on another street network"

    def _identity(self, record: RunRecord) -> Iterator[str]:
        """Whether the run's id is that of its method, settings, encoder and seed."""
        method = record.method
        if method.encoder is not None:
            yield from _encoder(method, method.encoder)
        spec = RunSpec.of(record)
        if not spec.is_called(record.run_id):
            yield (
                f"run_id {record.run_id} is not the one of its method, version, settings, encoder, dataset, seed and "
                f"k, which is {spec.run_id}"
            )

    def _facts(self, record: RunRecord) -> Iterator[str]:
        """Whether what the record says about its method and machine is true."""
        method = record.method
        if not _NAME.fullmatch(method.name):
            yield f"method.name {method.name[:80]!r} is not made of letters, digits, -, _ and ."
        if method.scores is not None and (method.origin == OWN) != (method.source_digest is None):
            yield "method.origin and method.source_digest: methods of ial-bench have no digest of a source, others have"
        if method.origin == OWN:
            yield from self._own(method)
        if not method.stochastic and record.seed != 0:
            yield f"seed is {record.seed} of a method without randomness"
        if record.provenance.hardware_digest != hardware_digest(record.provenance.hardware):
            yield "hardware_digest is not that of the hardware told"
        yield from _plausible(record)

    def _own(self, method: MethodRecord) -> Iterator[str]:
        """Whether a method said to come with ial-bench is the one of that name."""
        try:
            known = self.registry.get(method.name)
            theirs = self.registry.origin(method.name) != OWN  # a plugin that took the name
        except BenchError:
            yield f"{method.name[:80]!r} is told to come with ial-bench, which has no such method"
            return
        if theirs:
            return
        info = known.info
        for name in ("title", "family", "oracle", "stochastic", "final_fit"):
            if getattr(method, name) != getattr(info, name):
                yield f"method.{name} is {getattr(method, name)!r}, and {getattr(info, name)!r} of {info.name}"
        if method.version == info.version:
            yield from _settings(method, known)


def _encoder(method: MethodRecord, encoder: EncoderRecord) -> Iterator[str]:
    parts = {k: v for k, v in encoder.model_dump(mode="json").items() if k not in {"digest", "notes"}}
    if digest(parts) != encoder.digest:
        yield "method.encoder.digest is not that of the encoder told"
    first: dict[str, Any] = {"weights": encoder.weights, "preprocessing": encoder.preprocessing}
    if encoder.head:
        first["head"] = encoder.head
    if method.weights_digest not in {None, digest(first)}:
        yield "method.weights_digest is not that of the encoder told"


def _settings(method: MethodRecord, known: type[Method]) -> Iterator[str]:
    """Whether the settings are the method's own, and named after a preset that it has.

    Which preset they are nearest to depends on the defaults of the release that the run was made with; merging
    determines it again.
    """
    try:
        known.Config.model_validate(method.config)
    except ValueError as error:
        yield f"method.config is none of {method.name}: {str(error).splitlines()[0]}"
    if method.preset is not None and method.preset not in known.presets:
        yield f"method.preset is {method.preset[:80]!r}, which {method.name} does not have"
    if strange := sorted(set(method.changed) - method.config.keys()):
        yield f"method.changed names {', '.join(strange)[:200]}, which are no settings of the run"


def _plausible(record: RunRecord) -> Iterator[str]:
    """What no run can have: an end before its start, negative sizes."""
    try:
        started, finished = (datetime.fromisoformat(t) for t in (record.provenance.started, record.provenance.finished))
        if finished < started:
            yield "provenance.finished is before provenance.started"
    except (ValueError, TypeError):
        yield "provenance.started and provenance.finished are no times"
    if record.size is None:
        yield "size is missing"
    elif min(record.size.storage_bytes, record.size.parameters_trained) < 0:
        yield "size has negative numbers"
    elif record.size.parameters_trained > record.size.parameters:
        yield "size.parameters_trained is larger than size.parameters"
    query = None if record.phases is None else record.phases.query
    if query is not None and not 0 < query.p50_ms <= query.p95_ms <= query.p99_ms:
        yield "phases.query: p50, p95 and p99 do not rise from above 0"
    if record.phases is not None and min(record.phases.fit.seconds, record.phases.index.seconds) < 0:
        yield "phases have negative times"


Fate = Literal["merged", "already there", "refused"]


@dataclass(frozen=True)
class Merged:
    """What became of one run.

    Attributes:
        run: what was found of it.
        fate: whether it was taken.
        why: of a refusal.
    """

    run: Verified
    fate: Fate
    why: str = ""


def merge_run(pack: Pack, found: Verified, verifier: Verifier, results: Path, signed_by: str | None = None) -> Merged:
    """Take one run, if it holds; `signed_by` names the signer, if the pack is signed.

    The same run with the same answers is there already, and the record here stays. The same run id with other answers
    is refused: one of the two is wrong, or was made on other hardware, and a person must decide which one counts. A
    run that failed here, or whose answers are gone, is replaced. Records of an earlier protocol are scored by this one.

    Raises:
        StorageError: the folder cannot be written to.
    """
    record, top = found.record, found.top
    if not found.holds or record is None or top is None:
        return Merged(found, "refused", "; ".join(found.problems))
    name = verifier.dataset.name  # theirs may be another, and is not to name a folder
    record = record.model_copy(
        update={
            "dataset": record.dataset.model_copy(update={"name": name, "truth_digest": verifier.truth.digest}),
            "method": _called(record.method, verifier),
        }
    )  # fmt: skip
    path = record_path(results, name, record.method.name, record.run_id)
    file = path.with_suffix(".predictions.parquet")
    own = _own(path, file)
    if own is not None:
        same = own.indices.shape == top.indices.shape
        differing = int((own.indices != top.indices).any(axis=1).sum()) if same else len(top)
        if not differing:
            return Merged(found, "already there")
        return Merged(
            found, "refused", f"the run here answers {differing:,} queries otherwise; to take it, delete {path}"
        )
    verifier.truth.write(results / name, ground_truth_key(record.dataset))
    sha256 = write_predictions(file, verifier.truth.ids, top)
    received = Received(
        pack=pack.sha256, licence=pack.manifest.licence, contact=pack.manifest.contact, signed_by=signed_by
    )  # fmt: skip
    write_record(path, _received(received, record, top, verifier.truth, file.name, sha256))
    return Merged(found, "merged")


def _received(
    received: Received, record: RunRecord, top: TopK, truth: GroundTruth, name: str, sha256: str
) -> RunRecord:
    metrics = record.metrics
    if record.protocol_version < PROTOCOL_VERSION and metrics is not None:
        rescored = score(top, truth)
        kept = metrics.distance_m.to == PREDICTED_POSITION  # a pack does not hold them
        metrics = rescored.model_copy(update={"distance_m": metrics.distance_m}) if kept else rescored
    predictions = None
    if record.predictions is not None:
        predictions = record.predictions.model_copy(update={"path": name, "sha256": sha256})
    return record.model_copy(
        update={
            "metrics": metrics,
            "protocol_version": PROTOCOL_VERSION,
            "predictions": predictions,
            "received": received,
        }
    )


def _called(method: MethodRecord, verifier: Verifier) -> MethodRecord:
    """The method with its settings named as here: after the preset that they are nearest to."""
    try:
        known = verifier.registry.get(method.name)
        preset, changed = nearest_preset(known, known.Config.model_validate(method.config))
    except (BenchError, ValueError):
        return method  # unknown here: kept as it is
    return method.model_copy(update={"preset": preset, "changed": list(changed)})


def _own(path: Path, file: Path) -> TopK | None:
    """The answers of a finished run that are here already; None where there are none."""
    try:
        record = read_record(path)
        if record.status != "done" or record.predictions is None:
            return None
        return read_predictions(file, record.dataset.n_queries, record.predictions.k)[1]
    except DataError:
        return None
