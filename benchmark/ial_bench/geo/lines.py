"""Lines: polylines in local metres, [n, 2], and those of streets on the Earth with an index searched by distance."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ial_bench.errors import ConfigError
from ial_bench.geo.points import EARTH_RADIUS_M, Points, unit_vectors

PIECE_M = 40.0
"""Segments are cut into pieces no longer than this, so that a piece near a point has its middle near it."""
MAX_RANGE_M = 1_000.0
_BLOCK = 4_096

Floats = npt.NDArray[np.float64]


def shapely() -> Any:
    """The library of planar geometry.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import shapely as library
    except ImportError as error:
        raise ConfigError("shapely is not installed", "pip install 'ial-bench[build]'") from error
    return library


def chainages(line: Floats) -> Floats:
    """[n]: metres along the line at each of its points."""
    steps = np.hypot(*np.diff(line, axis=0).T)
    return np.concatenate([[0.0], np.cumsum(steps)])


def length_m(line: Floats) -> float:
    """Metres from end to end."""
    return float(chainages(line)[-1])


def at(line: Floats, metres: float) -> Floats:
    """[2]: the point `metres` along the line; the nearer end beyond either."""
    along = chainages(line)
    return np.array([np.interp(metres, along, line[:, 0]), np.interp(metres, along, line[:, 1])])


def nearest(line: Floats, point: Floats) -> tuple[float, float, Floats]:
    """The line's nearest point to `point` [2]: metres along, distance, unit direction of the line there [2]."""
    steps = np.diff(line, axis=0)
    squares = np.maximum((steps**2).sum(axis=1), 1e-18)
    shares = np.clip(((point - line[:-1]) * steps).sum(axis=1) / squares, 0.0, 1.0)
    feet = line[:-1] + shares[:, None] * steps
    distances = np.hypot(*(feet - point).T)
    i = int(distances.argmin())
    lengths = np.sqrt(squares)
    along = float(lengths[:i].sum() + shares[i] * lengths[i])
    return along, float(distances[i]), np.asarray(steps[i] / lengths[i])


def cut(line: Floats, metres: Floats, where: Sequence[float]) -> list[tuple[Floats, Floats]]:
    """Pieces of a line, cut where asked.

    Args:
        line: [n, 2], in any unit.
        metres: [n, 2], the same line.
        where: metres along it, ascending, strictly between 0 and its length.

    Returns:
        ([k, 2] in the unit of `line`, [k, 2] metres) of each piece; neighbours share the point of the cut.
    """
    along = chainages(metres)
    pieces, both = [], np.concatenate([line, metres], axis=1)
    stops = [0.0, *where, float(along[-1])]
    for start, stop in pairwise(stops):
        ends = np.stack([[np.interp(s, along, column) for column in both.T] for s in (start, stop)])
        inside = both[(along > start) & (along < stop)]
        piece = np.concatenate([ends[:1], inside, ends[1:]])
        pieces.append((piece[:, :2], piece[:, 2:]))
    return pieces


def away(line: Floats, metres: float) -> Floats:
    """[2]: unit direction from the line's first point to the one `metres` along, or its last."""
    step = at(line, min(metres, length_m(line))) - line[0]
    if not step.any():
        step = line[len(line) // 2] - line[0]  # it comes back to where it began
    return np.asarray(step / max(float(np.hypot(*step)), 1e-9))


@dataclass(frozen=True)
class StreetLines:
    """Polylines, each of an address, as flat arrays: 100,000 objects would take too long.

    Attributes:
        addresses: int32 [n], the address of each line.
        starts: int64 [n + 1]; the points of line i are ``points[starts[i] : starts[i + 1]]``.
        points: float64 [m, 2], latitude and longitude in degrees.
    """

    addresses: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int64]
    points: Points

    def __len__(self) -> int:
        return len(self.addresses)

    @classmethod
    def of(cls, addresses: Sequence[int] | npt.NDArray[np.integer], lines: Sequence[Points]) -> StreetLines:
        """The lines of a sequence, in its order.

        Args:
            addresses: n numbers.
            lines: n arrays [points of the line, 2].
        """
        if len(addresses) != len(lines):
            raise ValueError(f"{len(addresses)} addresses for {len(lines)} lines")
        arrays = [np.asarray(line, dtype=np.float64).reshape(-1, 2) for line in lines]
        starts = np.concatenate([[0], np.cumsum([len(a) for a in arrays])]).astype(np.int64)
        return cls(np.asarray(addresses, dtype=np.int32), starts, np.concatenate([np.zeros((0, 2)), *arrays]))

    def line(self, i: int) -> Points:
        """The points of line i, [points, 2]."""
        return self.points[self.starts[i] : self.starts[i + 1]]

    def ordered(self) -> StreetLines:
        """The same lines sorted by address and points, the order in which they are stored."""
        order = sorted(range(len(self)), key=lambda i: (self.addresses[i], self.line(i).tolist()))
        return StreetLines.of(self.addresses[order], [self.line(i) for i in order])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all addresses and points; the order of the lines does not matter."""
        lines = self.ordered()
        total = hashlib.sha256()
        for array in (lines.addresses.astype("<i4"), lines.starts.astype("<i8"), lines.points.astype("<f8")):
            total.update(array.tobytes())
        return total.hexdigest()

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays from which `restored` makes the lines again."""
        return {"street_addresses": self.addresses, "street_starts": self.starts, "street_points": self.points}

    @classmethod
    def restored(cls, state: Any) -> StreetLines:
        """The lines that `state` was made from."""
        return cls(*(state[name] for name in ("street_addresses", "street_starts", "street_points")))


class LineIndex:
    """Where labelled lines run, by pieces of them.

    A line runs along the great circle from each point to the next. Distances are great-circle metres on the sphere of
    the Earth's mean radius, as in `haversine_m`; neither a pole nor the antimeridian is special.

    Args:
        points: [m, 2] degrees, of all lines.
        starts: int64 [n + 1]; the points of line i are ``points[starts[i] : starts[i + 1]]``.
        labels: int32 [n], of each line; lines may share one, and -1 is one as others are.
    """

    def __init__(self, points: Points, starts: npt.NDArray[np.int64], labels: npt.NDArray[np.int32]) -> None:
        from scipy.spatial import KDTree

        vectors = unit_vectors(points)
        first = np.ones(len(vectors), dtype=bool)
        first[starts[1:] - 1] = False  # the last point of a line starts no segment
        at = np.flatnonzero(first)
        owners = np.repeat(labels, np.diff(starts))[at]
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

    def within(self, positions: Points, range_m: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], Floats]:
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
            found = _arc_m(vectors[i], self._a[j], self._b[j])
            near = found <= range_m
            key = i[near].astype(np.int64) * span + (self.labels[j[near]] + 1)
            order = np.argsort(key, kind="stable")
            key, first = np.unique(key[order], return_index=True)
            rows.append(key // span + start)
            labels.append((key % span - 1).astype(np.int32))
            metres.append(np.minimum.reduceat(found[near][order], first) if len(first) else found[:0])
        return np.concatenate(rows), np.concatenate(labels), np.concatenate(metres)


def _arc_m(q: Floats, a: Floats, b: Floats) -> Floats:
    """[n]: great-circle metres from points to arcs, all unit vectors [n, 3]; arc and point in one hemisphere.

    By the gnomonic projection about each point: great circles become straight lines, and what is nearer on the sphere
    is nearer on the plane.
    """

    def projected(p: Floats) -> Floats:
        along = np.einsum("ij,ij->i", p, q)[:, None]
        across = (p - q) - (along - 1) * q  # p - along * q, of small numbers
        return np.asarray(across / along)

    start = projected(a)
    step = projected(b) - start
    square = np.einsum("ij,ij->i", step, step)
    share = -np.einsum("ij,ij->i", start, step) / np.where(square > 0, square, 1.0)
    foot = start + np.clip(share, 0.0, 1.0)[:, None] * step
    return np.asarray(EARTH_RADIUS_M * np.arctan(np.linalg.norm(foot, axis=1)))


def _on_sphere(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
