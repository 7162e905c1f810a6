"""Street maps as files: GeoJSON with and without node ids, OpenStreetMap, and what can be wrong with them."""

from __future__ import annotations

import bz2
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyproj import Transformer

from ial_bench.errors import ConfigError, DataError
from ial_bench.partition.geojson import StreetKeys, read_geojson_streets
from ial_bench.partition.network import StreetNetwork
from ial_bench.partition.osm import fetch_osm, read_osm
from ial_bench.partition.substreets import Partition
from support.drawn_streets import ORIGIN, degrees, shape, texts
from support.made_maps import feature, lon_lat, osm_xml, way, write

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


def test_one_bad_geometry_sets_one_feature_aside(tmp_path: Path) -> None:
    bad: list[Any] = [
        {"type": "LineString", "coordinates": []}, {"type": "MultiLineString", "coordinates": [[]]},
        {"type": "LineString"}, {"type": "MultiLineString", "coordinates": 5},
        {"type": "LineString", "coordinates": "a"},
        {"type": "LineString", "coordinates": [[1.0], [2.0]]}, {"type": ["LineString"], "coordinates": []}, {}, "x", [],
    ]  # fmt: skip
    features = [{"type": "Feature", "properties": {"name": "A"}, "geometry": g} for g in bad]
    features += [{"type": "Feature", "properties": [], "geometry": None}, {"type": "Feature"}]
    source = read_geojson_streets(write(tmp_path / "s.geojson", [*CROSS, *features]))
    assert len(source.segments) == 2
    assert source.skipped.total() == len(features)
    forward = Transformer.from_crs(4326, 26910, always_xy=True)
    west = [list(forward.transform(-122.4, 37.7)), list(forward.transform(-122.3, 37.8))]
    placed = read_geojson_streets(
        write(tmp_path / "t.geojson", [feature("A", west), feature("B", [[1e9, 1e9], [2e9, 1e9]]), *features]),
        crs="EPSG:26910",
    )
    assert [s.name for s in placed.segments] == ["A"]


def test_a_feature_a_line(tmp_path: Path) -> None:
    """Newline-delimited, and as a text sequence whose records may run over lines."""
    plain = shape(partition(write(tmp_path / "s.geojson", CROSS)))
    lines = tmp_path / "s.geojsonl"
    for end in ("\n", "\r\n", "\n\n"):
        lines.write_bytes(b"\xef\xbb\xbf" + end.join(json.dumps(f) for f in CROSS).encode())
        assert shape(partition(lines)) == plain
    records = tmp_path / "s.geojsons"
    records.write_text("".join(f"\x1e{json.dumps(f, indent=1)}\n" for f in CROSS), encoding="utf-8")
    assert shape(partition(records)) == plain
    records.write_text("\x1e" + json.dumps({"type": "FeatureCollection", "features": CROSS}), encoding="utf-8")
    assert shape(partition(records)) == plain


def test_a_line_that_is_no_feature_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s.geojsonl"
    path.write_text(f'{json.dumps(CROSS[0])}\n{{"type": "Feat', encoding="utf-8")
    with pytest.raises(DataError, match="line 2 is not valid JSON"):
        read_geojson_streets(path)
    path.write_text(f'{json.dumps(CROSS[0])}\n{{"type": "Point"}}', encoding="utf-8")
    with pytest.raises(DataError, match="line 2 is no GeoJSON"):
        read_geojson_streets(path)
    path.write_text(f"\x1e{json.dumps(CROSS[0])}\n\x1e[", encoding="utf-8")
    with pytest.raises(DataError, match="record 2 is not valid JSON"):
        read_geojson_streets(path)


def test_properties_that_other_programs_left(tmp_path: Path) -> None:
    """Lists, texts of lists, numbers with a fraction and words for nothing give what plain values give."""
    plain = [
        feature("Main St", lon_lat((-100, 0), (0, 0)), u=1, v=2, highway="residential", suburb="Quay", bridge=None),
        feature("Main St", lon_lat((0, 0), (100, 0)), u=2, v=3, highway="residential", suburb="Quay", bridge=None),
        feature("Oak St", lon_lat((0, 0), (0, 100)), u=2, v=4, highway="residential", suburb="Quay", bridge=None),
        feature(None, lon_lat((-50, -90), (-50, 90)), u=5, v=6, highway="tertiary", suburb="Quay", bridge=None),
    ]
    wanted = read_geojson_streets(write(tmp_path / "s.geojson", plain)).segments
    changes: list[dict[str, Callable[[Any], Any]]] = [
        {
            "name": lambda v: [v, "A 7"] if v else [None],
            "highway": lambda v: [v, "footway"],
            "junction": lambda _: [None],
        },
        {"name": lambda v: f"['{v}', 'A 7']" if v else "nan", "u": float, "v": lambda v: f"{v}.0"},
        {"name": lambda v: v or "<Null>", "suburb": lambda v: [v], "bridge": lambda _: "None", "u": lambda v: [v]},
        {"bridge": lambda _: False, "layer": lambda _: "nan", "highway": lambda v: f"['{v}', 'primary']"},
    ]
    for change in changes:
        changed = [
            {**f, "properties": told | {key: to(told.get(key)) for key, to in change.items()}}
            for f, told in ((f, f["properties"]) for f in plain)
        ]
        found = read_geojson_streets(write(tmp_path / "t.geojson", changed)).segments
        assert [(s.name, s.nodes, s.neighbourhood, s.level, s.roundabout) for s in found] == [
            (s.name, s.nodes, s.neighbourhood, s.level, s.roundabout) for s in wanted
        ]


def test_an_end_that_is_several_nodes_is_none(tmp_path: Path) -> None:
    merged = [feature(f["properties"]["name"], f["geometry"]["coordinates"], u=[1, 2], v=3) for f in CROSS]
    assert {s.nodes for s in read_geojson_streets(write(tmp_path / "s.geojson", merged)).segments} == {None}
    assert texts(partition(tmp_path / "s.geojson")) == CUT


def test_names_in_objects(tmp_path: Path) -> None:
    nested = [feature(None, f["geometry"]["coordinates"], names={"primary": f["properties"]["name"]}) for f in CROSS]
    path = write(tmp_path / "s.geojson", nested)
    assert texts(partition(path, keys=StreetKeys("names.primary"))) == CUT
    with pytest.raises(DataError, match=r"'names' holds an object \(primary\)(.|\n)*names\.primary, by --name-key"):
        read_geojson_streets(path, StreetKeys("names"))
    with pytest.raises(DataError, match=r"no property|names\.primary"):
        read_geojson_streets(path, StreetKeys("names.other"))
    path = write(tmp_path / "t.geojson", [feature("Main St", lon_lat((0, 0), (9, 9)), highway={"kind": "road"})])
    with pytest.raises(DataError, match="'highway' holds an object"):
        read_geojson_streets(path)


def test_names_of_another_language(tmp_path: Path) -> None:
    """As of OpenStreetMap's tags: a feature without that name, and a file without any, have the plain one."""
    path = write(tmp_path / "s.geojson", CROSS)
    assert texts(partition(path, keys=StreetKeys("name:en"))) == CUT
    path = write(
        tmp_path / "t.geojson", [CROSS[0], feature("Eiche", lon_lat((0, 0), (0, 99)), **{"name:en": "Oak St"})]
    )
    assert texts(partition(path, keys=StreetKeys("name:en"))) == CUT


def test_json_of_overpass_is_told(tmp_path: Path) -> None:
    path = tmp_path / "s.geojson"
    path.write_text('{"version": 0.6, "elements": []}', encoding="utf-8")
    with pytest.raises(DataError, match=r"as Overpass gives(.|\n)*osmtogeojson"):
        read_geojson_streets(path)


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
