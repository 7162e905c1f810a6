"""Position, heading and date of a photo from its EXIF data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"})
_GPS, _EXIF = 0x8825, 0x8769  # blocks of tags
_LAT_REF, _LAT, _LON_REF, _LON, _DIRECTION = 1, 2, 3, 4, 17
_TAKEN, _CHANGED = 0x9003, 0x0132


@dataclass(frozen=True)
class ExifFacts:
    """What the camera wrote: degrees, NaN where it did not; the date as ISO 8601 or empty."""

    lat: float = np.nan
    lon: float = np.nan
    heading: float = np.nan
    date: str = ""


def read_exif(path: Path) -> ExifFacts:
    """The EXIF data of a photo; nothing where it has none or cannot be read (`bench data verify` finds such)."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            exif = image.getexif()
            gps, camera = exif.get_ifd(_GPS), exif.get_ifd(_EXIF)
            date = str(camera.get(_TAKEN) or exif.get(_CHANGED) or "")
    except Exception:  # noqa: BLE001 - damaged files make Pillow raise nearly anything
        return ExifFacts()
    lat, lon = _degrees(gps, _LAT, _LAT_REF, "S"), _degrees(gps, _LON, _LON_REF, "W")
    return ExifFacts(lat, lon, _number(gps.get(_DIRECTION)), _iso(date))


def _degrees(gps: Mapping[int, Any], tag: int, ref: int, negative: str) -> float:
    try:
        degrees, minutes, seconds = (float(v) for v in gps[tag])
        value = degrees + minutes / 60 + seconds / 3600
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return np.nan
    mark = gps.get(ref, "")
    mark = mark.decode("ascii", "replace") if isinstance(mark, bytes) else str(mark)
    return -value if mark.strip("\0 ").upper() == negative else value


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return np.nan


def _iso(date: str) -> str:
    """``2024:05:06 07:08:09`` as ISO 8601."""
    day, _, time = date.strip("\0 ").partition(" ")
    return f"{day.replace(':', '-')}T{time}" if len(day) == 10 and time else day.replace(":", "-")
