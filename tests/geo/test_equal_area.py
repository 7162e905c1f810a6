"""The equal-area plane against geodesic areas and distances of the same ellipsoid."""

from __future__ import annotations

import numpy as np
import pytest
from pyproj import Geod

from ial_bench.geo.projections import to_equal_area_m

GEOD = Geod(ellps="WGS84")


@pytest.mark.parametrize("origin", [(40.44, -79.95), (-17.0, 180.0), (-17.0, -179.999), (89.99, 10.0), (-90.0, 0.0)])
@pytest.mark.parametrize("radius_m", [300.0, 20_000.0])
def test_areas_are_true(origin: tuple[float, float], radius_m: float) -> None:
    rng = np.random.default_rng(0)
    azimuths = np.linspace(0, 360, 720, endpoint=False)
    star = radius_m * (0.75 + 0.25 * np.sin(np.radians(5 * azimuths)))  # no circle
    middle = GEOD.fwd(origin[1], origin[0], rng.uniform(0, 360), radius_m)  # not around the origin
    lons, lats, _ = GEOD.fwd(np.full(720, middle[0]), np.full(720, middle[1]), azimuths, star)
    true = abs(GEOD.polygon_area_perimeter(lons, lats)[0])
    x, y = to_equal_area_m(np.stack([lats, lons], axis=1), np.array(origin)).T
    found = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    # Sides are straight on one of the two alone; rounding is of some nanometres in hundreds of metres.
    assert found == pytest.approx(true, rel=1e-6)


@pytest.mark.parametrize("origin", [(40.44, -79.95), (-17.0, 180.0), (0.0, 0.0), (90.0, 0.0), (-89.999, 77.0)])
def test_lengths_are_nearly_true_and_directions_east_and_north(origin: tuple[float, float]) -> None:
    azimuths = np.array([0.0, 90.0, 180.0, 270.0, 33.0])
    lons, lats, _ = GEOD.fwd(np.full(5, origin[1]), np.full(5, origin[0]), azimuths, np.full(5, 18_000.0))
    found = to_equal_area_m(np.stack([lats, lons], axis=1), np.array(origin))
    angle = np.radians(azimuths)
    np.testing.assert_allclose(found, 18_000 * np.stack([np.sin(angle), np.cos(angle)], axis=1), atol=18_000 * 1e-5)


def test_the_antimeridian_is_no_border() -> None:
    both = to_equal_area_m(np.array([[-17.0, 180.0], [-17.0, -180.0]]), np.array([-17.01, 179.99]))
    np.testing.assert_allclose(both[0], both[1], atol=1e-6)
    assert to_equal_area_m(np.zeros((0, 2)), np.zeros(2)).shape == (0, 2)
