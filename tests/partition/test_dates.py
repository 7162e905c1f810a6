"""Dates in the forms that people bring."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from ial_bench.partition.exif import date_of

UTC = timezone.utc
MORNING = datetime(2024, 6, 1, 8, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2024-06-01T08:30:00Z", "2024-06-01 08:30", "2024-06-01T10:30:00+02:00", "2024-06-01T04:30:00.000-0400",
        "2024-06-01T08:30:00 UTC", "2024:06:01 08:30:00", "2024:06:01 10:30:00+02:00", "20240601083000",
        "20240601T083000Z", "2024/06/01 08:30:00", "2024-06-01t08:30:00,0z", "2024:06:01 08:30:00\0",
        str(int(MORNING.timestamp())), str(int(MORNING.timestamp() * 1000)), f"{MORNING.timestamp():.3f}",
        f"{MORNING.timestamp() * 1000:.12e}",
    ],
)  # fmt: skip
def test_one_moment_in_many_forms(text: str) -> None:
    assert date_of(text) == MORNING


@pytest.mark.parametrize(
    ("text", "day"), [("2024-06-01", 1), ("2024-06", 1), ("20240607", 7), ("2024:06:07", 7), ("2024/06/07", 7)]
)
def test_days_and_months_alone(text: str, day: int) -> None:
    assert date_of(text) == datetime(2024, 6, day, tzinfo=UTC)


def test_its_own_zone_is_kept() -> None:
    found = date_of("2024-06-01T00:30:00+02:00")
    assert found is not None
    assert (found.day, found.utcoffset()) == (1, timedelta(hours=2))
    assert found == datetime(2024, 5, 31, 22, 30, tzinfo=UTC)


def test_parts_of_seconds() -> None:
    assert date_of("2024-06-01T08:30:00.25Z") == MORNING + timedelta(seconds=0.25)


@pytest.mark.parametrize(
    "text", ["", " ", "0000:00:00 00:00:00", "0000-00-00", "    :  :     :  :  ", "0", "NaT", "nan", "None", "\0\0"]
)
def test_what_tells_none(text: str) -> None:
    assert date_of(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "06/01/2024", "1.6.2024", "June 1, 2024", "2024", "2024-13-01", "2024-02-30", "2024:06:31 08:00:00", "17",
        "-1717230600", "1717230600000000", "2024-06-01T25:00", "yesterday", "2024-06-01T08:30:00+25:00",
    ],
)  # fmt: skip
def test_what_may_be_meant_either_way_or_is_no_date(text: str) -> None:
    with pytest.raises(ValueError, match="is no date that can be read"):
        date_of(text)
