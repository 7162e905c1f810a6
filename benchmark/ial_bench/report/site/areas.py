"""Streets and neighbourhoods of a dataset's addresses, numbered for the report's data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ial_bench.metrics.accuracy import Areas

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Share:
    """How many of the queries of one area are right.

    Attributes:
        name: of the neighbourhood or the street.
        within: the neighbourhood of a street.
        queries: how many.
        right: fraction with the right sub-street first (SSA-1).
        street: fraction with the right street first (SA-1).
    """

    name: str
    within: str
    queries: int
    right: float
    street: float


def shares(
    areas: Areas, address_rows: npt.NDArray[np.integer], right: Floats, street: Floats
) -> tuple[list[Share], list[Share]]:
    """By neighbourhood and by street, those with most queries first.

    Args:
        areas: of all addresses.
        address_rows: [n], the address of each query.
        right: [n], 0 to 1.
        street: [n], 0 to 1.
    """
    streets = areas.street_of[address_rows]
    by_area = _shares(areas.neighbourhoods, None, areas.neighbourhood_of[streets], right, street)
    within = [areas.neighbourhoods[i] for i in areas.neighbourhood_of]
    return by_area, _shares(areas.streets, within, streets, right, street)


def _shares(names: list[str], within: list[str] | None, rows: Ints, right: Floats, street: Floats) -> list[Share]:
    counts, rights, on_street = (np.bincount(rows, w, minlength=len(names)) for w in (None, right, street))
    found = [
        Share(name, within[i] if within else "", int(counts[i]), float(rights[i] / counts[i]),
              float(on_street[i] / counts[i]))
        for i, name in enumerate(names)
        if counts[i]
    ]  # fmt: skip
    return sorted(found, key=lambda s: (-s.queries, s.within, s.name))
