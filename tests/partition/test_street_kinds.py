"""Which ways are streets, in OpenStreetMap and GeoJSON alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ial_bench.partition.geojson import read_geojson_streets
from ial_bench.partition.network import StreetNetwork, StreetSource
from ial_bench.partition.osm import read_osm
from ial_bench.partition.substreets import Partition
from ial_bench.partition.tags import why_no_street
from support.drawn_streets import texts
from support.made_maps import feature, lon_lat, osm_xml, way, write


@pytest.mark.parametrize(
    "kind", ["motorway", "trunk_link", "residential", "living_street", "unclassified", "road", "pedestrian", "busway"]
)
def test_streets(kind: str) -> None:
    assert why_no_street({"highway": kind}, "", closed=False) is None
    assert why_no_street({"highway": f" {kind.upper()} "}, "", closed=False) is None


@pytest.mark.parametrize(
    "kind",
    ["footway", "track", "proposed", "construction", "no", "razed", "abandoned", "disused", "planned", "rest_area",
     "services", "emergency_bay", "via_ferrata", "bus_stop", "street_lamp", "escape", "5", "anything"],
)  # fmt: skip
def test_no_streets(kind: str) -> None:
    assert why_no_street({"highway": kind}, "Mill Lane", closed=False) == f"highway={kind}"


def test_service_ways_need_a_name() -> None:
    assert why_no_street({"highway": "service"}, "", closed=False) == "highway=service"
    assert why_no_street({"highway": "service"}, "Back Lane", closed=False) is None


@pytest.mark.parametrize("both", [["footway", "residential"], "['footway', 'residential']", "footway;residential"])
def test_one_of_several_kinds_is_enough(both: Any) -> None:
    assert why_no_street({"highway": both}, "", closed=False) is None


@pytest.mark.parametrize("none", [None, "", "nan", [], "<Null>"])
def test_no_kind_is_no_reason(none: Any) -> None:
    assert why_no_street({"highway": none}, "", closed=True) is None


def test_areas_are_no_lines() -> None:
    assert why_no_street({"highway": "residential", "area": "yes"}, "Quay", closed=False) == "an area"
    assert why_no_street({"highway": "service", "area": True}, "Quay", closed=True) == "an area"
    assert why_no_street({"highway": "pedestrian"}, "Quay", closed=True) == "an area"
    assert why_no_street({"highway": "pedestrian", "area": "no"}, "Quay", closed=True) is None
    assert why_no_street({"highway": "pedestrian", "junction": "circular"}, "Quay", closed=True) is None
    assert why_no_street({"highway": "residential"}, "Quay", closed=True) is None
    assert why_no_street({"highway": "residential", "area": 812.5}, "Quay", closed=True) is None


def test_overtures_layout() -> None:
    assert why_no_street({"subtype": "road", "class": "residential"}, "", closed=False) is None
    assert why_no_street({"subtype": "road", "class": "unknown"}, "", closed=False) is None
    assert why_no_street({"subtype": "road", "class": "footway"}, "Quay", closed=False) == "class=footway"
    assert why_no_street({"subtype": "rail", "class": "tram"}, "Quay", closed=False) == "subtype=rail"
    assert why_no_street({"class": "C"}, "Quay", closed=False) is None, "a class of another maker's"


def test_what_a_reason_shows_is_short_and_clean() -> None:
    reason = why_no_street({"highway": "\x1b[31m" + "x" * 400}, "", closed=False)
    assert reason is not None
    assert reason.isprintable()
    assert len(reason) < 60


def test_both_readers_leave_out_and_count_the_same(tmp_path: Path) -> None:
    """A ghost of each kind across Main Street, and a square on its corner."""
    kinds = ("rest_area", "razed", "steps")
    ways = "".join(way(20 + i, "5 2 4", highway=kind, name="Ghost Street") for i, kind in enumerate(kinds))
    main_street = way(1, "1 2 3", name="Main Street")
    square = way(30, "1 2 4 1", highway="pedestrian", name="Ghost Square")
    (tmp_path / "s.osm").write_text(osm_xml(main_street + ways + square), encoding="utf-8")
    ghosts = [feature("Ghost Street", lon_lat((0, -100), (0, 0), (0, 100)), highway=kind) for kind in kinds]
    around = lon_lat((-100, 0), (0, 0), (0, 100), (-100, 0))
    corner = [feature("Ghost Square", around, highway="pedestrian"),
              feature("Ghost Square", [around], "Polygon", highway="pedestrian")]  # fmt: skip
    main = feature("Main St", lon_lat((-100, 0), (0, 0), (100, 0)), highway="residential")
    collection = write(tmp_path / "s.geojson", [main, *ghosts, *corner])
    sources: list[StreetSource] = [read_osm(tmp_path / "s.osm"), read_geojson_streets(collection)]
    for source in sources:
        assert {r: n for r, n in source.skipped.items() if r[8:] in kinds} == {f"highway={k}": 1 for k in kinds}
        assert source.skipped["an area"] == 1
        assert not any("Ghost" in t for t in texts(Partition.of(StreetNetwork.of(source.segments))))
    assert sources[1].skipped["not a line"] == 1
