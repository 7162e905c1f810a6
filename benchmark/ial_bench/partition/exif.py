"""Position, heading and date of a photo from its EXIF data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ial_bench.geo.points import heading_of
from ial_bench.images import opened
from ial_bench.partition.dates import date_of

NO_POSITION = "no GPS position in its EXIF data"
UNREADABLE = "the GPS position in its EXIF data cannot be read"
NO_HEMISPHERE = "hemisphere not given in its EXIF data: N or S, E or W"
_GPS, _EXIF = 0x8825, 0x8769  # blocks of tags
_LAT_REF, _LAT, _LON_REF, _LON, _DIRECTION = 1, 2, 3, 4, 17
_TAKEN, _TAKEN_ZONE, _CHANGED, _CHANGED_ZONE = 0x9003, 0x9011, 0x0132, 0x9010
_SIXTY = 60.0


@dataclass(frozen=True)
class ExifFacts:
    """What the camera wrote.

    Attributes:
        lat: degrees; NaN where there is a fault.
        lon: likewise.
        heading: degrees clockwise from north, NaN where unknown.
        taken: the moment; None where unknown.
        odd_date: whether it has a date that cannot be read.
        fault: why it has no position; empty where it has one.
    """

    lat: float
    lon: float
    heading: float
    taken: datetime | None
    odd_date: bool
    fault: str


class _FaultError(Exception):
    """Why there is no position."""


def read_exif(path: Path) -> ExifFacts:
    """The EXIF data of a photo.

    Raises:
        ImageError: it is no image that can be read.
    """
    with opened(path) as image:
        exif = image.getexif()
        gps, camera = exif.get_ifd(_GPS), exif.get_ifd(_EXIF)
    lat = lon = np.nan
    fault = ""
    try:
        lat, lon = _angle(gps, _LAT, _LAT_REF, "NS"), _angle(gps, _LON, _LON_REF, "EW")
    except _FaultError as error:
        lat, fault = np.nan, str(error)
    taken, odd_date = None, False
    try:
        taken = _moment(camera.get(_TAKEN), camera.get(_TAKEN_ZONE)) or _moment(
            exif.get(_CHANGED), camera.get(_CHANGED_ZONE)
        )
    except ValueError:
        odd_date = True
    return ExifFacts(lat, lon, _heading(gps.get(_DIRECTION)), taken, odd_date, fault)


def _angle(gps: Mapping[int, Any], tag: int, ref: int, letters: str) -> float:
    """Degrees, negative to the second of the `letters`. The first letter of the reference decides, however spelt."""
    if tag not in gps:
        raise _FaultError(NO_POSITION)
    value = _degrees(gps[tag])
    letter = _text(gps.get(ref))[:1].upper()
    if not letter:
        raise _FaultError(NO_HEMISPHERE)
    if letter not in letters or (value < 0 and letter == letters[0]):
        raise _FaultError(UNREADABLE)
    return -abs(value) if letter == letters[1] else value


def _degrees(value: Any) -> float:
    """Degrees of one, two or three numbers: degrees, minutes, seconds. Seconds of 0/0 are none."""
    parts = list(value) if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else [value]
    try:
        numbers = [float(part) for part in parts]
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise _FaultError(UNREADABLE) from error
    if all(math.isnan(number) for number in numbers):
        raise _FaultError(NO_POSITION)
    if len(numbers) == 3 and math.isnan(numbers[2]):
        numbers = numbers[:2]
    if not 1 <= len(numbers) <= 3 or not all(map(math.isfinite, numbers)):
        raise _FaultError(UNREADABLE)
    degrees, *smaller = numbers
    if any(not 0 <= part <= _SIXTY for part in smaller):
        raise _FaultError(UNREADABLE)
    extra = sum(part / _SIXTY ** (i + 1) for i, part in enumerate(smaller))
    return math.copysign(abs(degrees) + extra, degrees)


def _moment(date: Any, zone: Any) -> datetime | None:
    told = _text(date)
    return date_of(told + _text(zone)) if told else None


def _heading(value: Any) -> float:
    try:
        return heading_of(None if value is None else float(value))
    except (TypeError, ValueError, ZeroDivisionError):
        return np.nan


def _text(value: Any) -> str:
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else "" if value is None else str(value)
    return text.strip("\0 ")
