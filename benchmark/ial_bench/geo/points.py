"""Points and headings in WGS84 degrees: distances, means, boxes. Arrays are [..., 2]: latitude, longitude."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

EARTH_RADIUS_M = 6_371_008.8
"""Mean radius of the WGS84 ellipsoid, (2a + b) / 3."""

FARTHEST_M = np.pi * EARTH_RADIUS_M
"""Half way round the Earth: no two points are farther apart."""

CELLS_PER_DEGREE = 100_000
"""Cells are 1.1 m high, and as wide at the equator."""

Points = npt.NDArray[np.float64]
Cell = tuple[int, int]
"""Latitude and longitude of a cell's middle, times `CELLS_PER_DEGREE`."""

UNKNOWN_HEADING = -1.0
"""What services of street photos write for a compass that did not answer."""
_NEARLY_360 = 359.9


def haversine_m(a: Points, b: Points) -> npt.NDArray[np.float64]:
    """Great-circle distance in metres between [..., 2] and [..., 2] (broadcast).

    On a sphere of the Earth's mean radius: within 0.6 % of the geodesic on the ellipsoid.
    """
    lat_a, lon_a = np.radians(a[..., 0]), np.radians(a[..., 1])
    lat_b, lon_b = np.radians(b[..., 0]), np.radians(b[..., 1])
    h = np.sin((lat_b - lat_a) / 2) ** 2 + np.cos(lat_a) * np.cos(lat_b) * np.sin((lon_b - lon_a) / 2) ** 2
    return np.asarray(2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.clip(h, 0.0, 1.0))))


def unit_vectors(points: Points) -> npt.NDArray[np.float64]:
    """[..., 3]: the points on the unit sphere, where nearest in space is nearest on the Earth."""
    lat, lon = np.radians(points[..., 0]), np.radians(points[..., 1])
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def points_of(vectors: npt.NDArray[np.float64]) -> Points:
    """[..., 2]: latitude and longitude in the direction of [..., 3] vectors of any length but 0."""
    lat = np.degrees(np.arctan2(vectors[..., 2], np.hypot(vectors[..., 0], vectors[..., 1])))
    return np.stack([lat, np.degrees(np.arctan2(vectors[..., 1], vectors[..., 0]))], axis=-1)


def centroids(points: Points, groups: npt.NDArray[np.integer], n_groups: int) -> Points:
    """[n_groups, 2]: the mean position of each group, right across the antimeridian; NaN for an empty one.

    Args:
        points: [n, 2].
        groups: [n], 0..n_groups - 1.
        n_groups: number of groups.
    """
    vectors = unit_vectors(points)
    sums = np.stack([np.bincount(groups, vectors[:, i], minlength=n_groups) for i in range(3)], axis=-1)
    means = points_of(sums.astype(np.float64))  # counts where there are no points
    means[np.bincount(groups, minlength=n_groups) == 0] = np.nan
    return means


def unrolled(points: Points) -> Points:
    """[n, 2]: points that lie together, with longitudes that run on over the antimeridian where they lie across it.

    Longitudes are then 0 to 360, so that differences and means of them mean something; others are left as they are.
    """
    lon = points[:, 1]
    if not len(lon) or np.ptp(lon) <= 180:
        return points
    turned = np.where(lon < 0, lon + 360, lon)
    return np.stack([points[:, 0], turned], axis=1) if np.ptp(turned) < np.ptp(lon) else points


def rolled(points: Points) -> Points:
    """[..., 2]: the same with longitudes within 180 degrees; those that are stay as they are."""
    lat, lon = points[..., 0], points[..., 1]
    return np.stack([lat, np.where(np.abs(lon) > 180, (lon + 180) % 360 - 180, lon)], axis=-1)


def signed(points: Points) -> Points:
    """[..., 2]: the same with longitudes from -180 to 180 where they were counted to 360 or run on over 180."""
    return np.where(np.abs(points[..., 1:]) <= 360, rolled(points), points)


def beside(points: Points, middle: Points) -> Points:
    """[n, 2]: the same with longitudes within 180 degrees of that of `middle` [2]; those that are stay as they are."""
    away = points[:, 1] - middle[1]
    turns = np.where(away > 180, -360.0, np.where(away < -180, 360.0, 0.0))
    return np.stack([points[:, 0], points[:, 1] + turns], axis=1) if turns.any() else points


def middle(points: Points) -> Points:
    """[2]: the mean position of points [n, 2]; NaN without any."""
    return np.asarray(centroids(points, np.zeros(len(points), dtype=np.int64), 1)[0])


def box_middle(points: Points) -> Points:
    """[2]: the middle of the box of points [n, 2] that lie together, on either side of the antimeridian or both."""
    together = unrolled(points)
    return rolled((together.min(axis=0) + together.max(axis=0)) / 2)


def valid(points: Points) -> npt.NDArray[np.bool_]:
    """[n]: whether each is finite and a latitude within 90 and a longitude within 180 degrees."""
    return np.asarray((np.isfinite(points) & (np.abs(points) <= np.array([90.0, 180.0]))).all(axis=-1))


def cells_of(points: Points) -> list[Cell]:
    """The cells of points [n, 2]; both sides of the antimeridian are one."""
    lat = np.rint(points[:, 0] * CELLS_PER_DEGREE).astype(np.int64)
    half = 180 * CELLS_PER_DEGREE
    lon = (np.rint(points[:, 1] * CELLS_PER_DEGREE).astype(np.int64) + half) % (2 * half) - half
    return list(zip(lat.tolist(), lon.tolist(), strict=True))


def heading_of(value: Any) -> float:
    """Degrees clockwise from north, at least 0 and below 360; NaN where `value` is none.

    A number that is not finite and `UNKNOWN_HEADING` are none; others are taken modulo 360.

    Args:
        value: a number, or a text of one.

    Raises:
        ValueError: it is neither a number nor empty.
    """
    try:
        degrees = float(value)
    except (TypeError, ValueError):
        if value is None or str(value).strip().lower() in {"", "none", "null"}:
            return math.nan
        raise
    if not math.isfinite(degrees) or degrees == UNKNOWN_HEADING:
        return math.nan
    turned = degrees % 360
    return turned if turned <= _NEARLY_360 or np.float32(turned) < 360 else 0.0  # in datasets they are float32
