"""From photos and a street map to a dataset folder, by the command and by the function."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from ial_bench.cli.main import app
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.streets import read_streets
from ial_bench.datasets.verify import verify
from ial_bench.errors import ConfigError, DataError
from ial_bench.geocoding.street_names import NameNormalizer
from ial_bench.partition.dataset import build_dataset
from ial_bench.partition.neighbourhoods import ByAttribute, ByNearestPlace, ByPolygon, Chain
from ial_bench.partition.network import StreetNetwork
from ial_bench.partition.options import Build, BuildOptions
from ial_bench.partition.splits import SplitRule
from ial_bench.partition.substreets import Partition
from support.drawn_streets import ORIGIN, degrees, line
from support.made_contents import hashed, stored
from support.made_maps import osm_xml, photo_table, way

SCRIPT = "<script>alert(1)</script>"


def street_map(path: Path, extra: str = "") -> Path:
    """Main Street from west to east, crossed at -150 m, 0 and 150 m; Oak Street's name is hostile if asked."""
    lines = {"Main St": [(-150, 0), (150, 0)], "Elm St": [(-150, -100), (-150, 100)],
             f"Oak St{extra}": [(0, -200), (0, 200)], "Ash St": [(150, -100), (150, 100)]}  # fmt: skip
    features = [
        {"type": "Feature", "properties": {"name": name, "nhood": "Oakland"},
         "geometry": {"type": "LineString", "coordinates": degrees(*points)[:, ::-1].round(7).tolist()}}
        for name, points in lines.items()
    ]  # fmt: skip
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return path


ALONG = [(float(x), 3.0) for x in (-140, -120, -100, -80, -60, -40, 40, 60, 80, 100, 120, 140)]
UP = [(-4.0, float(y)) for y in (30, 60, 90, 120, 150, 180)]
FEW = [(4.0, -60.0), (4.0, -90.0)]
FAR = [(80.0, 90.0)]


def built(folder: Path, points: list[tuple[float, float]] | None = None, **options: Any) -> Build:
    folder.mkdir(exist_ok=True)
    given: dict[str, Any] = {
        "photos": photo_table(folder, points or [*ALONG, *UP, *FEW, *FAR]), "streets": street_map(folder / "s.geojson"),
        "out": folder / "out", "name": "small",
    }  # fmt: skip
    return build_dataset(BuildOptions(**given | options))


def test_the_dataset_is_sound(tmp_path: Path) -> None:
    build = built(tmp_path)
    data = Dataset(build.folder)
    assert verify(data).problems == []
    assert [a.text for a in data.addresses] == [
        "Main Street, Oakland (Ash Street, Oak Street)",
        "Main Street, Oakland (Elm Street, Oak Street)",
        "Oak Street, Oakland (Main Street)",
    ]
    assert data.counts()["query"] == build.counts["query"] > 0
    assert not any(data.texts("caption").to_pylist())
    assert stored(data) == hashed(data)
    assert Dataset(built(tmp_path / "unread", contents=False).folder).contents is None
    assert data.description.made_by["split"]["kind"] == "place"
    lines = read_streets(build.folder, len(data.addresses))
    assert lines is not None
    assert sorted(lines.addresses.tolist()) == [0, 1, 2, 2]
    aside = (build.folder / "set-aside.csv").read_text(encoding="utf-8").splitlines()
    assert aside[1:] == [f"photos.csv,20_{v}.png,no named street near" for v in (0, 180)]


def test_few_places_join_their_neighbour(tmp_path: Path) -> None:
    """The two places south of the crossing join those in the north; their street is then all of Oak Street's."""
    assert built(tmp_path / "a").match.counts()["nearest"] == 20
    apart = built(tmp_path / "b", min_places=1)
    assert len(apart.partition.subs) == len(built(tmp_path / "c").partition.subs) + 1
    assert len(apart.addresses) == 3, "both halves are called the same, and hence one address"
    assert any("address of another" in note for note in apart.notes)


def test_neither_rows_nor_streets_need_an_order(tmp_path: Path) -> None:
    first = built(tmp_path / "a")
    (tmp_path / "b").mkdir()
    photos = photo_table(tmp_path / "b", [*ALONG, *UP, *FEW, *FAR])
    head, *rows = photos.read_text(encoding="utf-8").splitlines()
    photos.write_text("\n".join([head, *rows[::-1]]) + "\n", encoding="utf-8")
    streets = street_map(tmp_path / "b" / "s.geojson")
    data = json.loads(streets.read_text(encoding="utf-8"))
    data["features"].reverse()
    streets.write_text(json.dumps(data), encoding="utf-8")
    build_dataset(BuildOptions(photos=photos, streets=streets, out=tmp_path / "b" / "out", name="small"))
    assert Dataset(first.folder).digest == Dataset(tmp_path / "b" / "out").digest


@pytest.mark.parametrize(
    "rule", [SplitRule(gap_m=15.0), SplitRule("heading", headings=(180.0,)), SplitRule(query_fraction=0.4, seed=3)]
)
def test_other_splits_are_sound_too(tmp_path: Path, rule: SplitRule) -> None:
    data = Dataset(built(tmp_path, split=rule).folder)
    assert [p for p in verify(data).problems if p.kind != "empty split"] == []
    assert data.description.made_by["split"]["kind"] == rule.kind


def test_the_report_escapes_what_it_shows(tmp_path: Path) -> None:
    photos = photo_table(tmp_path, [*ALONG, *UP])
    photos.write_text(photos.read_text(encoding="utf-8").replace(",p00,", f",{SCRIPT},"), encoding="utf-8")
    build = build_dataset(BuildOptions(photos=photos, streets=street_map(tmp_path / "s.geojson", SCRIPT),
                                       out=tmp_path / "out", name="small", title=f"A {SCRIPT}' | city"))  # fmt: skip
    html = (build.folder / "build-report.html").read_text(encoding="utf-8")
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "http" not in html, "it loads nothing"
    (svg,) = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    picture = ET.fromstring(re.sub(r"=(none|round|img)(?=[ >])", r"='\1'", svg))  # noqa: S314 - our own
    places = [e for e in picture if e.tag == "circle"]
    assert len(places) == len(ALONG) + len(UP)
    assert "<script" not in (build.folder / "build-report.md").read_text(encoding="utf-8")


def test_the_command(tmp_path: Path) -> None:
    photos, streets = photo_table(tmp_path, [*ALONG, *UP, *FAR]), street_map(tmp_path / "s.geojson")
    words = ["data", "build", "--name", "small", "--photos", str(photos), "--streets", str(streets)]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "3 addresses" in done.output
    assert "2 photos set aside" in done.output
    assert CliRunner().invoke(app, ["data", "verify", str(tmp_path / "out")]).exit_code == 0
    again = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out")])
    assert isinstance(again.exception, ConfigError)
    assert CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out"), "--force"]).exit_code == 0
    help_text = CliRunner().invoke(app, ["data", "build", "--help"]).output
    for default in ("50.0", "25.0", "30.0", "nearest"):
        assert default in help_text


def test_what_is_not_used_of_the_map_is_told(tmp_path: Path) -> None:
    """By the command and in the report: kinds that are no streets, and streets that are cut where nodes are missing."""
    ways = way(1, "1 2 3", name="Main Street") + way(2, "5 2 4", name="Oak Street")
    ghosts = way(3, "1 4", highway="razed") + way(4, "3 5", highway="razed") + way(5, "1 5", highway="steps")
    gap = way(6, "1 5 99 3 4", name="Gap Street")
    (tmp_path / "s.osm").write_text(osm_xml(ways + ghosts + gap), encoding="utf-8")
    photos = photo_table(tmp_path, [(float(x), 2.0) for x in range(-90, 91, 10)])
    words = ["data", "build", "--name", "small", "--photos", str(photos), "--streets", str(tmp_path / "s.osm")]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out"), "--min-places", "1"])
    assert done.exit_code == 0, done.output
    assert "not used of the street map: 2 highway=razed, 1 highway=steps, 1 nodes that are not in" in done.output
    report = (tmp_path / "out" / "build-report.md").read_text(encoding="utf-8")
    assert "| highway=razed | 2 |" in report
    for text in (done.output, report):
        assert "ways that are cut there: 1 (Gap Street)" in text


def test_streets_and_photos_that_do_not_meet(tmp_path: Path) -> None:
    photos = photo_table(tmp_path, [(90_000.0, 0.0)])
    options: dict[str, Any] = {"streets": street_map(tmp_path / "s.geojson"), "out": tmp_path / "out", "name": "small"}
    with pytest.raises(
        DataError, match=r"photos lie in lat 40\.\d+ to .*, streets in lat 40\.\d+ to 40\.\d+, lon -79\.99"
    ):
        build_dataset(BuildOptions(photos=photos, **options))
    lat, lon = degrees((0.0, 0.0))[0]
    photos.write_text(f"path,lat,lon\n00_0.png,{lon},{lat}\n", encoding="utf-8")
    with pytest.raises(DataError, match="would with latitude and longitude swapped"):
        build_dataset(BuildOptions(photos=photos, **options))
    near = photo_table(tmp_path, [(75.0, 60.0)])
    with pytest.raises(DataError, match="none of 1 places lies within 25 m of a named street"):
        build_dataset(BuildOptions(photos=near, **options))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"streets": None}, "either --streets or --osm-place"),
        ({"osm_place": "Pittsburgh"}, "either --streets or --osm-place"),
        ({"tie_m": float("nan")}, "--tie is no distance"),
        ({"min_places": 0}, "--min-places 0"),
        ({"streets": Path("streets.shp")}, "no known kind of street map"),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        built(tmp_path, **options)


def square(name: str, west: float, east: float) -> dict[str, Any]:
    corners = [(west, -300.0), (east, -300.0), (east, 300.0), (west, 300.0), (west, -300.0)]
    return {"type": "Feature", "properties": {"name": name},
            "geometry": {"type": "Polygon", "coordinates": [degrees(*corners)[:, ::-1].tolist()]}}  # fmt: skip


def test_neighbourhoods(tmp_path: Path) -> None:
    path = tmp_path / "areas.geojson"
    squares = [square("WEST END", -500, -40), square("East", -40, 500)]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": squares}), encoding="utf-8")
    build = built(tmp_path / "a", neighbourhoods=path)
    assert {a.neighbourhood for a in build.addresses if a.street == "Oak Street"} == {"East"}
    assert {a.text for a in build.addresses} >= {"Main Street, West End (Elm Street, Oak Street)"}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": []}), encoding="utf-8")
    with pytest.raises(DataError, match="no polygon with a name"):
        ByPolygon(path)


def test_ways_to_a_neighbourhood() -> None:
    (sub,) = Partition.of(StreetNetwork.of([line("Main St", (-100, 0), (100, 0))])).subs
    places = [("Near", *(ORIGIN + 0.001)), ("Far", *(ORIGIN + 0.1))]
    assert ByNearestPlace(places).of(sub) == "Near"
    assert ByNearestPlace([]).of(sub) == ByAttribute().of(sub) == ""
    normalizer = NameNormalizer()
    assert Chain([ByAttribute(), ByNearestPlace(places)], "City", normalizer).of(sub) == "Near"
    assert Chain([ByAttribute()], "City", normalizer).of(sub) == "City"
