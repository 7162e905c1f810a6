"""Headings of photos, whatever tells them: tables, GeoJSON, EXIF data or file names."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

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
    text = str("" if value is None else value).strip()
    if text.lower() in {"", "none", "null"}:
        return math.nan
    degrees = float(text)
    if not math.isfinite(degrees) or degrees == UNKNOWN:
        return math.nan
    turned = degrees % 360
    return 0.0 if np.float32(turned) >= 360 else turned  # in datasets they are float32
