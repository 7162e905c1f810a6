"""Which neighbourhood a piece of street is in, and polygons that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ial_bench.errors import DataError
from ial_bench.partition.dataset import build_dataset
from ial_bench.partition.neighbourhoods import ByPolygon
from ial_bench.partition.options import BuildOptions
from ial_bench.partition.substreets import SubStreet
from support.drawn_streets import line, partition_of
from support.made_maps import lon_lat, osm_xml, photo_table, way, write


def area(name: Any, *corners: tuple[float, float], **told: Any) -> dict[str, Any]:
    ring = lon_lat(*corners, corners[0])
    return {"type": "Feature", "properties": {"name": name, **told},
            "geometry": {"type": "Polygon", "coordinates": [ring]}}  # fmt: skip


def box(name: Any, west: float, south: float, east: float, north: float, **told: Any) -> dict[str, Any]:
    return area(name, (west, south), (east, south), (east, north), (west, north), **told)


def sub(*points: tuple[float, float]) -> SubStreet:
    (found,) = partition_of([line("Main St", *points)]).subs
    return found


@pytest.mark.parametrize(
    ("west", "name"), [(100.0, ""), (99.8, ""), (95.0, "East End"), (50.0, "East End"), (0.0, "East End"), (101.0, "")]
)
def test_a_touch_is_no_share(tmp_path: Path, west: float, name: str) -> None:
    """A street of 100 m that ends at a border, give or take the rounding of coordinates, or runs into the polygon."""
    areas = ByPolygon(write(tmp_path / "n.geojson", [box("East End", west, -500, 900, 500)]))
    assert areas.of(sub((0, 0), (100, 0))) == name


def test_a_street_that_grazes_a_corner_is_not_in_it(tmp_path: Path) -> None:
    corner = area("Corner", (50, 0), (60, 40), (40, 40))
    assert ByPolygon(write(tmp_path / "n.geojson", [corner])).of(sub((0, 0), (100, 0))) == ""


def test_a_border_along_the_street_is_one_of_both(tmp_path: Path) -> None:
    both = [box("South Side", -500, -500, 500, 0), box("North Side", -500, 0, 500, 500)]
    assert ByPolygon(write(tmp_path / "n.geojson", both)).of(sub((0, 0), (100, 0))) == "North Side"


def test_most_of_the_length_counts(tmp_path: Path) -> None:
    both = [box("West End", -500, -500, 30, 500), box("East End", 30, -500, 500, 500)]
    assert ByPolygon(write(tmp_path / "n.geojson", both)).of(sub((0, 0), (100, 0))) == "East End"


def polygon(coordinates: Any, kind: str = "Polygon") -> dict[str, Any]:
    return {"type": "Feature", "properties": {"name": "X"}, "geometry": {"type": kind, "coordinates": coordinates}}


UNUSED = [
    box(None, 0, 0, 9, 9), box("nan", 0, 0, 9, 9), box("<Null>", 0, 0, 9, 9),
    polygon([]), polygon([], "MultiPolygon"), polygon([0.0, 0.0], "Point"),
    {"type": "Feature", "properties": {"name": "X"}, "geometry": None},
    polygon([lon_lat((0, 0), (9, 0))]), polygon([lon_lat((0, 0), (9, 0), (5, 0), (0, 0))]), polygon([[]]),
    polygon([[["a", "b"]] * 4]), polygon([7]), polygon([7], "MultiPolygon"),
]  # fmt: skip


def test_polygons_that_cannot_be_used_are_counted(tmp_path: Path) -> None:
    areas = ByPolygon(write(tmp_path / "n.geojson", [box("East End", -50, -50, 500, 500), *UNUSED]))
    assert areas.of(sub((0, 0), (100, 0))) == "East End"
    (note,) = areas.notes
    assert "13 features of n.geojson" in note
    assert "3 without a name" in note
    assert "4 no polygon, or an empty one" in note
    assert "6 with a polygon that is broken" in note
    with pytest.raises(DataError, match=r"no polygon with a name in .*n\.geojson: 6 with a polygon that is broken, 4"):
        ByPolygon(write(tmp_path / "n.geojson", UNUSED))
    assert not ByPolygon(write(tmp_path / "n.geojson", [box("East End", 0, 0, 9, 9)])).notes


def test_a_ring_that_crosses_itself_is_mended(tmp_path: Path) -> None:
    bow = area("Bow", (-100, -50), (100, 50), (100, -50), (-100, 50))
    areas = ByPolygon(write(tmp_path / "n.geojson", [bow]))
    assert areas.notes == []
    assert areas.of(sub((20, 0), (90, 0))) == "Bow"


def test_names_of_polygons_are_read_as_those_of_streets(tmp_path: Path) -> None:
    here = (-50, -50, 500, 500)
    main = sub((0, 0), (100, 0))
    assert ByPolygon(write(tmp_path / "a.geojson", [box("['East End', 'x']", *here)])).of(main) == "East End"
    assert ByPolygon(write(tmp_path / "b.geojson", [box(None, *here, NAME="East End")])).of(main) == "East End"
    english = write(tmp_path / "c.geojson", [box("Ost", *here)])
    assert ByPolygon(english, "name:en").of(main) == "Ost"
    english = write(tmp_path / "f.geojson", [area("Ost", (-50, -50), (500, -50), (0, 500), **{"name:en": "East End"})])
    assert ByPolygon(english, "name:en").of(main) == "East End"
    nested = write(tmp_path / "d.geojson", [box(None, *here, names={"primary": "East End"})])
    assert ByPolygon(nested, "names.primary").of(main) == "East End"
    with pytest.raises(DataError, match=r"'names' holds an object(.|\n)*names\.primary, by --neighbourhood-key"):
        ByPolygon(nested, "names")
    lines = tmp_path / "e.geojsonl"
    both = [box("East End", *here), box("Far End", 900, 900, 999, 999)]
    lines.write_text("\n".join(json.dumps(f) for f in both), encoding="utf-8")
    assert ByPolygon(lines).of(main) == "East End"


def built(folder: Path, **options: Any) -> tuple[set[str], str]:
    """Neighbourhoods of a dataset on an OpenStreetMap with one suburb, and its report."""
    folder.mkdir()
    streets = folder / "s.osm"
    streets.write_text(
        osm_xml(way(1, "1 2 3", name="Main Street") + way(2, "5 2 4", name="Oak Street")), encoding="utf-8"
    )
    photos = photo_table(folder, [(float(x), 2.0) for x in range(-90, 91, 10)])
    build = build_dataset(
        BuildOptions(photos=photos, streets=streets, out=folder / "out", name="small", min_places=1, **options)
    )
    return {a.neighbourhood for a in build.addresses}, (build.folder / "build-report.md").read_text(encoding="utf-8")


def test_a_name_for_the_rest_leaves_the_maps_names(tmp_path: Path) -> None:
    assert built(tmp_path / "a")[0] == {"Oakland"}
    assert built(tmp_path / "b", neighbourhood="Elsewhere")[0] == {"Oakland"}
    west = write(tmp_path / "n.geojson", [box("West End", -500, -500, 0, 500), box(None, 0, 0, 9, 9)])
    named, report = built(tmp_path / "c", neighbourhood="Elsewhere", neighbourhoods=west)
    assert named == {"Oakland", "West End"}
    assert "1 without a name" in report
