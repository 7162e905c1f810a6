"""When a photo was taken, in the forms that tables, services and cameras write."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

_ISO = re.compile(
    r"(?P<day>\d{4}-\d{2}(?:-\d{2})?|\d{4}/\d{2}/\d{2})"
    r"(?:[T ](?P<time>\d{2}:\d{2}(?::\d{2})?)(?P<part>[.,]\d+)?\s*(?P<zone>Z|UTC|[+-]\d{2}(?::?\d{2})?)?)?",
    re.IGNORECASE,
)
_EXIF = re.compile(r"(\d{4}):(\d{2}):(\d{2})(?: (\d{2}:\d{2}:\d{2})(?:\.\d+)?([+-]\d{2}:\d{2})?)?")
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})(?:[T ]?(\d{2})(\d{2})(\d{2})(Z?))?")
_UNKNOWN = re.compile(r"[0\s:./TZ+-]*|none|null|nan|nat|n/a|unknown", re.IGNORECASE)
_SECONDS = (1e8, 1e10)  # since 1970: from 1973 to 2286
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def date_of(text: str) -> datetime | None:
    """The moment that `text` tells; None where it tells none.

    ISO 8601, a month or a day alone included, with its zone or without: then the moment is taken for UTC; EXIF's
    ``2024:05:06 07:08:09``; seconds or milliseconds since 1970. Empty, or all zeros, is unknown.

    Raises:
        ValueError: of another form, whose day and month may be meant either way, or no date of the calendar.
    """
    told = text.strip().strip("\0").strip()
    if _UNKNOWN.fullmatch(told):
        return None
    try:
        if match := _ISO.fullmatch(told):
            day = match["day"].replace("/", "-")
            day = day if len(day) > len("2024-05") else f"{day}-01"
            return _moment(day, match["time"], match["zone"], match["part"])
        if match := _EXIF.fullmatch(told):
            return _moment("-".join(match.groups()[:3]), match[4], match[5])
        if match := _COMPACT.fullmatch(told):
            time = ":".join(match.groups()[3:6]) if match[4] else None
            return _moment("-".join(match.groups()[:3]), time, match[7])
        return _since_1970(float(told))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is no date that can be read") from error


def _moment(day: str, time: str | None, zone: str | None, part: str | None = None) -> datetime:
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
