"""Letters of UTM zones: hemispheres, bands of latitude, and the one that is both."""

from __future__ import annotations

import numpy as np
import pytest
from pyproj import Proj

from ial_bench.datasets.coords import from_utm
from ial_bench.errors import ConfigError
from ial_bench.geo.projections import refuse_unclear_hemisphere, utm_epsg, zone_in_name

SAN_FRANCISCO = (37.77, -122.42)
PUNTA_ARENAS = (-53.16, -70.91)
SYDNEY = (-33.87, 151.21)
PITTSBURGH = (40.44, -79.99)


def metres(city: tuple[float, float], zone: int, n: int = 20) -> np.ndarray:
    """[n, 2] easting and northing about a city, by a projection of its own definition."""
    there = np.array(city) + np.random.default_rng(1).uniform(-0.02, 0.02, (n, 2))
    project = Proj(proj="utm", zone=zone, ellps="WGS84", south=city[0] < 0)
    return np.stack(project(there[:, 1], there[:, 0]), axis=1)


@pytest.mark.parametrize("zone", ["10S", "10s", " 10S "])
def test_band_s_is_asked_about(zone: str) -> None:
    with pytest.raises(ConfigError, match=r"at latitude -52\.\d, or latitude band S .* lie at 37\.8") as caught:
        from_utm(metres(SAN_FRANCISCO, 10), zone)
    assert (caught.value.fix or "").startswith("give 10N if they are of the northern hemisphere, 10F if ")


def test_both_answers_are_read_as_they_say() -> None:
    given = metres(SAN_FRANCISCO, 10)
    assert np.abs(from_utm(given, "10N") - SAN_FRANCISCO).max() < 0.03
    south = from_utm(given, "10F")
    assert -56 < south[:, 0].min() <= south[:, 0].max() < -48


def test_a_city_of_the_far_south_is_asked_about_too_and_has_a_way_to_say_it() -> None:
    given = metres(PUNTA_ARENAS, 19)
    with pytest.raises(ConfigError) as caught:
        from_utm(given, "19S")
    assert "19F if they are of the southern one" in (caught.value.fix or "")
    assert np.abs(from_utm(given, "19F") - PUNTA_ARENAS).max() < 0.03


@pytest.mark.parametrize(("city", "zone"), [(SYDNEY, "56S"), (SYDNEY, "56H"), (PITTSBURGH, "17N"), (PITTSBURGH, "17T")])
def test_clear_ones_are_not_asked_about(city: tuple[float, float], zone: str) -> None:
    assert np.abs(from_utm(metres(city, int(zone[:2])), zone) - city).max() < 0.03


def test_some_strays_do_not_decide() -> None:
    given = np.vstack([metres(SAN_FRANCISCO, 10, 20), [[0, 0]] * 30, [[np.nan, np.inf]] * 5, metres(SYDNEY, 56, 5)])
    with pytest.raises(ConfigError, match="may mean the southern hemisphere"):
        refuse_unclear_hemisphere("10S", given)
    refuse_unclear_hemisphere("56S", np.vstack([metres(SYDNEY, 56, 20), metres(SAN_FRANCISCO, 10, 5)]))
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
    said = zone_in_name(number, letter, metres(city, zone))
    assert said is not None
    assert utm_epsg(said) == epsg


@pytest.mark.parametrize(
    ("number", "letter"),
    [("", ""), ("10", ""), ("", "S"), ("0", "S"), ("61", "S"), ("10", "I"), ("x", "S"), ("1.5", "S")],
)
def test_no_zone_in_a_file_name(number: str, letter: str) -> None:
    assert zone_in_name(number, letter, metres(SAN_FRANCISCO, 10)) is None
