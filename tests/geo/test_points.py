"""Distances, means, boxes and headings, against the ellipsoid, closed forms and brute force."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod

from ial_bench.geo.points import (
    EARTH_RADIUS_M,
    Points,
    beside,
    box_middle,
    centroids,
    haversine_m,
    heading_of,
    middle,
    rolled,
    signed,
    unit_vectors,
    unrolled,
    valid,
)

FIXED = settings(derandomize=True, deadline=None)
WGS84 = Geod(ellps="WGS84")

latitude = st.floats(-90, 90)
longitude = st.floats(-180, 180)
point = st.tuples(latitude, longitude)


def points(*pairs: tuple[float, float]) -> Points:
    return np.array(pairs, dtype=np.float64)


def geodesic_m(a: Points, b: Points) -> npt.NDArray[np.float64]:
    return np.asarray(WGS84.inv(a[:, 1], a[:, 0], b[:, 1], b[:, 0])[2])


def test_radius_is_the_mean_of_the_ellipsoid() -> None:
    assert pytest.approx((2 * WGS84.a + WGS84.b) / 3, abs=0.05) == EARTH_RADIUS_M


class TestDistance:
    def test_is_the_geodesic_within_six_in_a_thousand(self) -> None:
        rng = np.random.default_rng(0)
        a = np.stack([rng.uniform(-90, 90, 5000), rng.uniform(-180, 180, 5000)], axis=1)
        far = np.stack([rng.uniform(-90, 90, 5000), rng.uniform(-180, 180, 5000)], axis=1)
        near = np.clip(a + rng.normal(0, 0.01, a.shape), [-90, -180], [90, 180])
        for b in (far, near):
            np.testing.assert_allclose(haversine_m(a, b), geodesic_m(a, b), rtol=0.006)

    @FIXED
    @given(point, point)
    def test_is_the_angle_between_unit_vectors(self, a: tuple[float, float], b: tuple[float, float]) -> None:
        """An independent closed form: atan2 of the cross and the dot product."""

        def vector(lat: float, lon: float) -> npt.NDArray[np.float64]:
            lat, lon = math.radians(lat), math.radians(lon)
            return np.array([math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)])

        u, v = vector(*a), vector(*b)
        angle = math.atan2(float(np.linalg.norm(np.cross(u, v))), float(u @ v))
        assert haversine_m(points(a), points(b))[0] == pytest.approx(angle * EARTH_RADIUS_M, abs=0.5)

    @FIXED
    @given(point, point)
    def test_is_symmetric_and_none_to_itself(self, a: tuple[float, float], b: tuple[float, float]) -> None:
        there, back = haversine_m(points(a), points(b))[0], haversine_m(points(b), points(a))[0]
        assert there == back
        assert 0 <= there <= math.pi * EARTH_RADIUS_M
        assert haversine_m(points(a), points(a))[0] == 0

    def test_one_degree_of_the_equator(self) -> None:
        degree = 2 * math.pi * EARTH_RADIUS_M / 360
        assert degree == pytest.approx(111_195, abs=1)
        assert haversine_m(points((0, 10)), points((0, 11)))[0] == pytest.approx(degree, rel=1e-12)

    def test_a_few_metres_are_exact(self) -> None:
        """Where an arc cosine would lose all digits."""
        a, b = points((40.44, -79.95)), points((40.44 + 1e-6, -79.95))
        assert haversine_m(a, b)[0] == pytest.approx(1e-6 / 360 * 2 * math.pi * EARTH_RADIUS_M, rel=1e-6)

    def test_across_the_antimeridian(self) -> None:
        assert haversine_m(points((10, 179.999)), points((10, -179.999)))[0] == pytest.approx(
            haversine_m(points((10, 0.001)), points((10, -0.001)))[0], rel=1e-9
        )
        assert haversine_m(points((5, 180)), points((5, -180)))[0] == pytest.approx(0, abs=1e-6)

    def test_poles_and_antipodes(self) -> None:
        half = math.pi * EARTH_RADIUS_M
        assert haversine_m(points((90, 0)), points((90, 123)))[0] == pytest.approx(0, abs=1e-6)
        assert haversine_m(points((90, 7)), points((-90, 123)))[0] == pytest.approx(half, rel=1e-12)
        assert haversine_m(points((0, 0)), points((0, 180)))[0] == pytest.approx(half, rel=1e-12)
        assert haversine_m(points((90, 55)), points((0, -100)))[0] == pytest.approx(half / 2, rel=1e-12)

    def test_broadcasts(self) -> None:
        a, b = points((1, 2), (3, 4), (5, 6)), points((7, 8), (9, 10))
        table = haversine_m(a[:, None], b[None])
        assert table.shape == (3, 2)
        for i in range(3):
            for j in range(2):
                assert table[i, j] == haversine_m(a[i], b[j])

    def test_no_position_is_no_distance(self) -> None:
        assert np.isnan(haversine_m(points((np.nan, 1)), points((0, 0)))[0])

    def test_nearest_in_space_is_nearest_on_the_earth(self) -> None:
        rng = np.random.default_rng(1)
        some = np.stack([rng.uniform(-90, 90, 400), rng.uniform(-180, 180, 400)], axis=1)
        here = points((12.0, 179.9))
        straight = np.linalg.norm(unit_vectors(some) - unit_vectors(here), axis=1)
        np.testing.assert_array_equal(np.argsort(straight), np.argsort(haversine_m(some, here)))
        np.testing.assert_allclose(np.linalg.norm(unit_vectors(some), axis=1), 1)


class TestCentroids:
    @staticmethod
    def brute_force(some: Points) -> npt.NDArray[np.float64]:
        """For points near each other: the plain mean, of longitudes counted from the first point's."""
        lon = some[0, 1] + (some[:, 1] - some[0, 1] + 180) % 360 - 180
        return np.array([some[:, 0].mean(), (lon.mean() + 180) % 360 - 180])

    @pytest.mark.parametrize("middle", [(40.44, -79.95), (-33.9, 151.2), (0.0, 0.0), (-17.0, 179.9999), (65.0, -180.0)])
    def test_small_groups_as_by_brute_force(self, middle: tuple[float, float]) -> None:
        rng = np.random.default_rng(2)
        some = np.array(middle) + rng.normal(0, 1e-3, (60, 2))
        some[:, 1] = (some[:, 1] + 180) % 360 - 180
        groups = rng.permutation(np.repeat(np.arange(4), 15))
        found = centroids(some, groups, 4)
        for group in range(4):
            wanted = self.brute_force(some[groups == group])
            assert haversine_m(found[group], wanted) < 0.02
        if abs(middle[1]) > 179:
            assert (np.abs(some[:, 1]) > 179).all()  # on both sides of it
            assert (np.abs(found[:, 1]) > 179).all()

    def test_middle_of_two_is_the_midpoint_of_the_geodesic_on_the_sphere(self) -> None:
        a, b = points((10, 170)), points((20, -160))
        middle = centroids(np.concatenate([a, b]), np.array([0, 0]), 1)
        sphere = Geod(a=EARTH_RADIUS_M, b=EARTH_RADIUS_M)
        ((lon, lat),) = sphere.npts(170, 10, -160, 20, 1)
        np.testing.assert_allclose(middle[0], [lat, lon], atol=1e-9)

    def test_poles(self) -> None:
        around = points(*((89.0, lon) for lon in range(-180, 180, 30)))
        assert centroids(around, np.zeros(len(around), dtype=int), 1)[0, 0] == pytest.approx(90)

    def test_empty_group_has_none(self) -> None:
        found = centroids(points((1, 2), (3, 4)), np.array([0, 2]), 4)
        np.testing.assert_allclose(found[[0, 2]], [[1, 2], [3, 4]])
        assert np.isnan(found[[1, 3]]).all()
        assert centroids(np.empty((0, 2)), np.empty(0, dtype=int), 0).shape == (0, 2)
        assert np.isnan(centroids(np.empty((0, 2)), np.empty(0, dtype=int), 2)).all()

    @FIXED
    @given(point)
    def test_of_one_point_is_the_point(self, one: tuple[float, float]) -> None:
        assert haversine_m(centroids(points(one, one), np.array([0, 0]), 1)[0], np.array(one)) < 1e-3


class TestValid:
    @pytest.mark.parametrize(
        ("lat", "lon", "fine"),
        [
            (0, 0, True),
            (90, 180, True),
            (-90, -180, True),
            (90.0001, 0, False),
            (-90.0001, 0, False),
            (0, 180.0001, False),
            (0, -180.0001, False),
            (np.nan, 0, False),
            (0, np.nan, False),
            (np.inf, 0, False),
            (0, -np.inf, False),
            (-79.95, 40.44, True),
            (-179.95, 40.44, False),
        ],
    )
    def test_ranges(self, lat: float, lon: float, fine: bool) -> None:
        assert valid(points((lat, lon), (1, 1))).tolist() == [fine, True]


class TestTogether:
    def test_points_away_from_the_antimeridian_stay_as_they_are(self) -> None:
        for some in (
            points((1, 2), (3, -4)),
            points((0, -170), (0, -179.5)),
            points((0, 179), (1, 180)),
            np.zeros((0, 2)),
        ):
            assert unrolled(some).tolist() == some.tolist()
            assert rolled(some).tolist() == some.tolist()

    def test_points_across_it_run_on(self) -> None:
        across = points((1, 179.5), (2, -179.5), (3, 180), (4, -180))
        assert unrolled(across).tolist() == [[1, 179.5], [2, 180.5], [3, 180], [4, 180]]
        assert haversine_m(rolled(unrolled(across)), across).max() < 1e-6
        assert rolled(np.array([5.0, 540.0 - 1.0])).tolist() == [5, 179]

    def test_longitudes_that_are_counted_to_360(self) -> None:
        some = points((1, 180.5), (2, 359), (3, -181), (4, 180), (5, -180), (6, 12), (7, 360.5), (8, 5e5))
        wanted = points((1, -179.5), (2, -1), (3, 179), (4, 180), (5, -180), (6, 12), (7, 360.5), (8, 5e5))
        assert signed(some).tolist() == wanted.tolist()
        assert np.isnan(signed(points((np.nan, 2), (1, np.nan)))).sum() == 2

    def test_longitudes_beside_a_middle(self) -> None:
        some = points((1, 179), (2, -179), (3, 10), (4, 180))
        assert beside(some, np.array([0.0, -178.0])).tolist() == [[1, -181], [2, -179], [3, -350], [4, -180]]
        assert beside(some, np.array([0.0, 0.0])) is some

    @given(lat=st.floats(-80, 80), lon=st.floats(-180, 180), turn=st.floats(-180, 180))
    def test_the_middle_turns_with_the_earth(self, lat: float, lon: float, turn: float) -> None:
        def turned(some: Points, by: float) -> Points:
            return np.stack([some[:, 0], (some[:, 1] + by + 180) % 360 - 180], axis=1)

        around = turned(points((lat, 0.0), (lat + 1, 0.3), (lat + 0.2, 0.4)), lon)
        here, there = (box_middle(turned(around, by)) for by in (0.0, turn))
        assert haversine_m(turned(here[None], turn)[0], there) < 1e-3
        assert haversine_m(middle(turned(around, turn)), turned(middle(around)[None], turn)[0]) < 1e-3


@pytest.mark.parametrize(
    ("told", "degrees"),
    [
        (0, 0),
        ("90", 90),
        (" 359.5 ", 359.5),
        (360, 0),
        (725.25, 5.25),
        (-90, 270),
        ("-0.5", 359.5),
        (np.float32(45), 45),
    ],
)  # fmt: skip
def test_a_heading_is_a_number_of_degrees_on_the_compass(told: Any, degrees: float) -> None:
    assert heading_of(told) == degrees


@pytest.mark.parametrize("told", [None, "", "  ", -1, "-1", "-1.0", math.nan, "nan", math.inf, "-inf", "null", "None"])
def test_what_tells_none(told: Any) -> None:
    assert math.isnan(heading_of(told))


def test_as_it_is_stored_it_stays_below_360() -> None:
    nearly = 360 - 1e-9
    assert np.float32(nearly) == 360
    assert heading_of(nearly) == 0


@pytest.mark.parametrize("told", ["NE", "90 deg", "12,5,1", "[90]"])
def test_what_is_no_number_is_said(told: str) -> None:
    with pytest.raises(ValueError, match="could not convert"):
        heading_of(told)
