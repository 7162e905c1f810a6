"""Where on Earth points are, against cities that everybody can look up."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ial_bench.geo.regions import region_of, whereabouts


@pytest.mark.parametrize(
    ("lat", "lon", "word"),
    [
        (37.77, -122.42, "western United States"),
        (40.44, -79.99, "eastern United States"),
        (52.20, 0.12, "United Kingdom"),
        (48.86, 2.35, "France"),
        (52.52, 13.40, "Germany"),
        (38.72, -9.14, "Portugal"),
        (47.37, 8.54, "Switzerland"),
        (41.01, 28.98, "Turkey"),
        (55.75, 37.62, "Russia"),
        (35.68, 139.69, "Japan"),
        (37.57, 126.98, "South Korea"),
        (31.23, 121.47, "China"),
        (28.61, 77.21, "India"),
        (1.29, 103.85, "Singapore"),
        (-33.87, 151.21, "Australia"),
        (-36.85, 174.76, "New Zealand"),
        (-22.91, -43.17, "Brazil"),
        (-34.60, -58.38, "Argentina"),
        (-53.16, -70.91, "Chile"),
        (19.43, -99.13, "Mexico"),
        (43.65, -79.38, "Canada"),
        (30.04, 31.24, "Egypt"),
        (6.52, 3.38, "Nigeria"),
        (-33.92, 18.42, "South Africa"),
    ],
)
def test_cities(lat: float, lon: float, word: str) -> None:
    assert word in region_of(lat, lon)
    assert "at sea" not in region_of(lat, lon)


@pytest.mark.parametrize(
    ("lat", "lon", "word"),
    [
        (-52.5, -122.4, "southern Pacific"),
        (0.0, 0.0, "northern Atlantic"),
        (40.0, -150.0, "northern Pacific"),
        (-30.0, 80.0, "Indian Ocean"),
        (-75.0, 100.0, "Antarctica"),
        (88.0, 0.0, "Arctic"),
        (90.0, 180.0, "Arctic"),
        (-90.0, -180.0, "Antarctica"),
    ],
)
def test_sea_is_said_to_be_unknown(lat: float, lon: float, word: str) -> None:
    assert region_of(lat, lon).startswith("at sea or unknown: ")
    assert word in region_of(lat, lon)


def test_every_point_has_a_region() -> None:
    """On a grid that meets every edge of whole degrees."""
    assert all(region_of(lat, lon) for lat in range(-90, 91, 3) for lon in range(-180, 181, 3))


def test_box_and_size() -> None:
    """A hundredth of a degree is 1.11 km from south to north, and 0.88 of that along latitude 37.7."""
    said = whereabouts(np.array([[37.70, -122.45], [37.71, -122.44], [37.705, -122.449]]))
    assert said == (
        "western United States, latitude 37.70000 to 37.71000, longitude -122.45000 to -122.44000 (0.9 x 1.1 km)"
    )


def test_box_across_the_antimeridian_is_the_short_one() -> None:
    said = whereabouts(np.array([[-16.8, 179.99], [-16.81, -179.98]]))
    assert "longitude 179.99000 to -179.98000 (3.2 x 1.1 km)" in said
    assert said.startswith("Fiji, ")


def test_all_round_the_earth() -> None:
    """Three quarters of the equator are wider than half of it."""
    said = whereabouts(np.array([[0.0, lon] for lon in range(-180, 91, 10)]))
    (km,) = re.findall(r"\(([\d,.]+) x", said)
    assert float(km.replace(",", "")) == pytest.approx(30_023, abs=30)


def test_cities_in_two_countries_are_both_named() -> None:
    said = whereabouts(np.array([[40.44, -79.99]] * 3 + [[35.68, 139.69]] * 2))
    assert said.startswith("eastern United States; Japan, ")


@pytest.mark.parametrize("points", [np.zeros((0, 2)), np.array([[np.nan, 1.0], [95.0, 0.0]])])
def test_no_positions(points: np.ndarray) -> None:
    assert whereabouts(points) == "nowhere: there are no positions"


def test_what_is_no_position_does_not_count() -> None:
    fine = np.array([[40.44, -79.99], [40.45, -79.98]])
    assert whereabouts(np.vstack([fine, [[np.inf, 0.0], [0.0, 300.0]]])) == whereabouts(fine)
