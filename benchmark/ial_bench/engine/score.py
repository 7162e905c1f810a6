"""From stored predictions to metrics. No torch here: scoring is repeated without the machine that ran."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ial_bench.engine.ground_truth import GroundTruth
from ial_bench.engine.record import DistanceMetrics, Interval, Metrics
from ial_bench.geo.points import FARTHEST_M, haversine_m
from ial_bench.metrics.accuracy import first_hit, group_numbers, reciprocal_rank, within
from ial_bench.metrics.intervals import Estimate, clustered_means, clustered_median
from ial_bench.topk import NO_ANSWER, TopK

DEFAULT_KS = (1, 5, 10)
RADII_M = (25, 50, 100, 200)
PREDICTED_POSITION = "predicted position"
CENTROID = "centroid of the predicted address"
"""What distances are measured to."""


def outcomes(
    top: TopK, truth: GroundTruth, ks: Sequence[int] = DEFAULT_KS
) -> tuple[list[str], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What became of each query, under every metric that is a mean over queries.

    Args:
        top: answers, one row a query.
        truth: of the same queries, in the same order.
        ks: the k of SSA-k and SA-k. 1 is always among them; those that the answers are too short for are left out.

    Returns:
        Names [m] (SSA-k, SA-k, street-SA-k, neighbourhood-k, MRR, within_R); values [n, m], 0 to 1; metres [n]
        from the query to the predicted position, or to the predicted address's centroid. Of a truth without
        positions no within_R, and NaN for metres.
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
        ks: as of `outcomes`.
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
    """The k that SSA-k of stored metrics is told for."""
    names = (name.removeprefix("SSA-") for name in metrics.accuracy if name.startswith("SSA-"))
    return [int(k) for k in names if k.isdigit()]


def _interval(estimate: Estimate) -> Interval:
    return Interval(value=estimate.value, ci95=estimate.ci95)
