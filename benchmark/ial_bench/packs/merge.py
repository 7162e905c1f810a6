"""Verified runs of a pack put into a folder of results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ial_bench.engine.ground_truth import GroundTruth, ground_truth_key
from ial_bench.engine.predictions import read_predictions, write_predictions
from ial_bench.engine.record import PROTOCOL_VERSION, MethodRecord, Received, RunRecord
from ial_bench.engine.records import read_record, record_path, write_record
from ial_bench.engine.scoring import PREDICTED_POSITION, score
from ial_bench.errors import BenchError, DataError
from ial_bench.packs.file import Pack
from ial_bench.packs.verify import Verified, Verifier
from ial_bench.settings import nearest_preset
from ial_bench.topk import TopK

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
    """Take one run, where it holds; `signed_by` is whose signature the pack was found to bear.

    The same run with the same answers is there already, and the record here stays. The same run id with other answers
    is refused: one of the two is wrong, or was made on other hardware, and which one counts is for a person to say. A
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
        anew = score(top, truth)
        as_told = metrics.distance_m.to == PREDICTED_POSITION  # a pack does not hold them
        metrics = anew.model_copy(update={"distance_m": metrics.distance_m}) if as_told else anew
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
    """The method with its settings called as they are here: after the preset that they are nearest to."""
    try:
        known = verifier.registry.get(method.name)
        preset, changed = nearest_preset(known, known.Config.model_validate(method.config))
    except (BenchError, ValueError):
        return method  # unknown here: as told
    return method.model_copy(update={"preset": preset, "changed": list(changed)})


def _own(path: Path, file: Path) -> TopK | None:
    """The answers that are here already; None where there are none of a finished run."""
    try:
        record = read_record(path)
        if record.status != "done" or record.predictions is None:
            return None
        return read_predictions(file, record.dataset.n_queries, record.predictions.k)[1]
    except DataError:
        return None
