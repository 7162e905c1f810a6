"""Local metres against pyproj's azimuthal equidistant projection of the same sphere."""

from __future__ import annotations

import numpy as np
import pytest
from pyproj import Proj

from ial_bench.geo.points import EARTH_RADIUS_M, haversine_m
from ial_bench.geo.projections import from_local_m, to_local_m

ORIGINS = [(40.44, -79.95), (0.0, 0.0), (-17.0, 179.9999), (65.0, -180.0), (90.0, 30.0), (-90.0, 0.0)]


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("spread_m", [300.0, 30_000.0, 3_000_000.0])
def test_as_pyproj(origin: tuple[float, float], spread_m: float) -> None:
    metres = np.random.default_rng(1).normal(0, spread_m, (50, 2))
    where = np.array(origin)
    points = from_local_m(metres, where)
    theirs = Proj(proj="aeqd", lat_0=origin[0], lon_0=origin[1], R=EARTH_RADIUS_M)
    lon, lat = theirs(metres[:, 0], metres[:, 1], inverse=True)
    assert haversine_m(points, np.stack([lat, lon], axis=1)).max() < 1e-3
    np.testing.assert_allclose(to_local_m(points, where), metres, atol=1e-3)
    np.testing.assert_allclose(haversine_m(points, where), np.linalg.norm(metres, axis=1), atol=1e-3)


def test_the_origin_is_zero_and_shapes_are_kept() -> None:
    where = np.array([40.0, -80.0])
    np.testing.assert_allclose(to_local_m(where, where), [0.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(from_local_m(np.zeros((2, 3, 2)), where), np.broadcast_to(where, (2, 3, 2)), atol=1e-9)
    assert to_local_m(np.zeros((0, 2)), where).shape == (0, 2)
