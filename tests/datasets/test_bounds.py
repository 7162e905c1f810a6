"""A city's box: it holds the city and no stray photo, on whichever side of the antimeridian."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ial_bench.datasets.table import Bounds, Description
from ial_bench.geo.points import Points


def city(lon: float, n: int = 200) -> Points:
    """Photos within a fifth of a degree of a longitude at 17 degrees south."""
    at = np.random.default_rng(0).uniform(-0.1, 0.1, (n, 2))
    return np.stack([at[:, 0] - 17, (at[:, 1] + lon + 180) % 360 - 180], axis=1)


@pytest.mark.parametrize("lon", [10.0, 178.0, 179.95, 180.0, -179.96, -178.0])
def test_a_box_is_as_large_wherever_the_city_lies(lon: float) -> None:
    here, elsewhere = Bounds.around(city(lon)), Bounds.around(city(0.0))
    assert (here.east - here.west) % 360 == pytest.approx(elsewhere.east - elsewhere.west)
    assert here.contain(city(lon)).all()
    stray = np.array([(-17.0, 0.0), (-17.0, (lon + 90) % 360 - 180), (17.0, lon), (np.nan, lon)])
    assert here.contain(stray).tolist() == [lon == 0, False, False, False]
    assert -180 <= min(here.west, here.east) <= max(here.west, here.east) <= 180


def test_few_photos_on_the_other_side_are_in_the_box() -> None:
    some = np.concatenate([city(179.85), np.array([(-17.0, -179.9)])])
    box = Bounds.around(some)
    assert box.west > box.east
    assert box.contain(some).all()


def test_a_box_that_goes_round_the_earth_is_all_of_it() -> None:
    around = np.stack([np.linspace(-60, 60, 100), np.linspace(-170, 170, 100)], axis=1)
    assert vars(Bounds.around(around)) == {"south": -90.0, "west": -180.0, "north": 90.0, "east": 180.0}


FIJI, SAMOA = Bounds(-19.0, 176.0, -15.0, -179.0), Bounds(-15.0, -173.0, -13.0, -171.0)
LONDON, PARIS = Bounds(51.0, -0.5, 52.0, 0.3), Bounds(48.0, 2.0, 49.0, 3.0)


@pytest.mark.parametrize(
    ("boxes", "west", "east"),
    [
        ([LONDON, PARIS], -0.5, 3.0),
        ([FIJI, SAMOA], 176.0, -171.0),
        ([SAMOA, FIJI], 176.0, -171.0),
        ([FIJI, Bounds(-40.0, 174.0, -39.0, 175.0)], 174.0, -179.0),
        ([FIJI, LONDON], 176.0, 0.3),
        ([LONDON, Bounds(0, -120, 1, -110)], -120.0, 0.3),
    ],
)
def test_joined_boxes_hold_each(boxes: list[Bounds], west: float, east: float) -> None:
    joined = Bounds.joined(boxes)
    assert (joined.west, joined.east) == (west, east)
    for box in boxes:
        inner = np.array([(box.south, box.west), (box.north, box.east)])
        assert joined.contain(inner).all()


def test_it_is_written_and_read(tmp_path: Path) -> None:
    (tmp_path / "dataset.toml").write_text(Description("fiji", "Fiji", "images", FIJI).to_toml())
    assert Description.read(tmp_path).bounds == FIJI
