"""Accuracy of ranked candidates, SSA-k, SA-k and their kin, of all queries or of parts of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ial_bench.addresses import Address
from ial_bench.metrics.intervals import Estimate, Ints, clustered_means

MISSED = np.iinfo(np.int64).max
"""The place of a right candidate that is not in the list: beyond any k, also one beyond the list's length."""


def first_hit(top: Ints, truth: Ints, groups: Ints | None = None) -> npt.NDArray[np.int64]:
    """Place, from 0, of the first right candidate in each list; `MISSED` where none is right.

    Args:
        top: [n, k] candidate indices, best first; -1 where there is none, which is never right.
        truth: [n] the right candidate, or the right group where `groups` is given; -1: none is right.
        groups: [n_candidates] group of each candidate, such as its street.
    """
    listed = top if groups is None else groups[top]
    right = (listed == truth[:, None]) & (top >= 0)  # -1 picks the last group, and would be equal to a truth of -1
    return np.asarray(np.where(right.any(axis=1), right.argmax(axis=1), MISSED), dtype=np.int64)


def within(rank: Ints, ks: Sequence[int]) -> npt.NDArray[np.bool_]:
    """[n, len(ks)]: whether the first hit is among the first k."""
    return np.asarray(rank[:, None] < np.asarray(ks)[None, :])


def reciprocal_rank(rank: Ints) -> npt.NDArray[np.float64]:
    """[n]: 1 / place of the right candidate, counted from 1; 0 where it is not listed."""
    return np.where(rank == MISSED, 0.0, 1.0 / (rank + 1.0))


def group_numbers(keys: Sequence[Hashable], others: Sequence[Hashable]) -> tuple[Ints, Ints]:
    """Equal keys get equal numbers, across both lists: ([len(keys)], [len(others)])."""
    numbers = {key: i for i, key in enumerate(dict.fromkeys([*keys, *others]))}
    return (
        np.fromiter((numbers[k] for k in keys), dtype=np.int64, count=len(keys)),
        np.fromiter((numbers[k] for k in others), dtype=np.int64, count=len(others)),
    )


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
    """The scores of the queries of one part.

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
    """Parts of queries with equal names [n], in the order of the names."""
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


@dataclass(frozen=True)
class Areas:
    """The streets and neighbourhoods of addresses. A street is a main street within a neighbourhood, as SA-k counts it.

    Attributes:
        neighbourhoods: their names, sorted.
        streets: their names, sorted by neighbourhood and name.
        street_of: int64 [n_addresses], the street of each address.
        neighbourhood_of: int64 [n_streets], the neighbourhood of each street.
        first_of: int64 [n_streets], the first address of each street.
    """

    neighbourhoods: list[str]
    streets: list[str]
    street_of: npt.NDArray[np.int64]
    neighbourhood_of: npt.NDArray[np.int64]
    first_of: npt.NDArray[np.int64]

    @classmethod
    def of(cls, addresses: Sequence[Address]) -> Areas:
        """The areas of these addresses, spelt as the first address of each spells it."""
        keys = [a.street_key[::-1] for a in addresses]  # by neighbourhood, then by name
        areas = {a.neighbourhood_key: a.neighbourhood for a in reversed(addresses)}
        first = {key: i for i, key in reversed(list(enumerate(keys)))}
        area_number = {key: i for i, key in enumerate(sorted(areas))}
        street_number = {key: i for i, key in enumerate(sorted(first))}
        return cls(
            [areas[key] for key in area_number],
            [addresses[first[key]].street for key in street_number],
            np.array([street_number[key] for key in keys], dtype=np.int64),
            np.array([area_number[area] for area, _ in street_number], dtype=np.int64),
            np.array([first[key] for key in street_number], dtype=np.int64),
        )
