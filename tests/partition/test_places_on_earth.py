"""A city is the same wherever it lies: on the antimeridian, on the map of a country with islands far away."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.verify import verify
from ial_bench.errors import DataError
from ial_bench.geo.points import Points, box_middle, haversine_m
from ial_bench.geo.projections import from_local_m
from ial_bench.partition.dataset import build_dataset, check_overlap
from ial_bench.partition.network import Segment, StreetNetwork
from ial_bench.partition.options import Build, BuildOptions
from ial_bench.partition.splits import SplitRule
from ial_bench.partition.substreets import Partition, total_m

HERE = (-16.8, 170.0)
LINES = {
    "Main Street": [(-150, 0), (0, 0), (150, 0)],
    "Hill Street": [(-150, 120), (0, 120), (150, 120)],
    "Elm Street": [(-150, -60), (-150, 180)],
    "Oak Street": [(0, -60), (0, 180)],
    "Ash Street": [(150, -60), (150, 180)],
}
PHOTOS = [(float(x), y + 6.0) for y in (0, 120) for x in range(-140, 131, 10) if abs(x) > 15]
"""Metres, 10 m from each other; none on the edge of a square that is counted from their middle."""


def degrees(points: Sequence[tuple[float, float]], origin: tuple[float, float]) -> Points:
    return from_local_m(np.array(points, dtype=np.float64), np.array(origin))


def feature(name: str, points: Points) -> dict[str, Any]:
    lines = {"type": "LineString", "coordinates": points[:, ::-1].tolist()}
    return {"type": "Feature", "properties": {"name": name}, "geometry": lines}


def built(
    folder: Path,
    origin: tuple[float, float],
    *,
    islands: Sequence[tuple[float, float]] = (),
    more: Sequence[Points] = (),
    **options: Any,
) -> Build:
    """The city around `origin`, with a road on each of the islands, and with photos at `more` positions."""
    (folder / "images").mkdir(parents=True)
    features = [feature(name, degrees(points, origin)) for name, points in LINES.items()]
    features += [feature("Island Road", degrees([(0, 0), (0, 400), (300, 900)], island)) for island in islands]
    (folder / "s.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    rows, rng = ["path,lat,lon"], np.random.default_rng(0)
    for i, (lat, lon) in enumerate([*degrees(PHOTOS, origin).tolist(), *(p.tolist() for p in more)]):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / "images" / f"{i:03d}.png")
        rows.append(f"{i:03d}.png,{lat:.7f},{lon:.7f}")
    (folder / "p.csv").write_text("\n".join(rows) + "\n")
    given: dict[str, Any] = {"neighbourhood": "Town", **options}
    return build_dataset(
        BuildOptions(
            photos=folder / "p.csv", images=folder / "images", streets=folder / "s.geojson", out=folder / "out",
            name="town", **given,
        )
    )  # fmt: skip


def told(build: Build) -> dict[str, Any]:
    """What must not depend on where the city lies."""
    data = Dataset(build.folder)
    assert verify(data).problems == []
    columns = [data.texts(name).to_pylist() for name in ("photo_id", "split", "place_id")]
    return {
        "addresses": [a.text for a in data.addresses],
        "photos": sorted(zip(*columns, data.numbers("address").tolist(), strict=True)),
        "set aside": sorted(build.photos.set_aside),
        "metres": round(sum(total_m(s.pieces) for s in build.partition.subs)),
    }


SHIFTS = [0.0, 40.0, -40.0, 100.0, 149.9, -150.0]
"""Metres from the city's middle to the antimeridian: along a crossing, in a block, at its edge."""


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("rule", [SplitRule(), SplitRule(gap_m=12.0)])
def test_the_antimeridian_is_a_place_like_any_other(shift: float, rule: SplitRule, tmp_path: Path) -> None:
    origin = degrees([(-shift, 0.0)], (HERE[0], 180.0))[0]
    elsewhere = told(built(tmp_path / "elsewhere", HERE, split=rule))
    assert len(elsewhere["addresses"]) == 4
    assert bool(elsewhere["set aside"]) == bool(rule.gap_m)
    assert told(built(tmp_path / "here", (origin[0], origin[1]), split=rule)) == elsewhere


def test_the_box_of_a_city_across_the_antimeridian_has_its_west_east_of_its_east(tmp_path: Path) -> None:
    data = Dataset(built(tmp_path, (HERE[0], 180.0)).folder)
    box = data.description.bounds
    assert box.west == pytest.approx(179.98, abs=0.001)
    assert box.east == pytest.approx(-179.98, abs=0.001)
    inside = box.contain(np.array([(-16.8, 179.99), (-16.8, -179.99), (-16.8, 180.0), (-16.8, 0.0), (-16.8, 179.9)]))
    assert inside.tolist() == [True, True, True, False, False]


def test_longitudes_may_run_on_over_the_antimeridian(tmp_path: Path) -> None:
    """As some write them, in photos and maps: 180.001 for -179.999."""
    build = built(tmp_path / "a", (HERE[0], 180.0))
    folder = tmp_path / "b"
    folder.mkdir()
    for name in ("s.geojson", "p.csv"):
        text = (tmp_path / "a" / name).read_text()
        turned = re.sub(r"-179\.\d+", lambda found: f"{float(found[0]) + 360:.12f}", text)
        assert turned != text
        (folder / name).write_text(turned)
    again = build_dataset(
        BuildOptions(
            photos=folder / "p.csv", images=tmp_path / "a" / "images", streets=folder / "s.geojson",
            out=folder / "out", name="town", neighbourhood="Town",
        )
    )  # fmt: skip
    assert told(again) == told(build)


def test_a_place_with_views_on_both_sides_is_one(tmp_path: Path) -> None:
    views = degrees([(-0.4, 6.0), (0.4, 6.0)], (HERE[0], 180.0))
    assert views[0, 1] > 179
    assert views[1, 1] < -179
    build = built(tmp_path, (HERE[0], 180.0), more=list(views))
    assert build.photos.set_aside == []
    both = [p for p in build.places if len(p.photos) == 2]
    assert len(both) == 1
    assert haversine_m(both[0].position, np.array([HERE[0], 180.0])) < 6.1


ISLANDS = [(-43.95, -176.56), (52.72, 174.1), (-17.0, 178.5), (16.8, -10.001), (21.3, -157.8)]
"""The third is 900 km from `HERE`, the fourth a hundred metres from its antipode."""


def test_islands_far_away_on_the_map_change_nothing(tmp_path: Path) -> None:
    alone, among = built(tmp_path / "a", HERE), built(tmp_path / "b", HERE, islands=ISLANDS)
    assert told(alone) | {"metres": 0} == told(among) | {"metres": 0}
    assert (alone.folder / "streets.parquet").read_bytes() == (among.folder / "streets.parquet").read_bytes()
    assert among.source.skipped == {"more than 1,000 km from the photos": 4}


def test_local_metres_start_at_the_photos_and_not_at_the_map(tmp_path: Path) -> None:
    """16 m from a street are 16 m, also on the map of a country."""
    aside = degrees([(0.0, float(y) + 0.5) for y in range(20, 110, 12)] + [(17.0, 60.0)], HERE)
    build = built(tmp_path, HERE, islands=[(-10.0, 172.0)], more=list(aside))
    assert haversine_m(build.network.origin, np.array(HERE)) < 200
    last = next(
        i
        for i, p in enumerate(build.places)
        if build.photos.photos[p.photos[0]].photo_id == f"{len(PHOTOS) + len(aside) - 1:03d}.png"
    )
    assert build.match.metres[last] == pytest.approx(17.0, abs=0.01)


def test_photos_that_are_strays_are_set_aside_and_move_nothing(tmp_path: Path) -> None:
    strays = [np.array([51.5, -0.1]), np.array([16.8, -10.0])]
    alone, among = told(built(tmp_path / "a", HERE)), told(built(tmp_path / "b", HERE, more=strays))
    assert [why for _, why in among["set aside"]] == ["more than 1,000 km from the middle of all photos"] * 2
    assert among | {"set aside": []} == alone


def test_photos_of_two_cities_are_refused(tmp_path: Path) -> None:
    there = degrees(PHOTOS[:30], (51.5, -0.1))
    with pytest.raises(DataError, match=r"of several cities\n.*build a dataset of each, then `bench data join`"):
        built(tmp_path, HERE, more=list(there))


def test_streets_elsewhere_are_told_by_their_box(tmp_path: Path) -> None:
    build = built(tmp_path, (HERE[0], 180.0))
    network = StreetNetwork.of([Segment("A", degrees([(0, 0), (9, 0)], (10, 20)))])
    with pytest.raises(DataError, match=r"photos lie in lat .*, lon 179\.\d+ to -179\.\d+, streets in .*, lon 20\."):
        check_overlap(build.photos.positions, network.edges)


def polygon(name: str, *rings: Sequence[tuple[float, float]]) -> dict[str, Any]:
    parts = [[[list(point) for point in ring]] for ring in rings]
    return {"type": "Feature", "properties": {"name": name}, "geometry": {"type": "MultiPolygon", "coordinates": parts}}


def ring(west: float, east: float) -> list[tuple[float, float]]:
    return [(west, -17.0), (east, -17.0), (east, -16.0), (west, -16.0), (west, -17.0)]


@pytest.mark.parametrize(
    "areas",
    [
        [polygon("Both", ring(179.5, 180.0), ring(-180.0, -179.5))],  # cut in two, as GeoJSON has it
        [polygon("Both", ring(179.5, -179.5))],  # and as many write it
    ],
)
def test_polygons_across_the_antimeridian(areas: list[dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "areas.geojson"
    world = polygon("Elsewhere", ring(-179.0, 179.0))
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [world, *areas]}))
    build = built(tmp_path / "a", (HERE[0], 180.0), neighbourhoods=path)
    assert {a.neighbourhood for a in build.addresses} == {"Both"}


def test_a_line_is_cut_where_it_crosses() -> None:
    """By geometry alone, on the antimeridian itself: the point of the cut lies on it, not at Greenwich."""
    middle = (HERE[0], 180.0)
    lines = [Segment("A", degrees([(-90, 1), (90, 1)], middle)), Segment("B", degrees([(5, -90), (5, 90)], middle))]
    network = StreetNetwork.of(lines)
    assert len(network.edges) == 4
    assert haversine_m(np.concatenate([e.points for e in network.edges]), np.array(middle)).max() < 91
    assert max(len(s.lines) for s in Partition.of(network).subs) == 1
    crossing = {tuple(np.round(e.points[end], 5)) for e in network.edges for end in (0, -1)}
    assert len(crossing) == 5


def test_180_degrees_east_and_west_are_one_meridian() -> None:
    """A map that cuts its lines there names the point by either."""
    west = Segment("A", np.array([(0.0, 179.999), (0.0, 180.0)]))
    east = Segment("A", np.array([(0.0, -180.0), (0.0, -179.999)]))
    dot = Segment("", np.array([(0.0, -180.0), (0.0, 180.0)]))
    network = StreetNetwork.of([west, east, dot])
    assert len(network.edges) == 2
    assert len(network.nodes) == 3
    assert haversine_m(network.origin, np.array([0.0, 180.0])) < 1
    assert haversine_m(box_middle(np.array([(0.0, 174.0), (0.0, -120.0)])), np.array([0.0, -153.0])) < 1
