"""Planes in metres against pyproj and geodesics of the same ellipsoid; UTM zones and the letters that are ambiguous."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from pyproj import Geod, Proj

from ial_bench.datasets.importing.positions import from_utm
from ial_bench.errors import ConfigError
from ial_bench.geo.points import EARTH_RADIUS_M, Points, haversine_m
from ial_bench.geo.projections import (
    from_local_m,
    refuse_unclear_hemisphere,
    to_equal_area_m,
    to_local_m,
    utm_epsg,
    utm_to_wgs84,
    zone_in_name,
)

GEOD = Geod(ellps="WGS84")
ORIGINS = [(40.44, -79.95), (0.0, 0.0), (-17.0, 179.9999), (65.0, -180.0), (90.0, 30.0), (-90.0, 0.0)]
SAN_FRANCISCO = (37.77, -122.42)
PUNTA_ARENAS = (-53.16, -70.91)
SYDNEY = (-33.87, 151.21)
PITTSBURGH = (40.44, -79.99)


def points(*pairs: tuple[float, float]) -> Points:
    return np.array(pairs, dtype=np.float64)


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


class TestUtm:
    @pytest.mark.parametrize(
        ("zone", "epsg"),
        [
            ("17N", 32617),
            ("17n", 32617),
            (" 17N ", 32617),
            ("1N", 32601),
            ("01N", 32601),
            ("60N", 32660),
            ("17T", 32617),
            ("31U", 32631),
            ("33X", 32633),
            ("30P", 32630),
            ("10S", 32710),
            ("56S", 32756),
            ("56H", 32756),
            ("22C", 32722),
            ("37M", 32737),
        ],
    )
    def test_zone(self, zone: str, epsg: int) -> None:
        assert utm_epsg(zone) == epsg

    @pytest.mark.parametrize(
        "zone",
        ["", "N", "17", "0N", "61N", "99S", "17I", "17O", "17A", "17B", "17Y", "17Z", "17NN", "N17", "-7N", "117N"],
    )
    def test_no_zone(self, zone: str) -> None:
        with pytest.raises(ConfigError, match="is not a UTM zone") as caught:
            utm_epsg(zone)
        assert repr(zone) in caught.value.problem
        assert "17N" in (caught.value.fix or "")

    @pytest.mark.parametrize(
        ("zone", "number", "south", "city"),
        [
            ("17N", 17, False, (40.44, -79.99)),
            ("17T", 17, False, (40.44, -79.99)),
            ("31N", 31, False, (52.205, 0.119)),
            ("56S", 56, True, (-33.86, 151.21)),
            ("23K", 23, True, (-22.9, -43.2)),
            ("60S", 60, True, (-17.0, 179.9)),
            ("1N", 1, False, (52.0, -179.9)),
        ],
    )
    def test_round_trip(self, zone: str, number: int, south: bool, city: tuple[float, float]) -> None:
        """From degrees with a projection of its own definition, and back with ours."""
        rng = np.random.default_rng(3)
        there = np.array(city) + rng.uniform(-0.05, 0.05, (50, 2))
        east, north = Proj(proj="utm", zone=number, ellps="WGS84", south=south)(there[:, 1], there[:, 0])
        back = utm_to_wgs84(np.stack([east, north], axis=1), zone)
        np.testing.assert_allclose(back, there, atol=1e-8)  # a millimetre

    def test_known_point(self) -> None:
        """The middle of a zone on the equator is easting 500 km, northing 0."""
        np.testing.assert_allclose(utm_to_wgs84(points((500_000, 0)), "31N"), [[0, 3]], atol=1e-9)
        np.testing.assert_allclose(utm_to_wgs84(points((500_000, 10_000_000)), "31S"), [[0, 3]], atol=1e-9)

    def test_no_number_and_no_place_become_nan(self) -> None:
        bad = [(np.nan, 4_000_000), (500_000, np.nan), (np.inf, 4_000_000), (1e30, 1e30)]
        found = utm_to_wgs84(points(*bad, (500_000, 4_000_000)), "17N")
        assert np.isnan(found[:-1]).all()
        assert np.isfinite(found[-1]).all()

    def test_nothing(self) -> None:
        assert utm_to_wgs84(np.empty((0, 2)), "17N").shape == (0, 2)

    def test_real_positions(self, cambridge: Path) -> None:
        """The UTM positions of the annotation are the degrees beside the photos."""

        def rows(path: Path) -> list[dict[str, str]]:
            with path.open(newline="") as file:
                return list(csv.DictReader(file))

        degrees = {r["path"]: (float(r["lat"]), float(r["lon"])) for r in rows(cambridge / "coords.csv")}
        metres = rows(cambridge / "annotations" / "coords.csv")
        assert len(metres) == 1260
        found = utm_to_wgs84(points(*((float(r["utm_easting"]), float(r["utm_northing"])) for r in metres)), "31N")
        off = haversine_m(found, points(*(degrees[r["filename"]] for r in metres)))
        assert off.max() < 15
        assert np.median(off) < 1


def utm_of(city: tuple[float, float], zone: int, n: int = 20) -> np.ndarray:
    """[n, 2] easting and northing about a city, by a projection of its own definition."""
    there = np.array(city) + np.random.default_rng(1).uniform(-0.02, 0.02, (n, 2))
    project = Proj(proj="utm", zone=zone, ellps="WGS84", south=city[0] < 0)
    return np.stack(project(there[:, 1], there[:, 0]), axis=1)


@pytest.mark.parametrize("zone", ["10S", "10s", " 10S "])
def test_band_s_is_asked_about(zone: str) -> None:
    with pytest.raises(ConfigError, match=r"at latitude -52\.\d, or latitude band S .* lie at 37\.8") as caught:
        from_utm(utm_of(SAN_FRANCISCO, 10), zone)
    assert (caught.value.fix or "").startswith("give 10N if they are of the northern hemisphere, 10F if ")


def test_both_answers_are_read_as_they_say() -> None:
    given = utm_of(SAN_FRANCISCO, 10)
    assert np.abs(from_utm(given, "10N") - SAN_FRANCISCO).max() < 0.03
    south = from_utm(given, "10F")
    assert -56 < south[:, 0].min() <= south[:, 0].max() < -48


def test_a_city_of_the_far_south_is_asked_about_too_and_has_a_way_to_say_it() -> None:
    given = utm_of(PUNTA_ARENAS, 19)
    with pytest.raises(ConfigError) as caught:
        from_utm(given, "19S")
    assert "19F if they are of the southern one" in (caught.value.fix or "")
    assert np.abs(from_utm(given, "19F") - PUNTA_ARENAS).max() < 0.03


@pytest.mark.parametrize(("city", "zone"), [(SYDNEY, "56S"), (SYDNEY, "56H"), (PITTSBURGH, "17N"), (PITTSBURGH, "17T")])
def test_clear_ones_are_not_asked_about(city: tuple[float, float], zone: str) -> None:
    assert np.abs(from_utm(utm_of(city, int(zone[:2])), zone) - city).max() < 0.03


def test_some_strays_do_not_decide() -> None:
    given = np.vstack([utm_of(SAN_FRANCISCO, 10, 20), [[0, 0]] * 30, [[np.nan, np.inf]] * 5, utm_of(SYDNEY, 56, 5)])
    with pytest.raises(ConfigError, match="may mean the southern hemisphere"):
        refuse_unclear_hemisphere("10S", given)
    refuse_unclear_hemisphere("56S", np.vstack([utm_of(SYDNEY, 56, 20), utm_of(SAN_FRANCISCO, 10, 5)]))
    refuse_unclear_hemisphere("56S", np.zeros((0, 2)))


@pytest.mark.parametrize(
    ("number", "letter", "city", "zone", "epsg"),
    [
        ("10", "S", SAN_FRANCISCO, 10, 32610),
        ("10", "s", SAN_FRANCISCO, 10, 32610),
        ("56", "H", SYDNEY, 56, 32756),
        ("56", "S", SYDNEY, 56, 32756),
        ("17", "T", PITTSBURGH, 17, 32617),
        ("05", "N", (4.0, -153.0), 5, 32605),
    ],
)
def test_zone_in_a_file_name(number: str, letter: str, city: tuple[float, float], zone: int, epsg: int) -> None:
    said = zone_in_name(number, letter, utm_of(city, zone))
    assert said is not None
    assert utm_epsg(said) == epsg


@pytest.mark.parametrize(
    ("number", "letter"),
    [("", ""), ("10", ""), ("", "S"), ("0", "S"), ("61", "S"), ("10", "I"), ("x", "S"), ("1.5", "S")],
)
def test_no_zone_in_a_file_name(number: str, letter: str) -> None:
    assert zone_in_name(number, letter, utm_of(SAN_FRANCISCO, 10)) is None
