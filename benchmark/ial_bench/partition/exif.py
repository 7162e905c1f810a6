"""Position, heading and date of a photo from its EXIF data; dates also as tables and services write them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np

from ial_bench.geo.points import heading_of
from ial_bench.images import opened

NO_POSITION = "no GPS position in its EXIF data"
UNREADABLE = "the GPS position in its EXIF data cannot be read"
NO_HEMISPHERE = "hemisphere not given in its EXIF data: N or S, E or W"
_GPS, _EXIF = 0x8825, 0x8769  # blocks of tags
_LAT_REF, _LAT, _LON_REF, _LON, _DIRECTION = 1, 2, 3, 4, 17
_TAKEN, _TAKEN_ZONE, _CHANGED, _CHANGED_ZONE = 0x9003, 0x9011, 0x0132, 0x9010
_SIXTY = 60.0

_ISO = re.compile(
    r"(?P<day>\d{4}-\d{2}(?:-\d{2})?|\d{4}/\d{2}/\d{2})"
    r"(?:[T ](?P<time>\d{2}:\d{2}(?::\d{2})?)(?P<part>[.,]\d+)?\s*(?P<zone>Z|UTC|[+-]\d{2}(?::?\d{2})?)?)?",
    re.IGNORECASE,
)
_EXIF_DATE = re.compile(r"(\d{4}):(\d{2}):(\d{2})(?: (\d{2}:\d{2}:\d{2})(?:\.\d+)?([+-]\d{2}:\d{2})?)?")
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})(?:[T ]?(\d{2})(\d{2})(\d{2})(Z?))?")
_UNKNOWN = re.compile(r"[0\s:./TZ+-]*|none|null|nan|nat|n/a|unknown", re.IGNORECASE)
_SECONDS = (1e8, 1e10)  # since 1970: from 1973 to 2286
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


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
    text = _text(date)
    return date_of(text + _text(zone)) if text else None


def _heading(value: Any) -> float:
    try:
        return heading_of(None if value is None else float(value))
    except (TypeError, ValueError, ZeroDivisionError):
        return np.nan


def _text(value: Any) -> str:
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else "" if value is None else str(value)
    return text.strip("\0 ")


def date_of(text: str) -> datetime | None:
    """The moment that `text` is; None where it is none.

    ISO 8601, a month or a day alone included, with its zone or without: then the moment is taken for UTC; EXIF's
    ``2024:05:06 07:08:09``; seconds or milliseconds since 1970. Empty, or all zeros, is unknown.

    Raises:
        ValueError: of another form, whose day and month may be meant either way, or no date of the calendar.
    """
    clean = text.strip().strip("\0").strip()
    if _UNKNOWN.fullmatch(clean):
        return None
    try:
        if match := _ISO.fullmatch(clean):
            day = match["day"].replace("/", "-")
            day = day if len(day) > len("2024-05") else f"{day}-01"
            return _moment_of(day, match["time"], match["zone"], match["part"])
        if match := _EXIF_DATE.fullmatch(clean):
            return _moment_of("-".join(match.groups()[:3]), match[4], match[5])
        if match := _COMPACT.fullmatch(clean):
            time = ":".join(match.groups()[3:6]) if match[4] else None
            return _moment_of("-".join(match.groups()[:3]), time, match[7])
        return _since_1970(float(clean))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is no date that can be read") from error


def _moment_of(day: str, time: str | None, zone: str | None, part: str | None = None) -> datetime:
    sign = (zone or "Z").upper()
    if sign in {"Z", "UTC"}:
        sign = "+00:00"
    elif ":" not in sign:
        sign = f"{sign[:3]}:{sign[3:] or '00'}"
    clock = f"{time or '00:00'}:00"[: len("00:00:00")]
    microseconds = round(float(f"0.{part[1:]}") * 1e6) if part else 0
    return datetime.fromisoformat(f"{day}T{clock}{sign}") + timedelta(microseconds=microseconds)


def _since_1970(number: float) -> datetime:
    for unit in (1.0, 1e3):
        if _SECONDS[0] <= number / unit < _SECONDS[1]:
            return _EPOCH + timedelta(seconds=number / unit)
    raise ValueError("neither seconds nor milliseconds since 1970")
