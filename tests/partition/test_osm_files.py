"""OpenStreetMap files of other programs: orders, ids, deleted elements, missing nodes, and what is no such file."""

from __future__ import annotations

import bz2
import gzip
import re
from pathlib import Path

import numpy as np
import pytest

from ial_bench.errors import DataError
from ial_bench.partition.network import StreetNetwork
from ial_bench.partition.osm import read_osm
from ial_bench.partition.substreets import Partition
from support.drawn_streets import degrees, shape, texts
from support.made_maps import osm_xml, way

PLAIN = way(1, "1 2 3", name="Main Street") + way(2, "2 4", name="Oak Street")


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def partition(path: Path) -> Partition:
    return Partition.of(StreetNetwork.of(read_osm(path).segments))


def reordered(text: str) -> str:
    """The ways before the nodes."""
    ways = "".join(re.findall(r"<way.*?</way>", text))
    return text.replace(ways, "").replace('<osm version="0.6">', f'<osm version="0.6">{ways}')


def with_geometry(text: str) -> str:
    """As Overpass' ``out geom`` has it: no nodes, but where they are in the ways."""
    at = dict(re.findall(r'<node id="(\d)" version="1" (lat="\S+" lon="\S+")/>', text))
    inside = re.sub(r'<nd ref="(\d)"/>', lambda m: f'<nd ref="{m[1]}" {at[m[1]]}/>', text)
    bounds = '<bounds minlat="0" minlon="0" maxlat="1" maxlon="1"/>'
    return re.sub(r'(<way id="\d" version="1">)', rf"\1{bounds}", re.sub(r"<node.*</node>|<node[^>]*/>", "", inside))


def negative(text: str) -> str:
    return re.sub(r'(id|ref)="(\d)"', r'\1="-\2"', text)


@pytest.mark.parametrize("change", [reordered, with_geometry, negative, lambda t: negative(reordered(t))])
@pytest.mark.parametrize("suffix", ["osm", "osm.gz"])
def test_the_same_streets_in_other_clothes(tmp_path: Path, change: object, suffix: str) -> None:
    text = change(osm_xml(PLAIN))  # type: ignore[operator]
    assert text != osm_xml(PLAIN)
    path = tmp_path / f"s.{suffix}"
    path.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())
    plain = partition(written(tmp_path / "plain.osm", osm_xml(PLAIN)))
    assert shape(partition(path)) == shape(plain)
    assert texts(plain) == ["Main Street (Oak Street)"] * 2 + ["Oak Street (Main Street)"]


@pytest.mark.parametrize("mark", ['visible="false"', 'action="delete"', "action='delete'"])
def test_what_is_deleted_is_left_out(tmp_path: Path, mark: str) -> None:
    gone = way(7, "5 2", name="Gone Street").replace("<way ", f"<way {mark} ")
    text = osm_xml(PLAIN + gone).replace('<node id="9" ', f'<node id="9" {mark} ')
    source = read_osm(written(tmp_path / "s.osm", text))
    assert {s.name for s in source.segments} == {"Main Street", "Oak Street"}
    assert source.skipped["deleted on the map"] == 2
    assert not source.places


@pytest.mark.parametrize("mark", ['visible="false"', 'action="delete"'])
def test_a_deleted_node_is_a_missing_one(tmp_path: Path, mark: str) -> None:
    text = osm_xml(PLAIN).replace('<node id="2" ', f'<node id="2" {mark} ')
    with pytest.raises(DataError, match="a way with fewer than two nodes"):
        read_osm(written(tmp_path / "s.osm", text))


def test_no_street_is_drawn_across_missing_nodes(tmp_path: Path) -> None:
    """A bow from the west to the east whose top is missing; its chord would run along Main Street."""
    bow = [(-300, 0), (-250, 100), (250, 100), (300, 0)]
    nodes = "".join(
        f'<node id="{30 + i}" version="1" lat="{lat:.7f}" lon="{lon:.7f}"/>'
        for i, (lat, lon) in enumerate(degrees(*bow))
    )
    extra = way(8, "30 31 70 71 32 33 72 30", name="Bow Street") + way(9, "1 73 74", name="Stub Street")
    path = written(tmp_path / "s.osm", osm_xml(PLAIN + extra).replace("<way", f"{nodes}<way", 1))
    source = read_osm(path)
    bows = sorted((s for s in source.segments if s.name == "Bow Street"), key=lambda s: s.points[0].tolist())
    assert [s.nodes for s in bows] == [("30", "31"), ("32", "33")]
    assert all(
        np.allclose(np.ptp(s.points, axis=0), np.ptp(degrees((0, 0), (50, 100)), axis=0), atol=1e-6) for s in bows
    )
    assert source.skipped["nodes that are not in the extract (ways are cut there)"] == 5
    (note,) = source.notes
    assert "cut there: 1 (Bow Street)" in note


def test_names_of_another_language_fall_back(tmp_path: Path) -> None:
    english = way(3, "3 4", **{"name": "Eschenweg", "name:en": "Ash Way"})
    text = osm_xml(PLAIN + english)
    source = read_osm(written(tmp_path / "s.osm", text), "name:en")
    assert {s.name for s in source.segments} == {"Main Street", "Oak Street", "Ash Way"}
    assert [name for name, _, _ in source.places] == ["Oakland"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"version": 0.6, "generator": "Overpass API", "elements": []}', r"JSON, as Overpass(.|\n)*\[out:xml\]"),
        (b' {"type": "FeatureCollection", "features": []}', r"is GeoJSON(.|\n)*\.geojson"),
        (b'<!DOCTYPE html><html lang="en"><body>too busy</body></html>', "is a web page"),
        (b'<?xml version="1.0"?><html xmlns="x"><body>error</body></html>', "is a web page"),
        (b'<?xml version="1.0"?><gpx version="1.1"></gpx>', "starts with <gpx>"),
        (bz2.compress(b"<osm/>"), r"packed as bz2(.|\n)*\.osm\.bz2"),
        (gzip.compress(b"<osm/>", mtime=0), r"packed as gz(.|\n)*\.osm\.gz"),
        (b"\x00\x00\x00\x0d\x0a\x09OSMHeader", r"is PBF(.|\n)*\.osm\.pbf"),
        (b'<osm version="0.6"><way id="1"><center lat="1" lon="2"/></way></osm>', r"center(.|\n)*`out geom`"),
        (b"PK\x03\x04", r"packed as zip(.|\n)*unpack"),
        (b"", "damaged"),
    ],
)
def test_what_is_no_openstreetmap_xml(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "s.osm"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_osm(path)


def test_a_servers_remark_is_told(tmp_path: Path) -> None:
    remark = "<remark> runtime error: Query timed out </remark>"
    with pytest.raises(DataError, match="no way with a highway tag; the server's remark: runtime error: Query"):
        read_osm(written(tmp_path / "s.osm", f'<osm version="0.6">{remark}</osm>'))
    partial = osm_xml(PLAIN).replace("</osm>", f"{remark}</osm>")
    (note,) = read_osm(written(tmp_path / "s.osm", partial)).notes
    assert note.endswith("remark: runtime error: Query timed out")


def test_xml_under_the_name_of_pbf(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is XML, which its name does not tell(.|\n)*\.osm"):
        read_osm(written(tmp_path / "s.osm.pbf", osm_xml(PLAIN)))


def test_ways_without_any_node(tmp_path: Path) -> None:
    path = written(tmp_path / "s.osm", f'<osm version="0.6">{PLAIN}</osm>')
    with pytest.raises(DataError, match=r"2 x a way with fewer than two nodes(.|\n)*out geom"):
        read_osm(path)


@pytest.mark.parametrize("name", ["s.osm.bz2", "s.osm.gz"])
def test_damaged_archives(tmp_path: Path, name: str) -> None:
    whole = (bz2 if name.endswith("bz2") else gzip).compress(osm_xml(PLAIN).encode())
    for data in (whole[: len(whole) // 2], b"no archive"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match="damaged"):
            read_osm(tmp_path / name)
