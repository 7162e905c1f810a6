"""Headings, whatever tells them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ial_bench.geo.points import heading_of


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
