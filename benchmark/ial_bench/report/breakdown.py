"""Accuracy by part of the queries, methods side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np

from ial_bench.engine.ground_truth import GroundTruth
from ial_bench.metrics.accuracy import Areas, Partition, PartScores, breakdown, by_edges, by_name, by_sector
from ial_bench.metrics.intervals import Ints
from ial_bench.report.selection import Selected
from ial_bench.report.table import Table, Value, analysis

DISTANCES_M = (5, 10, 25, 50, 100, 200)
_UNKNOWN = "unknown"
_NOTE = "a place may have queries in several parts; each interval is of the part's own places"


def _neighbourhoods(truth: GroundTruth) -> Partition:
    areas = Areas.of(truth.addresses)
    return by_name([areas.neighbourhoods[i] for i in areas.neighbourhood_of[_street_of(areas, truth)]])


def _streets(truth: GroundTruth) -> Partition:
    areas = Areas.of(truth.addresses)
    first = [truth.addresses[i] for i in areas.first_of]
    return by_name([f"{first[i].street}, {first[i].neighbourhood}" for i in _street_of(areas, truth)])


def _street_of(areas: Areas, truth: GroundTruth) -> Ints:
    """[n], the street of each query."""
    return areas.street_of[truth.address_rows]


def _train_photos(truth: GroundTruth) -> Partition:
    """By photos of the true address, each part twice as wide as the one before; no candidate has none."""
    photos = np.where(truth.labels >= 0, truth.train_photos[np.maximum(truth.labels, 0)], 0).astype(np.float64)
    most = int(photos.max(initial=1))
    edges = [2**i for i in range(most.bit_length())]
    names = ["0", *(str(e) if e == 1 else f"{e} to {2 * e - 1}" for e in edges)]
    return by_edges(photos, edges, names)


def _train_distance(truth: GroundTruth) -> Partition:
    names = [f"below {DISTANCES_M[0]} m"]
    names += [f"{a} to {b} m" for a, b in pairwise(DISTANCES_M)]
    edges = [*map(float, DISTANCES_M), float("inf")]
    return by_edges(truth.train_m, edges, [*names, f"{DISTANCES_M[-1]} m or more", "no train photo"])


def _headings(truth: GroundTruth) -> Partition:
    return by_sector(truth.headings, _UNKNOWN)


def _joined(truth: GroundTruth) -> Partition:
    """By what stands before the first ``/`` of the photo id: of a joined dataset, the one that a query comes from."""
    return by_name([photo_id.partition("/")[0] for photo_id in truth.ids])


BY: Mapping[str, Callable[[GroundTruth], Partition]] = {
    "neighbourhood": _neighbourhoods,
    "street": _streets,
    "train-photos": _train_photos,
    "train-distance": _train_distance,
    "heading": _headings,
    "dataset": _joined,
}
"""What queries are parted by."""

ON_REQUEST = frozenset({"dataset"})
"""Parts that say nothing of most datasets."""

TITLES = {
    "neighbourhood": "neighbourhood",
    "street": "street",
    "train-photos": "train photos of the address",
    "train-distance": "nearest train photo",
    "heading": "heading",
    "dataset": "dataset",
}


def parts(selected: Selected, by: str, metric: str) -> list[PartScores]:
    """The scores of each part: a column for each group.

    Args:
        selected: the runs.
        by: a key of `BY`.
        metric: a mean over queries.

    Raises:
        DataError: ground truth or predictions cannot be read.
        UnknownNameError: no such metric.
    """
    answers = selected.answers
    values = np.stack([answers.values(g.runs, metric) for g in selected.groups], axis=1)
    return breakdown(values, answers.truth.places, BY[by](answers.truth))


def sheet(selected: Selected, by: str, metric: str) -> Table:
    """`parts` as a table.

    Args:
        selected: as of `parts`.
        by: as of `parts`.
        metric: as of `parts`.
    """
    rows: tuple[tuple[Value, ...], ...] = tuple(
        (p.name, p.queries, p.places, *p.estimates) for p in parts(selected, by, metric)
    )
    return analysis(
        f"{selected.dataset}: {metric} % by {TITLES[by]}",
        (TITLES[by], "queries", "places", *selected.titles),
        rows,
        (_NOTE, *selected.seed_notes, *selected.notes),
        {"dataset": selected.dataset, "metric": metric, "by": by},
    )
