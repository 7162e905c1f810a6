"""Metres on a plane that touches the Earth: the azimuthal equidistant projection of the sphere."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ial_bench.geo.points import EARTH_RADIUS_M, Points, points_of, unit_vectors


def to_local_m(points: Points, origin: Points) -> npt.NDArray[np.float64]:
    """[..., 2]: metres east and north of `origin` [2]; distance and direction from it are the great circle's.

    Right everywhere but at the origin's antipode, which has no direction. At a pole, east and north are those of the
    origin's own longitude.

    Args:
        points: [..., 2], degrees.
        origin: [2], degrees.
    """
    up, east, north = _axes(origin)
    vectors = unit_vectors(points)
    plane = np.stack([vectors @ east, vectors @ north], axis=-1)
    sine = np.linalg.norm(plane, axis=-1, keepdims=True)
    angle = np.arctan2(sine, (vectors @ up)[..., None])
    return np.asarray(EARTH_RADIUS_M * np.where(sine > 0, plane / np.where(sine > 0, sine, 1.0) * angle, 0.0))


def from_local_m(metres: npt.NDArray[np.float64], origin: Points) -> Points:
    """[..., 2]: degrees of points so many metres [..., 2] east and north of `origin` [2]."""
    up, east, north = _axes(origin)
    length = np.linalg.norm(metres, axis=-1, keepdims=True)
    angle = length / EARTH_RADIUS_M
    direction = metres / np.where(length > 0, length, 1.0)
    return points_of(np.cos(angle) * up + np.sin(angle) * (direction[..., :1] * east + direction[..., 1:] * north))


def _axes(origin: Points) -> tuple[Points, Points, Points]:
    """Unit vectors up, east and north at a point."""
    lat, lon = np.radians(origin)
    east = np.array([-np.sin(lon), np.cos(lon), 0.0])
    north = np.array([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)])
    return unit_vectors(np.asarray(origin, dtype=np.float64)), east, north
