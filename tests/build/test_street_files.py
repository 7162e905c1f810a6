"""Street maps as files: GeoJSON with and without node ids, OpenStreetMap, and what can be wrong with them."""

from __future__ import annotations

import bz2
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyproj import Transformer

from drawn_streets import ORIGIN, degrees, shape, texts
from ial_bench.build.geojson_streets import StreetKeys, read_geojson_streets
from ial_bench.build.network import StreetNetwork
from ial_bench.build.osm import fetch_osm, read_osm
from ial_bench.build.partition import Partition
from ial_bench.errors import ConfigError, DataError


def feature(name: str | None, points: Any, kind: str = "LineString", **told: Any) -> dict[str, Any]:
    return {"type": "Feature", "properties": {"name": name, **told}, "geometry": {"type": kind, "coordinates": points}}


def lon_lat(*points: tuple[float, float]) -> list[list[float]]:
    return degrees(*points)[:, ::-1].round(7).tolist()  # type: ignore[no-any-return]


def write(path: Path, features: Sequence[Any], **more: Any) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features, **more}), encoding="utf-8")
    return path


CROSS = [feature("Main St", lon_lat((-100, 0), (0, 0), (100, 0)), nodes=[1, 2, 3]),
         feature("Oak St", lon_lat((0, 0), (0, 100)), nodes=[2, 4])]  # fmt: skip
CUT = ["Main Street (Oak Street)", "Main Street (Oak Street)", "Oak Street (Main Street)"]


def partition(path: Path, **options: Any) -> Partition:
    return Partition.of(StreetNetwork.of(read_geojson_streets(path, **options).segments))


def test_nodes_of_every_point(tmp_path: Path) -> None:
    path = write(tmp_path / "s.geojson", CROSS)
    assert StreetNetwork.of(read_geojson_streets(path).segments).noded == "ids"
    assert texts(partition(path)) == CUT


def test_nodes_of_the_ends(tmp_path: Path) -> None:
    path = write(tmp_path / "s.geojson", [
        feature("Main St", lon_lat((-100, 0), (0, 0)), f_node="1", t_node="2"),
        feature("Main St", lon_lat((0, 0), (100, 0)), f_node="2", t_node="3"),
        feature("Oak St", lon_lat((0, 0), (0, 100)), f_node="2", t_node="4"),
        feature("Elm St", lon_lat((50, -90), (50, 90)), f_node="5", t_node="6"),
    ])  # fmt: skip
    assert texts(partition(path)) == ["Elm Street", *CUT]


def test_geometry_alone(tmp_path: Path) -> None:
    """Also where only some features have ids."""
    bare = [{**f, "properties": {"name": f["properties"]["name"]}} for f in CROSS]
    assert texts(partition(write(tmp_path / "s.geojson", bare))) == CUT
    assert texts(partition(write(tmp_path / "t.geojson", [CROSS[0], bare[1]]))) == CUT


def test_lines_in_several_parts(tmp_path: Path) -> None:
    many = feature("Main St", [lon_lat((-100, 0), (0, 0)), lon_lat((0, 0), (100, 0))], "MultiLineString")
    assert texts(partition(write(tmp_path / "s.geojson", [many, feature("Oak St", lon_lat((0, 0), (0, 100)))]))) == CUT


def test_a_map_projection(tmp_path: Path) -> None:
    """Metres of UTM, named by the option or by the file, give the streets that degrees give."""
    forward = Transformer.from_crs(4326, 32617, always_xy=True)
    moved = []
    for one in CROSS:
        points = [list(forward.transform(*p)) for p in one["geometry"]["coordinates"]]
        moved.append({**one, "geometry": {"type": "LineString", "coordinates": points}})
    plain = partition(write(tmp_path / "s.geojson", CROSS))
    path = write(tmp_path / "utm.geojson", moved)
    assert shape(partition(path, crs="EPSG:32617")) == shape(plain)
    member = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32617"}}
    assert shape(partition(write(tmp_path / "m.geojson", moved, crs=member))) == shape(plain)
    with pytest.raises(DataError, match=r"look like metres(.|\n)*--streets-crs EPSG:26910"):
        read_geojson_streets(path)
    with pytest.raises(DataError, match="unknown reference system 'EPSG:0'"):
        read_geojson_streets(path, crs="EPSG:0")


def test_swapped_degrees(tmp_path: Path) -> None:
    west = [feature("Main St", [[37.7, -122.4], [37.8, -122.4]])]
    with pytest.raises(DataError, match=r"latitude and longitude swapped: -122\.4 is no latitude"):
        read_geojson_streets(write(tmp_path / "s.geojson", west))


def test_features_that_are_no_streets(tmp_path: Path) -> None:
    source = read_geojson_streets(write(tmp_path / "s.geojson", [
        *CROSS,
        feature("A", [0, 0], "Point"),
        {"type": "Feature", "properties": {"name": "B"}, "geometry": None},
        feature("C", [[float("nan"), 1.0], [2.0, 3.0]]),
        feature("D", [["x", "y"], [2.0, 3.0]]),
        feature("E", [[2.0, 3.0]]),
        feature("F", [[2.0, 3.0], [2.0, 3.0]]),
        feature("G", lon_lat((0, 0), (9, 9)), highway="footway"),
        "no feature at all",
    ]))  # fmt: skip
    assert len(source.segments) == 2
    assert dict(source.skipped) == {
        "not a line": 1, "no geometry": 1, "coordinates are no numbers": 2, "a line of no length": 2,
        "highway=footway": 1,
    }  # fmt: skip


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no street in .*it has no feature"):
        read_geojson_streets(write(tmp_path / "empty.geojson", []))
    with pytest.raises(DataError, match=r"no street in .*1 x not a line"):
        read_geojson_streets(write(tmp_path / "points.geojson", [feature("A", [0, 0], "Point")]))
    with pytest.raises(DataError, match=r"property 'label'; there are name, nodes"):
        read_geojson_streets(write(tmp_path / "s.geojson", CROSS), StreetKeys("label"))
    (tmp_path / "list.geojson").write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match="is no GeoJSON"):
        read_geojson_streets(tmp_path / "list.geojson")
    (tmp_path / "cut.geojson").write_text('{"type": "Feat', encoding="utf-8")
    with pytest.raises(DataError, match="not valid JSON"):
        read_geojson_streets(tmp_path / "cut.geojson")


def osm_xml(ways: str) -> str:
    at = {i: degrees(p)[0] for i, p in enumerate([(-100, 0), (0, 0), (100, 0), (0, 100), (0, -100), (0, 0)], 1)}
    nodes = "".join(f'<node id="{i}" version="1" lat="{lat:.7f}" lon="{lon:.7f}"/>' for i, (lat, lon) in at.items())
    told = '<tag k="place" v="suburb"/><tag k="name" v="Oakland"/>'
    place = f'<node id="9" version="1" lat="{ORIGIN[0]}" lon="{ORIGIN[1]}">{told}</node>'
    return f'<?xml version="1.0"?><osm version="0.6">{nodes}{place}{ways}</osm>'


def way(number: int, refs: str, **tags: str) -> str:
    told = "".join(f'<tag k="{k}" v="{v}"/>' for k, v in {"highway": "residential", **tags}.items())
    nodes = "".join(f'<nd ref="{r}"/>' for r in refs.split())
    return f'<way id="{number}" version="1">{nodes}{told}</way>'


WAYS = (way(1, "1 2 3", name="Main Street") + way(2, "2 4", name="Oak Street")
        + way(3, "5 6 4", name="Elm Street", bridge="yes")
        + way(4, "2 5", highway="footway", name="Ash Path") + way(5, "1 77 3", highway="service")
        + way(6, "1 77", name="Fir Street"))  # fmt: skip


@pytest.mark.parametrize("kind", ["osm", "osm.bz2", "osm.pbf"])
def test_openstreetmap(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"city.{kind}"
    if kind == "osm.pbf":
        osmium = pytest.importorskip("osmium")
        (tmp_path / "x.osm").write_text(osm_xml(WAYS), encoding="utf-8")
        with osmium.SimpleWriter(str(path)) as writer:
            for item in osmium.FileProcessor(str(tmp_path / "x.osm")):
                writer.add(item)
    else:
        data = osm_xml(WAYS).encode()
        path.write_bytes(bz2.compress(data) if kind.endswith("bz2") else data)
    source = read_osm(path)
    assert [name for name, _, _ in source.places] == ["Oakland"]
    assert source.places[0][1:] == pytest.approx(ORIGIN)
    assert source.skipped["highway=footway"] == source.skipped["highway=service"] == 1
    assert source.skipped["a way with fewer than two nodes"] == 1
    found = texts(Partition.of(StreetNetwork.of(source.segments)))
    assert found == ["Elm Street (Oak Street)", *CUT[:2], "Oak Street (Elm Street, Main Street)"]


def test_openstreetmap_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "city.osm"
    with pytest.raises(DataError, match="no such file"):
        read_osm(path)
    path.write_text(osm_xml(""), encoding="utf-8")
    with pytest.raises(DataError, match="it has no way with a highway tag"):
        read_osm(path)
    path.write_text("<osm", encoding="utf-8")
    with pytest.raises(DataError, match="damaged"):
        read_osm(path)


def test_a_city_by_name_needs_osmnx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "osmnx", None)
    with pytest.raises(ConfigError, match=r"need osmnx(.|\n)*ial-bench\[osmnx\]"):
        fetch_osm("Pittsburgh, Pennsylvania")


def test_a_city_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for osmnx: a graph of directed edges, names that may be lists, and no network."""
    points = {
        n: dict(zip("yx", degrees(p)[0], strict=True))
        for n, p in {1: (-100, 0), 2: (0, 0), 3: (100, 0), 4: (0, 100)}.items()
    }
    edges = [
        (1, 2, "Main Street"),
        (2, 1, "Main Street"),
        (2, 3, ["Main Street", "A1"]),
        (2, 4, "Oak Street"),
        (4, 3, None),
    ]

    class Graph:
        def nodes(self, data: bool) -> Any:
            return list(points.items())

        def edges(self, data: bool) -> Any:
            return [(a, b, {"name": name}) for a, b, name in edges]

    class Osmnx:
        @staticmethod
        def graph_from_place(place: str, **options: Any) -> Graph:
            if place == "Nowhere":
                raise ConnectionError("no route to host")
            return Graph()

    monkeypatch.setitem(sys.modules, "osmnx", Osmnx)
    assert texts(Partition.of(StreetNetwork.of(fetch_osm("Somewhere").segments))) == CUT
    with pytest.raises(DataError, match="could not be fetched: ConnectionError"):
        fetch_osm("Nowhere")


def test_words_in_layer_are_no_level(tmp_path: Path) -> None:
    """San Francisco's file says STREETS there; a number is a level."""
    both = [
        feature("Main St", lon_lat((-100, 0), (100, 0)), layer="STREETS"),
        feature("Oak St", lon_lat((0, -100), (0, 100))),
    ]
    assert len(partition(write(tmp_path / "s.geojson", both)).subs) == 4
    both[0]["properties"]["layer"] = 1
    assert len(partition(write(tmp_path / "t.geojson", both)).subs) == 2
    assert np.isfinite(ORIGIN).all()
