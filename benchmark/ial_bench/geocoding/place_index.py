"""Labelled places of a city, searched by distance: the offline index from coordinates to addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ial_bench.errors import SkipMethod
from ial_bench.geo.points import EARTH_RADIUS_M, Points, unit_vectors

if TYPE_CHECKING:
    from ial_bench.datasets.photos import Photos

_FIRST_NEIGHBOURS = 32


class PlaceIndex:
    """Where each address was photographed.

    Distances are great-circle metres on the sphere of the Earth's mean radius, as in `haversine_m`. The search goes
    by chords through it, which grow with the distance: neither a pole nor the antimeridian is special.

    Args:
        positions: [n, 2], latitude and longitude in degrees.
        labels: int32 [n], candidate index of each.
        n_candidates: how many candidates there are; some may have no place.

    Raises:
        SkipMethod: there is no place at all.
    """

    def __init__(self, positions: Points, labels: npt.NDArray[np.int32], n_candidates: int) -> None:
        from scipy.spatial import KDTree

        if len(labels) == 0:
            raise SkipMethod("there are no labelled train photos whose places could be searched")
        self.positions, self.labels, self.n_candidates = positions, labels, n_candidates
        self._vectors = unit_vectors(positions)
        self._tree = KDTree(self._vectors)

    @classmethod
    def of(cls, *parts: Photos) -> PlaceIndex:
        """The places of photos whose address is a candidate; the views of a place share its position and count once.

        Raises:
            SkipMethod: there is none.
        """
        positions = np.concatenate([p.positions for p in parts])
        labels = np.concatenate([p.labels for p in parts])
        points = np.concatenate([positions, labels[:, None]], axis=1)[labels >= 0]
        points = np.unique(points, axis=0)
        return cls(points[:, :2], points[:, 2].astype(np.int32), len(parts[0].candidates))

    def nearest_m(self, queries: Points, k: int) -> npt.NDArray[np.float64]:
        """float64 [n, n_candidates]: metres to the nearest place of each address, for at least the k nearest.

        Infinite for addresses without a place, and for those that are not among the k nearest nor tie with the last.

        Args:
            queries: [n, 2].
            k: addresses wanted.
        """
        vectors = unit_vectors(queries)
        chords = np.full((len(queries), self.n_candidates), np.inf)
        # One more than asked for, so that an address that ties with the last one is not missed.
        wanted = min(k + 1, len(np.unique(self.labels)))
        open_rows, neighbours = np.arange(len(queries)), min(_FIRST_NEIGHBOURS, len(self.labels))
        while len(open_rows):  # ever more neighbours, until enough addresses are among them
            # A list of ranks keeps the answer two-dimensional for a single neighbour as well.
            found_chords, found = self._tree.query(vectors[open_rows], np.arange(1, neighbours + 1))
            rows = np.repeat(open_rows, neighbours)
            np.minimum.at(chords, (rows, self.labels[found].ravel()), np.asarray(found_chords).ravel())
            enough = np.isfinite(chords[open_rows]).sum(axis=1) >= wanted
            if neighbours == len(self.labels):
                break
            open_rows, neighbours = open_rows[~enough], min(4 * neighbours, len(self.labels))
        return _metres(chords)

    def metres_to(self, query: Points, candidates: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """float64 [m]: metres from one point [2] to the nearest place of each of m candidates; infinite without one."""
        chords = np.full(self.n_candidates, np.inf)
        there = np.isin(self.labels, candidates)
        between = np.linalg.norm(self._vectors[there] - unit_vectors(query), axis=1)
        np.minimum.at(chords, self.labels[there], between)
        return _metres(chords[candidates])

    def votes(self, queries: Points, radius_m: float) -> npt.NDArray[np.float64]:
        """float64 [n, n_candidates]: sum over each address's places within the radius of ``1 - distance / radius``.

        Args:
            queries: [n, 2].
            radius_m: in metres, at most half way round the Earth.
        """
        votes = np.zeros((len(queries), self.n_candidates))
        if len(queries) == 0:
            return votes
        vectors = unit_vectors(queries)
        chord = 2 * np.sin(min(radius_m / EARTH_RADIUS_M, np.pi) / 2)
        found = self._tree.query_ball_point(vectors, chord, return_sorted=True)
        rows = np.repeat(np.arange(len(queries)), [len(f) for f in found])
        places = np.concatenate([np.asarray(f, dtype=np.int64) for f in found])
        metres = _metres(np.linalg.norm(vectors[rows] - self._vectors[places], axis=1))
        np.add.at(votes, (rows, self.labels[places]), np.clip(1 - metres / radius_m, 0, None))
        return votes

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays from which `restored` makes the index again."""
        return {"positions": self.positions, "labels": self.labels, "n_candidates": np.array(self.n_candidates)}

    @classmethod
    def restored(cls, state: Any) -> PlaceIndex:
        """The index whose arrays `state` holds."""
        return cls(state["positions"], state["labels"], int(state["n_candidates"]))


def _metres(chords: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Great-circle metres of chords of the unit sphere; infinite ones stay infinite."""
    metres = 2 * EARTH_RADIUS_M * np.arcsin(np.clip(chords / 2, 0, 1))
    return np.where(np.isfinite(chords), metres, np.inf)
