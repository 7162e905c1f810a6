"""From stored predictions to metrics. No torch here: scoring is repeated without the machine that ran."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ial_bench.addresses import Address, fold
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.photos import Photos
from ial_bench.engine.record import DistanceMetrics, Interval, Metrics
from ial_bench.geo.points import FARTHEST_M, haversine_m
from ial_bench.metrics.accuracy import first_hit, group_numbers, reciprocal_rank, within
from ial_bench.metrics.intervals import REPLICATES, Estimate, clustered_means
from ial_bench.topk import NO_ANSWER, TopK

DEFAULT_KS = (1, 5, 10)
RADII_M = (25, 50, 100, 200)


def score(
    top: TopK, dataset: Dataset, queries: Photos, ks: Sequence[int] = DEFAULT_KS, replicates: int = REPLICATES
) -> Metrics:
    """Score predictions against the truth.

    Args:
        top: answers, one row a query.
        dataset: what they were asked of.
        queries: the queries, in the same order.
        ks: the k of SSA-k and SA-k. 1 is always among them; those that the answers are too short for are left out.
        replicates: of the bootstrap.
    """
    addresses, candidates = dataset.addresses, dataset.candidates
    truth_rows = queries.address_rows
    width = top.indices.shape[1]
    ks = [1, *sorted(k for k in {*ks} - {1} if k <= width or width == len(candidates))]
    rank = first_hit(top.indices, queries.labels)
    columns = [within(rank, ks).astype(np.float64)]
    names = [f"SSA-{k}" for k in ks]
    for label, part in (("SA", "street_key"), ("street-SA", "street"), ("neighbourhood", "neighbourhood")):
        keys = [_key(a, part) for a in candidates.addresses], [_key(a, part) for a in addresses]
        groups, group_of_address = group_numbers(*keys)
        hits = within(first_hit(top.indices, group_of_address[truth_rows], groups), ks)
        columns.append(hits.astype(np.float64))
        names += [f"{label}-{k}" for k in ks]
    columns.append(reciprocal_rank(rank)[:, None])
    names.append("MRR")
    where = candidates.positions[top.indices[:, 0]] if top.positions is None else top.positions
    metres = haversine_m(where, queries.positions)
    if top.positions is None:
        metres[top.indices[:, 0] == NO_ANSWER] = FARTHEST_M
    columns.append((metres[:, None] <= np.asarray(RADII_M)).astype(np.float64))
    radii = [f"within_{r}" for r in RADII_M]
    # Column 0 is SSA-1: its mean over addresses is the macro accuracy.
    estimates = clustered_means(
        np.concatenate(columns, axis=1), queries.places, truth_rows, class_columns=1, replicates=replicates
    )
    named = dict(zip([*names, *radii, "macro-SSA-1"], map(_interval, estimates), strict=True))
    distance = DistanceMetrics(
        median=float(np.median(metres)),
        to="predicted position" if top.positions is not None else "centroid of the predicted address",
        **{r: named.pop(r) for r in radii},
    )
    return Metrics(accuracy=named, distance_m=distance)


def _key(address: Address, part: str) -> tuple[str, ...]:
    return address.street_key if part == "street_key" else (fold(getattr(address, part)),)


def _interval(estimate: Estimate) -> Interval:
    return Interval(value=estimate.value, ci95=estimate.ci95)
