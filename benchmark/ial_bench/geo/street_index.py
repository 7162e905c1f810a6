"""The lines of a street network, searched by distance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ial_bench.geo.points import EARTH_RADIUS_M, Points, unit_vectors

if TYPE_CHECKING:
    from ial_bench.datasets.streets import StreetLines

PIECE_M = 40.0
"""Segments are cut into pieces of at most so many metres, so that a piece near a point has its middle near it."""
MAX_RANGE_M = 1_000.0
_BLOCK = 4_096
_Vectors = npt.NDArray[np.float64]


class StreetIndex:
    """Where the streets run, by pieces of their lines.

    A line runs along the great circle from each point to the next. Distances are great-circle metres on the sphere of
    the Earth's mean radius, as in `haversine_m`; neither a pole nor the antimeridian is special.

    Args:
        lines: the network; its `addresses` are labels, -1 for streets that are no candidate's.
    """

    def __init__(self, lines: StreetLines) -> None:
        from scipy.spatial import KDTree

        vectors = unit_vectors(lines.points)
        first = np.ones(len(vectors), dtype=bool)
        first[lines.starts[1:] - 1] = False  # the last point of a line starts no segment
        at = np.flatnonzero(first)
        owners = np.repeat(lines.addresses, np.diff(lines.starts))[at]
        a, b = vectors[at], vectors[at + 1]
        count = np.maximum(np.ceil(np.linalg.norm(b - a, axis=1) * EARTH_RADIUS_M / PIECE_M), 1).astype(np.int64)
        segment = np.repeat(np.arange(len(a)), count)
        part = np.arange(len(segment)) - np.repeat(np.cumsum(count) - count, count)
        self.labels = owners[segment]
        # Points of a chord, put back on the sphere, lie on the great circle of its ends.
        self._a, self._b = (
            _on_sphere(a[segment] + ((part + step) / count[segment])[:, None] * (b - a)[segment]) for step in (0, 1)
        )
        middles = _on_sphere(self._a + self._b)
        self._reach = float(np.linalg.norm(self._a - middles, axis=1).max(initial=0.0))
        self._tree = KDTree(middles)

    def within(
        self, positions: Points, range_m: float
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Each label with a line in range of a position: its row, the label, metres to its nearest line.

        Args:
            positions: [n, 2].
            range_m: at most `MAX_RANGE_M`.

        Returns:
            int64 [m], int32 [m], float64 [m]: sorted by row, then by label.
        """
        from scipy.spatial import KDTree

        if not 0 < range_m <= MAX_RANGE_M:
            raise ValueError(f"a range of {range_m} m; it must be above 0 and at most {MAX_RANGE_M:g}")
        rows, labels, metres = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)], [np.zeros(0)]
        span = int(self.labels.max(initial=-1)) + 2
        # Chords never exceed the arcs that they span; the slack is a tenth of a millimetre.
        reach = range_m / EARTH_RADIUS_M + self._reach + 1.6e-11
        for start in range(0, len(positions), _BLOCK):
            vectors = unit_vectors(positions[start : start + _BLOCK])
            pairs = KDTree(vectors).sparse_distance_matrix(self._tree, reach, output_type="ndarray")
            i, j = pairs["i"], pairs["j"]
            found = _metres(vectors[i], self._a[j], self._b[j])
            near = found <= range_m
            key = i[near].astype(np.int64) * span + (self.labels[j[near]] + 1)
            order = np.argsort(key, kind="stable")
            key, first = np.unique(key[order], return_index=True)
            rows.append(key // span + start)
            labels.append((key % span - 1).astype(np.int32))
            metres.append(np.minimum.reduceat(found[near][order], first) if len(first) else found[:0])
        return np.concatenate(rows), np.concatenate(labels), np.concatenate(metres)


def _metres(q: _Vectors, a: _Vectors, b: _Vectors) -> npt.NDArray[np.float64]:
    """[n]: great-circle metres from points to arcs, all unit vectors [n, 3]; arc and point in one hemisphere.

    By the gnomonic projection about each point: great circles become straight lines, and what is nearer on the sphere
    is nearer on the plane.
    """

    def projected(p: _Vectors) -> _Vectors:
        along = np.einsum("ij,ij->i", p, q)[:, None]
        across = (p - q) - (along - 1) * q  # p - along * q, of small numbers
        return np.asarray(across / along)

    start = projected(a)
    step = projected(b) - start
    square = np.einsum("ij,ij->i", step, step)
    share = -np.einsum("ij,ij->i", start, step) / np.where(square > 0, square, 1.0)
    nearest = start + np.clip(share, 0.0, 1.0)[:, None] * step
    return np.asarray(EARTH_RADIUS_M * np.arctan(np.linalg.norm(nearest, axis=1)))


def _on_sphere(vectors: _Vectors) -> _Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
