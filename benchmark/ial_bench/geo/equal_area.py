"""Metres on a plane that keeps areas: Lambert's azimuthal projection of the WGS84 ellipsoid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ial_bench.geo.points import Points


def to_equal_area_m(points: Points, origin: Points) -> npt.NDArray[np.float64]:
    """[n, 2]: metres east and north of `origin` [2] on the plane on which every region has its true area.

    Centred on the origin, so neither a pole nor the antimeridian is special, and within 20 km of it lengths are true to
    a hundred-thousandth as well. A projection of the whole globe that keeps areas, such as Equal Earth, stretches one
    direction at the cost of the other away from its own middle. Right everywhere but at the origin's antipode, which
    is no single point.

    Args:
        points: [n, 2], degrees.
        origin: [2], degrees.
    """
    from pyproj import Proj

    if len(points) == 0:
        return np.zeros((0, 2))
    lat, lon = (float(v) for v in origin)
    plane = Proj(proj="laea", lat_0=lat, lon_0=lon, ellps="WGS84")
    east, north = plane(points[:, 1], points[:, 0])
    return np.stack([east, north], axis=-1).astype(np.float64)
