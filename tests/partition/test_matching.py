"""Which sub-street a place is on, and which split its photos are in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ial_bench.errors import ConfigError, DataError
from ial_bench.partition.exif import date_of
from ial_bench.partition.network import StreetNetwork
from ial_bench.partition.photos import SourcePhoto
from ial_bench.partition.places import (
    AMBIGUOUS,
    BY_HEADING,
    BY_SEQUENCE,
    FAR,
    NEAREST,
    TAKEN,
    Match,
    Place,
    match_places,
    places_of,
)
from ial_bench.partition.splits import SplitRule, split_photos
from support.drawn_streets import degrees, line, partition_of

STREETS = [line("Main St", (-200, 0), (200, 0)), line("Oak St", (0, -200), (0, 200))]
NETWORK = StreetNetwork.of(STREETS)
PARTITION = partition_of(STREETS)


def shots(*points: tuple[float, float], headings: Sequence[float] = (np.nan,), **told: Any) -> list[SourcePhoto]:
    """A place at each point, in metres, with photos of these headings."""
    return [
        SourcePhoto(f"{i:02d}_{k}.jpg", f"{i:02d}_{k}", lat, lon, heading, f"{i:02d}", **told)
        for i, (lat, lon) in enumerate(degrees(*points).tolist())
        for k, heading in enumerate(headings)
    ]


def matched(photos: list[SourcePhoto], **options: Any) -> tuple[list[str], Match]:
    """The street of each place."""
    found = match_places(places_of(photos), photos, PARTITION, NETWORK.origin, **options)
    return [PARTITION.subs[s].street.key.split()[0] if s >= 0 else "" for s in found.subs], found


def test_the_nearest_street() -> None:
    streets, found = matched(shots((100, 8), (-9, 100), (100, 24), (100, 26)))
    assert streets == ["main", "oak", "main", ""]
    assert list(found.how) == [NEAREST] * 3 + [FAR]
    assert found.metres[:3] == pytest.approx([8, 9, 24], abs=0.1)


def test_the_nearest_of_one_street_s_pieces() -> None:
    """At the crossing two pieces of Main Street are as near: that is no tie of streets."""
    streets, found = matched(shots((30, 2)))
    assert (streets, list(found.how)) == (["main"], [NEAREST])
    piece = PARTITION.subs[int(found.subs[0])].lines[0]
    assert piece[:, 1].max() > degrees((100, 0))[0, 1], "the eastern piece"


def test_between_streets() -> None:
    """6 m from Main Street, 10 m from Oak Street: as near as positions can tell."""
    assert matched(shots((10, 6)))[1].how == [TAKEN]
    assert matched(shots((10, 6)))[0] == ["main"]
    streets, found = matched(shots((10, 6)), keep_ambiguous=False)
    assert (streets, list(found.how)) == ([""], [AMBIGUOUS])
    assert matched(shots((10, 6)), tie_m=3.0)[1].how == [NEAREST]


@pytest.mark.parametrize(("heading", "street"), [(0.0, "oak"), (170.0, "oak"), (95.0, "main"), (270.0, "main")])
def test_a_camera_that_looks_ahead_tells_the_street(heading: float, street: str) -> None:
    streets, found = matched(shots((10, 6), headings=[heading, heading + 5]))
    assert (streets, list(found.how)) == ([street], [BY_HEADING])


@pytest.mark.parametrize("headings", [[0.0, 90.0, 180.0, 270.0], [45.0]])
def test_views_all_round_or_askew_tell_nothing(headings: list[float]) -> None:
    assert matched(shots((10, 6), headings=headings))[1].how == [TAKEN]


def test_a_drive_tells_the_street() -> None:
    """Down Oak Street past the crossing, dated backwards to their ids."""
    points = [(3.0, -60.0), (3.0, -30.0), (10.0, 6.0), (3.0, 35.0), (3.0, 60.0)]
    drive = [
        SourcePhoto(
            p.path, p.photo_id, p.lat, p.lon, place=p.place, sequence="d", taken=date_of(f"2024-01-01T08:{30 - i:02d}")
        )
        for i, p in enumerate(shots(*points))
    ]
    streets, found = matched(drive)
    assert streets == ["oak"] * 5
    assert list(found.how) == [NEAREST, NEAREST, BY_SEQUENCE, NEAREST, NEAREST]
    assert matched(shots(*points))[0][2] == "main", "without the sequence"


def test_the_order_of_photos_does_not_matter() -> None:
    photos = shots((100, 8), (-9, 100), (10, 6), (3, 60), sequence="d")
    straight, turned = matched(photos)[1], matched(photos[::-1])[1]
    assert straight.subs.tolist() == turned.subs.tolist()
    assert list(straight.how) == list(turned.how)


def parted(photos: list[SourcePhoto], rule: SplitRule, addresses: Sequence[int] | None = None) -> Any:
    places: list[Place] = places_of(photos)
    of = {k: p for p in places for k in p.photos}
    labels = np.array(addresses if addresses is not None else [0] * len(photos))
    return split_photos(rule, photos, [of[k].name for k in range(len(photos))],
                np.array([of[k].position for k in range(len(photos))]), labels)  # fmt: skip


ROW = [(10.0 * i, 0.0) for i in range(40)]


def test_by_place_every_address_keeps_a_train_place() -> None:
    photos = shots(*ROW, headings=[0, 90])
    labels = [i // 20 for i in range(80)]
    found = parted(photos, SplitRule(query_fraction=0.5, val_fraction=0.2), labels)
    for split in ("train", "val", "query"):
        assert split in found.splits
    assert found.splits.count("query") == 40
    of_place: dict[str, set[str]] = {}
    for place, split in zip(found.places, found.splits, strict=True):
        of_place.setdefault(place, set()).add(split)
    assert all(len(s) == 1 for s in of_place.values())
    assert {a for a, s in zip(labels, found.splits, strict=True) if s == "train"} == set(labels)


def test_a_gap_keeps_train_from_queries() -> None:
    photos = shots(*[(10.0 * i, 10.0 * j) for i in range(30) for j in range(6)])
    found = parted(photos, SplitRule(query_fraction=0.3, gap_m=25.0, val_fraction=0.0))
    where = np.array([(p.lat, p.lon) for p in photos])
    metres = (where - where[0]) * np.array([111_195.0, 111_195.0 * np.cos(np.radians(40.44))])
    splits = np.array(found.splits)
    query, train = metres[splits == "query"], metres[splits == "train"]
    assert min(np.hypot(*(train - q).T).min() for q in query) >= 24.9
    assert len(train) > len(photos) / 4
    assert {r for r, s in zip(found.reasons, found.splits, strict=True) if not s} == {
        "nearer than 25 m to a query place"
    }


def test_by_heading() -> None:
    found = parted(
        shots(*ROW[:9], headings=[0, 100, 200, np.nan]), SplitRule("heading", headings=(90.0, 340.0), val_fraction=0)
    )
    assert found.splits[:4] == ["query", "query", "train", "train"]
    assert found.places[:4] == ["00@query", "00@query", "00", "00"]
    assert found.straddling == 9


def test_by_date() -> None:
    days = ["2024-01-01", "2024-06-01", "", "2024-05-31T23:59"]
    photos = [SourcePhoto(f"{i}", f"{i}", 40.0 + i, 0.0, taken=date_of(d)) for i, d in enumerate(days)]
    found = parted(photos, SplitRule("date", since="2024-06-01", val_fraction=0))
    assert found.splits == ["train", "query", "", "train"]
    assert found.reasons[2] == "no date"


def test_by_date_of_other_zones_and_forms() -> None:
    """The first moment of June in UTC is still May in New York: moments are compared, and not their texts."""
    days = ["2024-05-31T20:00:00-04:00", "2024-06-01T01:59:59+02:00", "1717200000000", "2024:06:01 00:00:00"]
    photos = [SourcePhoto(f"{i}", f"{i}", 40.0 + i, 0.0, taken=date_of(d)) for i, d in enumerate(days)]
    found = parted(photos, SplitRule("date", since="2024/06/01", val_fraction=0))
    assert found.splits == ["query", "train", "query", "query"]
    with pytest.raises(ConfigError, match="--query-since '01/06/2024' is no date"):
        SplitRule("date", since="01/06/2024")


def test_a_list_by_paths_of_windows_and_one_of_other_photos(tmp_path: Path) -> None:
    listing = tmp_path / "splits.csv"
    photos = [SourcePhoto(f"a/{i}.jpg", f"a/{i}.jpg", 40.0 + i, 0.0) for i in range(2)]
    listing.write_text("Path;Split\n.\\a\\0.jpg;Query\na\\1.jpg;train\n", encoding="utf-8")
    assert parted(photos, SplitRule("list", listing=listing, val_fraction=0)).splits == ["query", "train"]
    listing.write_text("path,split\n0.jpg,query\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"it has '0.jpg', photos are called as 'a/0.jpg'"):
        parted(photos, SplitRule("list", listing=listing))


def test_by_list(tmp_path: Path) -> None:
    listing = tmp_path / "splits.csv"
    listing.write_text("path,split\n./00_0.jpg,val\n01_0.jpg,database\n02_0.jpg,query\n", encoding="utf-8")
    found = parted(shots(*ROW[:4]), SplitRule("list", listing=listing))
    assert found.splits == ["val", "database", "query", ""]
    assert found.reasons[3] == "not in the list of splits"
    listing.write_text("path,split\n00_0.jpg,test\n", encoding="utf-8")
    with pytest.raises(DataError, match="names the split 'test'"):
        parted(shots(*ROW[:4]), SplitRule("list", listing=listing))
    with pytest.raises(DataError, match="cannot read"):
        parted(shots(*ROW[:4]), SplitRule("list", listing=tmp_path / "none.csv"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "moon"},
        {"kind": "heading"},
        {"kind": "date"},
        {"kind": "list"},
        {"query_fraction": 1.0},
        {"gap_m": -1.0},
    ],
)
def test_rules_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        SplitRule(**wrong)


def test_splits_do_not_depend_on_the_order() -> None:
    photos = shots(*ROW, headings=[0, 90])
    one, other = parted(photos, SplitRule()), parted(photos[::-1], SplitRule())
    assert one.splits == other.splits[::-1]
