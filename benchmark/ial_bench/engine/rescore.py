"""Metrics anew from stored predictions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.ground_truth import GroundTruth, ground_truth_key
from ial_bench.engine.plan import Selection
from ial_bench.engine.predictions import read_predictions
from ial_bench.engine.record import PROTOCOL_VERSION, RunRecord, write_record
from ial_bench.engine.score import DEFAULT_KS, PREDICTED_POSITION, score
from ial_bench.errors import DataError
from ial_bench.files import sha256_file


def rescore(path: Path, record: RunRecord, dataset: Dataset, ks: Sequence[int] | None = None) -> RunRecord:
    """Score a run's stored predictions again and update its record.

    Args:
        path: where the record lies.
        record: a finished run's.
        dataset: what it was run on.
        ks: the k of SSA-k and SA-k; None for the default ones, as far as the predictions reach.

    Raises:
        DataError: predictions are missing or changed, belong to another version of the dataset or the protocol,
            or hold fewer candidates than the largest k.
    """
    if record.predictions is None:
        raise DataError(f"{path} names no predictions", "run it again with --rerun")
    if record.protocol_version != PROTOCOL_VERSION:
        raise DataError(
            f"{path} was made under protocol version {record.protocol_version}, this ial-bench scores by version "
            f"{PROTOCOL_VERSION}",
            "run it again",
        )
    if record.dataset.digest != dataset.digest:
        raise DataError(
            f"{path} was made on another version of dataset {dataset.name!r}",
            "give --dataset the folder it was made on, or run it again",
        )
    file = path.parent / Path(record.predictions.path).name
    if not file.is_file():
        raise DataError(f"no such predictions: {file}", "run it again with --rerun")
    if sha256_file(file) != record.predictions.sha256:
        raise DataError(f"{file} was changed since it was written", "run it again with --rerun")
    ids, top = read_predictions(file)
    truth = _truth_of(dataset, record.dataset.limit)
    if ids != truth.ids:
        raise DataError(f"{file} answers other queries than those of {dataset.name!r}", "run it again with --rerun")
    if top.positions is None and record.metrics and record.metrics.distance_m.to == PREDICTED_POSITION:
        raise DataError(f"{file} was passed on without the positions that it predicts", "run it again with --rerun")
    width = top.indices.shape[1]
    if ks is not None and max(ks) > width and width < len(dataset.candidates):
        raise DataError(
            f"{file} stores the first {width} candidates, too few for k = {max(ks)}",
            f"run it again with --k {max(ks)}",
        )
    truth.write(path.parents[1], ground_truth_key(record.dataset), again=True)
    metrics = score(top, truth, DEFAULT_KS if ks is None else ks) if len(top) else None
    updated = record.model_copy(update={"metrics": metrics})
    write_record(path, updated)
    return updated


@lru_cache(maxsize=1)
def _truth_of(dataset: Dataset, limit: int | None) -> GroundTruth:
    """One for all the runs on the same photos."""
    return GroundTruth.of(dataset, Selection.of(dataset, limit))
