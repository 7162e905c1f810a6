"""Headings of photos, whatever tells them: tables, GeoJSON, EXIF data or file names."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_NEARLY = 359.9
UNKNOWN = -1.0
"""What services of street photos write for a compass that did not answer."""


def heading_of(value: Any) -> float:
    """Degrees clockwise from north, at least 0 and below 360; NaN where `value` is none.

    A number that is not finite and `UNKNOWN` are none; others are taken modulo 360.

    Args:
        value: a number, or a text of one.

    Raises:
        ValueError: it is neither a number nor empty.
    """
    try:
        degrees = float(value)
    except (TypeError, ValueError):
        if value is None or str(value).strip().lower() in {"", "none", "null"}:
            return math.nan
        raise
    if not math.isfinite(degrees) or degrees == UNKNOWN:
        return math.nan
    turned = degrees % 360
    return turned if turned <= _NEARLY or np.float32(turned) < 360 else 0.0  # in datasets they are float32
