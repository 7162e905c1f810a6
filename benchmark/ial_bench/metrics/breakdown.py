"""Accuracy of parts of the queries: by area, by what was seen of an address, by direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ial_bench.metrics.intervals import Estimate, clustered_means

Ints = npt.NDArray[np.integer]

SECTORS = ("N", "NE", "E", "SE", "S", "SW", "W", "NW")
"""Directions of 45 degrees, each around its name: N is 337.5 to 22.5 degrees."""


@dataclass(frozen=True)
class Partition:
    """Queries in parts.

    Attributes:
        names: of the parts, in the order in which they are shown.
        part: int64 [n], the part of each query.
    """

    names: tuple[str, ...]
    part: npt.NDArray[np.int64]


@dataclass(frozen=True)
class PartScores:
    """What came of the queries of one part.

    Attributes:
        name: of the part.
        queries: how many.
        places: how many.
        estimates: of each column of values.
    """

    name: str
    queries: int
    places: int
    estimates: tuple[Estimate, ...]


def by_name(names: Sequence[str]) -> Partition:
    """Queries of equal names [n] together, in the names' order."""
    shown, part = np.unique(np.asarray(names, dtype=object), return_inverse=True)
    return Partition(tuple(shown.tolist()), part.astype(np.int64))


def by_edges(values: npt.NDArray[np.floating], edges: Sequence[float], names: Sequence[str]) -> Partition:
    """Parts ``[edges[i], edges[i + 1])``, with one below the first edge and one from the last on.

    Args:
        values: [n], no NaN.
        edges: increasing.
        names: one more than edges.
    """
    return Partition(tuple(names), np.searchsorted(np.asarray(edges), values, side="right").astype(np.int64))


def by_sector(degrees: npt.NDArray[np.floating], unknown: str) -> Partition:
    """Parts of 45 degrees around the eight directions; `unknown` holds the queries whose direction is NaN."""
    known = np.isfinite(degrees)
    sector = np.floor((np.where(known, degrees, 0.0).astype(np.float64) % 360 + 22.5) / 45).astype(np.int64) % 8
    return Partition((*SECTORS, unknown), np.where(known, sector, len(SECTORS)))


def breakdown(values: npt.NDArray[np.floating], places: Ints, partition: Partition) -> list[PartScores]:
    """Means of columns in each part that has queries, with intervals over the part's places.

    Args:
        values: [n, m], one row a query.
        places: [n].
        partition: of the same queries.
    """
    order = np.argsort(partition.part, kind="stable")
    ends = np.searchsorted(partition.part[order], np.arange(len(partition.names) + 1))
    found = []
    for i, name in enumerate(partition.names):
        rows = order[ends[i] : ends[i + 1]]
        if len(rows):
            estimates = clustered_means(values[rows], places[rows])
            found.append(PartScores(name, len(rows), len(np.unique(places[rows])), tuple(estimates)))
    return found
