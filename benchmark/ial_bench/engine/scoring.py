"""From stored predictions to metrics, in a run or long after it; and whether a record agrees with its predictions.

No torch here: scoring is repeated without the machine that ran.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ial_bench.datasets.contents import differ
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.ground_truth import GroundTruth, ground_truth_key
from ial_bench.engine.identity import ANSWERS_VERSION
from ial_bench.engine.predictions import read_predictions
from ial_bench.engine.record import PROTOCOL_VERSION, DistanceMetrics, Interval, Metrics, RunRecord
from ial_bench.engine.records import write_record
from ial_bench.engine.selection import Selection
from ial_bench.errors import DataError
from ial_bench.files import sha256_file
from ial_bench.geo.points import FARTHEST_M, haversine_m
from ial_bench.metrics.accuracy import first_hit, group_numbers, reciprocal_rank, within
from ial_bench.metrics.intervals import Estimate, clustered_means, clustered_median
from ial_bench.topk import NO_ANSWER, TopK

DEFAULT_KS = (1, 5, 10)
RADII_M = (25, 50, 100, 200)
PREDICTED_POSITION = "predicted position"
CENTROID = "centroid of the predicted address"
"""What distances are measured to."""
_AGAIN = "run it again with --rerun"
_TOLERANCE = 1e-9  # of a number: sums in another order


def outcomes(
    top: TopK, truth: GroundTruth, ks: Sequence[int] = DEFAULT_KS
) -> tuple[list[str], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The outcome of each query, under every metric that is a mean over queries.

    Args:
        top: answers, one row a query.
        truth: of the same queries, in the same order.
        ks: the k of SSA-k and SA-k. 1 is always among them; a k beyond the length of the answers is left out.

    Returns:
        Names [m] (SSA-k, SA-k, street-SA-k, neighbourhood-k, MRR, within_R); values [n, m], 0 to 1; metres [n]
        from the query to the predicted position, or to the predicted address's centroid. For a truth without positions
        no within_R, and NaN for metres.
    """
    width, n_candidates = top.indices.shape[1], len(truth.candidate_rows)
    ks = [1, *sorted(k for k in {*ks} - {1} if k <= width or width == n_candidates)]
    rank = first_hit(top.indices, truth.labels)
    columns = [within(rank, ks).astype(np.float64)]
    names = [f"SSA-{k}" for k in ks]
    for label, key in (("SA", "street_key"), ("street-SA", "street_name_key"), ("neighbourhood", "neighbourhood_key")):
        keys = [getattr(a, key) for a in truth.candidates], [getattr(a, key) for a in truth.addresses]
        groups, group_of_address = group_numbers(*keys)
        hits = within(first_hit(top.indices, group_of_address[truth.address_rows], groups), ks)
        columns.append(hits.astype(np.float64))
        names += [f"{label}-{k}" for k in ks]
    columns.append(reciprocal_rank(rank)[:, None])
    names.append("MRR")
    if not truth.has_positions:
        return names, np.concatenate(columns, axis=1), np.full(len(truth), np.nan)
    where = truth.candidate_positions[top.indices[:, 0]] if top.positions is None else top.positions
    metres = haversine_m(where, truth.positions)
    if top.positions is None:
        metres[top.indices[:, 0] == NO_ANSWER] = FARTHEST_M
    columns.append((metres[:, None] <= np.asarray(RADII_M)).astype(np.float64))
    names += [f"within_{r}" for r in RADII_M]
    return names, np.concatenate(columns, axis=1), metres


def score(top: TopK, truth: GroundTruth, ks: Sequence[int] = DEFAULT_KS) -> Metrics:
    """Score predictions against the truth.

    Args:
        top: answers, one row a query.
        truth: of the same queries, in the same order.
        ks: as for `outcomes`.
    """
    names, values, metres = outcomes(top, truth, ks)
    # Column 0 is SSA-1: its mean over addresses is the macro accuracy.
    estimates = clustered_means(values, truth.places, truth.address_rows, class_columns=1)
    named = dict(zip([*names, "macro-SSA-1"], map(_interval, estimates), strict=True))
    median = clustered_median(metres, truth.places)
    distance = DistanceMetrics(
        median=median.value,
        median_ci95=median.ci95,
        to=CENTROID if top.positions is None else PREDICTED_POSITION,
        **{name: named.pop(name) for name in names if name.startswith("within_")},
    )
    return Metrics(accuracy=named, distance_m=distance)


def told_ks(metrics: Metrics) -> list[int]:
    """The k for which stored metrics have SSA-k."""
    names = (name.removeprefix("SSA-") for name in metrics.accuracy if name.startswith("SSA-"))
    return [int(k) for k in names if k.isdigit()]


def _interval(estimate: Estimate) -> Interval:
    return Interval(value=estimate.value, ci95=estimate.ci95)


def rescore(path: Path, record: RunRecord, dataset: Dataset, ks: Sequence[int] | None = None) -> RunRecord:
    """Score a run's stored predictions again and update its record, which is then of the current protocol.

    Args:
        path: where the record lies.
        record: a finished run's.
        dataset: what it was run on.
        ks: the k of SSA-k and SA-k; None: the defaults, as far as the predictions reach.

    Raises:
        DataError: predictions are missing or changed, belong to another version of the dataset or the protocol,
            or hold fewer candidates than the largest k.
    """
    top, truth = _answers(path, record, dataset, ks)
    _write_truth(dataset, record.dataset.limit, path.parents[1], ground_truth_key(record.dataset))
    metrics = score(top, truth, DEFAULT_KS if ks is None else ks) if len(top) else None
    about = record.dataset.model_copy(update={"truth_digest": truth.digest})
    updated = record.model_copy(update={"metrics": metrics, "protocol_version": PROTOCOL_VERSION, "dataset": about})
    write_record(path, updated)
    return updated


def disagreements(path: Path, record: RunRecord, dataset: Dataset) -> list[str]:
    """Where a record disagrees with its answers and the dataset, one line each. Nothing is written.

    Args:
        path: where the record lies.
        record: a finished run's.
        dataset: what it was run on.

    Raises:
        DataError: as `rescore`.
    """
    return disagreements_of(record, *_answers(path, record, dataset, None), dataset)


def disagreements_of(record: RunRecord, top: TopK, truth: GroundTruth, dataset: Dataset) -> list[str]:
    """`disagreements` for given answers.

    Intervals are not compared for a record of an earlier protocol, nor distances to predicted positions where the
    answers came without positions.

    Args:
        record: a finished run's.
        top: the run's answers.
        truth: the truth of the same queries.
        dataset: what it was run on.
    """
    found = [
        f"{name} is {recorded} in the record and {true} in the dataset"
        for name, recorded, true in _counts(record, dataset, truth) if recorded != true
    ]  # fmt: skip
    ks = (record.metrics and told_ks(record.metrics)) or DEFAULT_KS
    metrics = score(top, truth, ks) if len(top) else None
    recorded, true = (dict(_numbers("", m.model_dump() if m else {})) for m in (record.metrics, metrics))
    if record.protocol_version < PROTOCOL_VERSION:
        recorded, true = ({k: v for k, v in of.items() if "ci95" not in k} for of in (recorded, true))
    if top.positions is None and record.metrics and record.metrics.distance_m.to == PREDICTED_POSITION:
        recorded, true = ({k: v for k, v in of.items() if not k.startswith("distance_m")} for of in (recorded, true))
    for name in dict.fromkeys([*recorded, *true]):
        a, b = recorded.get(name), true.get(name)
        if not _same(a, b):
            found.append(f"{name} is {_shown(a)} in the record and {_shown(b)} by its answers")
    return found


def _answers(path: Path, record: RunRecord, dataset: Dataset, ks: Sequence[int] | None) -> tuple[TopK, GroundTruth]:
    """The stored answers of a run and the truth of its queries."""
    if record.predictions is None:
        raise DataError(f"{path} names no predictions", _AGAIN)
    if not ANSWERS_VERSION <= record.protocol_version <= PROTOCOL_VERSION:
        raise DataError(
            f"{path} was made under protocol version {record.protocol_version}, this ial-bench scores by version "
            f"{PROTOCOL_VERSION}",
            "run it again" if record.protocol_version < ANSWERS_VERSION else "upgrade ial-bench",
        )
    if record.dataset.digest != dataset.digest:
        raise DataError(
            f"{path} was made on another version of dataset {dataset.name!r}",
            "give --dataset the folder it was made on, or run it again",
        )
    file = path.parent / Path(record.predictions.path).name
    if not file.is_file():
        raise DataError(f"no such predictions: {file}", _AGAIN)
    if sha256_file(file) != record.predictions.sha256:
        raise DataError(f"{file} was changed since it was written", _AGAIN)
    truth = _truth_of(dataset, record.dataset.limit)
    ids, top = read_predictions(file, len(truth), record.predictions.k)
    if ids != truth.ids:
        raise DataError(f"{file} answers other queries than those of {dataset.name!r}", _AGAIN)
    if top.positions is None and record.metrics and record.metrics.distance_m.to == PREDICTED_POSITION:
        raise DataError(f"{file} was passed on without the positions that it predicts", _AGAIN)
    width = top.indices.shape[1]
    if ks is not None and max(ks) > width and width < len(dataset.candidates):
        raise DataError(
            f"{file} stores the first {width} candidates, too few for k = {max(ks)}",
            f"run it again with --k {max(ks)}",
        )
    return top, truth


def _counts(record: RunRecord, dataset: Dataset, truth: GroundTruth) -> Iterator[tuple[str, object, object]]:
    """What the record says of the dataset, beside what is true."""
    about = record.dataset
    yield "the candidates' digest", about.candidate_digest, dataset.candidates.digest
    if about.truth_digest is not None:
        yield "the ground truth's digest", about.truth_digest, truth.digest
    if differ(about.contents_digest, dataset.contents_digest):
        yield "the digest of the photos' contents", about.contents_digest, dataset.contents_digest
    yield "n_candidates", about.n_candidates, len(truth.candidate_rows)
    yield "n_queries", about.n_queries, len(truth)
    yield "n_places", about.n_places, len(set(truth.places.tolist()))
    yield "n_queries_without_candidate", about.n_queries_without_candidate, int((truth.labels < 0).sum())


def _numbers(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every number or text within a value, with the path of names to it."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _numbers(f"{name}.{key}" if name else str(key), below)
    elif isinstance(value, tuple | list):
        for end, below in zip(("low", "high"), value, strict=True):
            yield from _numbers(f"{name}.{end}", below)
    elif value is not None:
        yield name, value


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return bool(a == b)


def _shown(value: Any) -> str:
    return "nothing" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


@lru_cache(maxsize=1)
def _write_truth(dataset: Dataset, limit: int | None, folder: Path, key: str) -> None:
    """Written once for all runs on the same photos."""
    _truth_of(dataset, limit).write(folder, key, again=True)


@lru_cache(maxsize=1)
def _truth_of(dataset: Dataset, limit: int | None) -> GroundTruth:
    """Shared by all runs on the same photos."""
    return GroundTruth.of(dataset, Selection.of(dataset, limit))
