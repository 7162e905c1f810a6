"""Cities drawn on a street map: geometry against shapely, photos on their streets, the same bytes, bad maps."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely

from ial_bench.cli.main import main
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.streets import read_streets
from ial_bench.datasets.verify import verify
from ial_bench.errors import BenchError, ConfigError, DataError
from ial_bench.geo.points import haversine_m
from ial_bench.geo.projections import to_local_m
from ial_bench.synth.captions import MAX_WORDS, caption
from ial_bench.synth.captures import QUERY, TRAIN, Capture, captures_of, day_of, places_of
from ial_bench.synth.city import City, lay_map, plan_city
from ial_bench.synth.ground import (
    DASH,
    FIELD,
    KERB,
    LANE,
    MARK,
    PAVEMENT,
    ROAD,
    VERGE,
    YARD,
    ZEBRA,
    MapGround,
)
from ial_bench.synth.options import CityOptions
from ial_bench.synth.render import photo_of, trace
from ial_bench.synth.scene import Floats, Props
from ial_bench.synth.street_map import StreetMap, read_map
from ial_bench.synth.write import make_city, options_of
from support.drawn_streets import ORIGIN
from support.mapped_city import ADDRESSES, STREETS, footprints, write_map

SMALL = CityOptions(seed=4, size=16, train_places=4, query_places=2, train_views=2, query_views=1, val_fraction=0.2)
ROADWAY = (ROAD, MARK, LANE, ZEBRA)


@pytest.fixture(scope="module")
def street_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_map(tmp_path_factory.mktemp("map") / "old-town.geojson")


@pytest.fixture(scope="module")
def city(street_file: Path) -> City:
    return lay_map(replace(SMALL, train_places=12, query_places=4), StreetMap(street_file, licence="anyone's"))


@pytest.fixture(scope="module")
def made(street_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Read only."""
    drawn = lay_map(SMALL, StreetMap(street_file, licence="anyone's"))
    return make_city(tmp_path_factory.mktemp("made") / "city", SMALL, city=drawn)


def tree(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def drawn_lines(city: City) -> dict[str, shapely.LineString]:
    """Each street in the city's metres."""
    corner = to_local_m(city.positions(np.zeros((1, 2))), ORIGIN)[0]
    return {name: shapely.LineString(np.array(points) - corner) for name, points in STREETS.items()}


def test_addresses_and_streets_are_those_of_the_map(made: Dataset) -> None:
    assert [a.text for a in made.addresses] == ADDRESSES
    found = read_streets(made.folder, len(made.addresses))
    assert found is not None
    for i in range(len(found)):
        street = shapely.LineString(np.array(STREETS[made.addresses[found.addresses[i]].street]))
        for point in to_local_m(found.line(i), ORIGIN):
            assert shapely.distance(street, shapely.Point(point)) < 0.05
    assert sorted(set(found.addresses.tolist())) == list(range(9))
    assert made.counts()["query"] == 9 * 2
    assert verify(made).problems == []
    assert options_of(made.folder) == SMALL


def test_the_description_tells_the_map(made: Dataset, street_file: Path) -> None:
    description = made.description
    assert description.licence == "anyone's"
    assert description.made_by["streets"] == {
        "file": "old-town.geojson", "sha256": hashlib.sha256(street_file.read_bytes()).hexdigest(),
        "name_key": "name", "language": "en", "licence": "anyone's",
    }  # fmt: skip
    assert "blocks" not in description.made_by["options"]


def test_photos_lie_on_their_sub_street_and_apart(made: Dataset) -> None:
    train, query = made.split("train", "val"), made.split("query")
    lines = read_streets(made.folder, 9)
    assert lines is not None
    for photos in (train, query):
        for position, row in zip(photos.positions, photos.address_rows, strict=True):
            own = [lines.line(i) for i in np.flatnonzero(lines.addresses == row).tolist()]
            point = shapely.Point(to_local_m(position, ORIGIN))
            assert min(shapely.distance(shapely.LineString(to_local_m(o, ORIGIN)), point) for o in own) < 1.0
    assert haversine_m(query.positions[:, None], train.positions[None]).min() > 1.0


def test_places_keep_clear_of_other_streets_unless_told(city: City) -> None:
    streets = drawn_lines(city)
    subs = city.sub_streets
    kept = replace(city, options=replace(city.options, crossings="keep"))

    def margin(of: City) -> float:
        return float(
            min(
                shapely.distance(line, shapely.Point(p.x, p.y)) - of.ground.half[subs.line[other]]
                for sub in range(len(subs))
                for role in (TRAIN, QUERY)
                for p in places_of(of, sub, role)
                for name, line in streets.items()
                if name != subs.addresses[sub].street
                for other in [[a.street for a in subs.addresses].index(name)]
            )
        )

    assert margin(city) > -0.1  # a metre is kept on the centre line, and photos stray 0.9 m from it
    assert margin(kept) < -2.0


def test_houses_stand_beside_the_roads_and_not_on_one_another(city: City) -> None:
    plans = footprints(city.boxes)
    streets = drawn_lines(city)
    names = sorted(STREETS, key=str.casefold)
    half = {name: float(city.ground.half[names.index(name)]) for name in STREETS}
    for plan in plans:
        for name, line in streets.items():
            assert shapely.distance(plan, line) > half[name] - 1.0
    pairs = shapely.STRtree(plans).query(plans, predicate="intersects")
    assert max(shapely.area(shapely.intersection(plans[i], plans[j])) for i, j in pairs.T if i != j) < 0.1
    assert len({tuple(np.round(t, 6)) for t in city.boxes.turn}) >= 4  # rows in every direction there is
    everything = shapely.union_all(plans)
    for sub in range(len(city.sub_streets)):
        for role in (TRAIN, QUERY):
            for place in places_of(city, sub, role):
                assert shapely.distance(everything, shapely.Point(place.x, place.y)) > 4.0


def looking(city: City, x: float, y: float, heading: float) -> Capture:
    return Capture(
        x, y, heading, camera_m=1.6, pitch=0.0, fov=90.0, day=day_of(0, TRAIN, 0, 1.0), exposure=1.0, noise=0.0,
        passers=Props.none(), seed=1,
    )  # fmt: skip


def test_photos_see_houses_on_both_sides_and_the_road_below(city: City) -> None:
    bare = replace(city, props=Props.none())
    seen_walls = []
    for sub in range(len(city.sub_streets)):
        line = city.sub_streets.line[sub]
        for place in places_of(city, sub, TRAIN):
            _, across = city.sub_streets.beside(sub, np.array([place.x, place.y]), np.zeros(1), np.zeros(1))
            heading = math.degrees(math.atan2(across[0, 0], across[0, 1]))
            for turned in (0.0, 180.0):
                seen = trace(bare, looking(city, place.x, place.y, heading + turned), 32)
                assert seen.ground[31, 16] in ROADWAY
                assert seen.line[31, 16] == line
                walls = seen.wall[15][seen.wall[15] >= 0]
                seen_walls.append(bool((seen.walls.depth[walls] < 25.0).any()))
    assert np.mean(seen_walls) > 0.97  # but for the wide mouth of a junction


def test_the_ground_by_distance(city: City) -> None:
    ground = city.ground
    assert isinstance(ground, MapGround)
    streets = drawn_lines(city)
    names = sorted(STREETS, key=str.casefold)
    rng = np.random.default_rng(0)
    points = rng.uniform(0, np.array([ground.xs[1], ground.ys[1]]), (3000, 2))
    codes, lines = ground.at(points)
    checked = 0
    for point, code, line in zip(points, codes.tolist(), lines.tolist(), strict=True):
        away = np.array([shapely.distance(streets[n], shapely.Point(point)) for n in names])
        on = np.flatnonzero(away < ground.half)
        if not len(on):
            assert code == YARD
        elif len(on) == 1:
            own = int(on[0])
            ends = shapely.Point(streets[names[own]].coords[0]), shapely.Point(streets[names[own]].coords[-1])
            if min(shapely.distance(e, shapely.Point(point)) for e in ends) < ground.half[own] + 0.1:
                continue  # square ends
            assert line == own
            around = {int(ground.profile[own, int((away[own] + d) / 0.1)]) for d in (-0.02, 0.02)}  # maps count cm
            assert code in around or (DASH in around and code in {MARK, ROAD})
            checked += 1
    assert checked > 200
    assert (ground.at(np.array([[-5.0, 10.0], [1e6, 1e6]]))[0] == FIELD).all()


def test_a_side_street_ends_square_and_a_dead_end_round(city: City) -> None:
    ground = city.ground
    names = sorted(STREETS, key=str.casefold)
    corner = to_local_m(city.positions(np.zeros((1, 2))), ORIGIN)[0]

    def code(x: float, y: float) -> int:
        return int(ground.at(np.array([[x, y]]) - corner)[0][0])

    main, alley = names.index("Main Street"), names.index("Blind Alley")
    assert code(300, 60) == ROAD  # the junction of Elm Street
    assert code(300 + 2, 60 - ground.road_half[main] - 0.6) in (KERB, VERGE, PAVEMENT)  # opposite of it
    assert code(130 + ground.road_half[alley] - 0.5, 150) in (*ROADWAY, DASH)
    assert code(130 + ground.half[alley] - 0.5, 150) in (PAVEMENT, VERGE)
    assert code(130 + ground.half[alley] + 0.5, 150) == YARD


@pytest.mark.parametrize("degrees", [0.0, 33.0, 90.0, 161.5])
def test_a_scene_turned_as_a_whole_looks_the_same(degrees: float) -> None:
    town = plan_city(CityOptions(seed=3, blocks=(3, 3)))
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))

    def turned(points: Floats) -> Floats:
        return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]))

    boxes = replace(town.boxes, turn=np.tile([cos, sin], (len(town.boxes), 1)))
    rotated = replace(town, boxes=boxes, props=replace(town.props, place=turned(town.props.place)))
    for sub in range(0, len(town.sub_streets), 4):
        capture = next(captures_of(town, places_of(town, sub, TRAIN)[0], 1))
        x, y = turned(np.array([[capture.x, capture.y]]))[0].tolist()
        day = replace(capture.day, sun=np.array([*turned(capture.day.sun[None, :2])[0], capture.day.sun[2]]))
        passers = replace(capture.passers, place=turned(capture.passers.place))
        other = replace(capture, x=x, y=y, heading=capture.heading - degrees, day=day, passers=passers, noise=0.0)
        straight, askew = (trace(c, k, 48) for c, k in ((town, capture), (rotated, other)))
        wall = straight.wall >= 0
        assert ((askew.wall >= 0) == wall).mean() > 0.999
        assert (straight.material == askew.material).mean() > 0.995  # rounding at edges
        both = wall & (askew.wall >= 0) & (straight.material == askew.material)
        close = np.isclose(straight.depth[both], askew.depth[both], rtol=1e-6)
        assert close.mean() > 0.995
        here, there = photo_of(town, replace(capture, noise=0.0), straight), photo_of(rotated, other, askew)
        assert (np.abs(here.astype(int) - there)[both].max(axis=1) <= 1).mean() > 0.99


def test_captions_of_a_mapped_city(city: City) -> None:
    texts = []
    for sub in range(len(city.sub_streets)):
        capture = next(captures_of(city, places_of(city, sub, QUERY)[0], 1))
        texts.append(caption(city, capture, trace(city, capture, 32)))
    assert max(len(t.split()) for t in texts) <= MAX_WORDS
    assert sum("storey" in t or "building" in t or "house" in t for t in texts) >= 7


def test_the_same_bytes_whatever_the_workers_and_after_an_interruption(
    made: Dataset, street_file: Path, tmp_path: Path
) -> None:
    drawn = lay_map(SMALL, StreetMap(street_file, licence="anyone's"))
    pool = make_city(tmp_path / "pool", SMALL, workers=2, city=drawn)
    assert tree(pool.folder) == tree(made.folder)
    half = tmp_path / "half"
    shutil.copytree(made.folder, half)
    (half / "dataset.toml").unlink()
    (half / "rows" / "00003.json").unlink()
    shutil.rmtree(half / "images" / "query")
    make_city(half, SMALL, city=drawn)
    assert tree(half) == tree(made.folder)


def test_the_order_of_the_file_counts_for_nothing(made: Dataset, tmp_path: Path) -> None:
    other = write_map(tmp_path / "old-town.geojson", dict(reversed(STREETS.items())))
    again = make_city(tmp_path / "city", SMALL, city=lay_map(SMALL, StreetMap(other)))
    assert tree(again.folder / "images") == tree(made.folder / "images")


def test_a_city_of_another_map_is_not_overwritten(made: Dataset, tmp_path: Path) -> None:
    other = write_map(tmp_path / "new-town.geojson")
    with pytest.raises(DataError, match=r"file: old-town.geojson, not new-town.geojson"):
        make_city(made.folder, SMALL, city=lay_map(SMALL, StreetMap(other)))
    with pytest.raises(DataError, match=r"file: old-town.geojson, not None"):
        make_city(made.folder, SMALL)


def test_a_part_of_the_map(street_file: Path) -> None:
    (south, west), (north, east) = (ORIGIN + d for d in (np.array([-0.0005, -0.0005]), np.array([0.0025, 0.0060])))
    city = lay_map(SMALL, StreetMap(street_file, (south, west, north, east)))
    texts = {a.text for a in city.sub_streets.addresses}
    assert texts == {a for a in ADDRESSES if "South" not in a}  # with the cross streets of the whole map
    plans = footprints(city.boxes)
    south_street = drawn_lines(city)["South Street"]
    assert min(shapely.distance(p, south_street) for p in plans) < 15  # houses go on beyond the box


def refused(street_map: StreetMap) -> str:
    with pytest.raises(BenchError) as error:
        lay_map(SMALL, street_map)
    assert error.value.fix
    return f"{error.value.problem} {error.value.fix}"


def test_bad_maps_say_what_mends_them(street_file: Path, tmp_path: Path) -> None:
    said = refused(StreetMap(street_file, (10.0, 10.0, 10.1, 10.1)))
    assert "10,10,10.1,10.1" in said
    assert f"{ORIGIN[0] + 0.0020:.2f}" in said  # the map's own box
    nameless = json.loads(street_file.read_text())
    for feature in nameless["features"]:
        feature["properties"]["name"] = ""
    (tmp_path / "nameless.json").write_text(json.dumps(nameless))
    assert "has a name" in refused(StreetMap(tmp_path / "nameless.json"))
    metres = json.loads(street_file.read_text())
    for feature in metres["features"]:
        feature["geometry"]["coordinates"] = [[584_000.0, 4_477_000.0], [584_100.0, 4_477_000.0]]
    (tmp_path / "metres.json").write_text(json.dumps(metres))
    assert "--streets-crs" in refused(StreetMap(tmp_path / "metres.json"))
    lone = write_map(tmp_path / "lone.geojson", {"Main Street": STREETS["Main Street"]})
    assert "a single sub-street" in refused(StreetMap(lone))
    assert "no such file" in refused(StreetMap(tmp_path / "none.geojson"))
    with pytest.raises(ConfigError, match="no box"):
        StreetMap(street_file, (2.0, 1.0, 1.0, 2.0))


def test_command_line(
    street_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ["--size", "16", "--places", "1", "--headings", "1", "--query-places", "1", "--query-headings", "1"]

    def bench(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["bench", "data", "synth", "--data-home", str(tmp_path), *few, *words])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    code, out, _ = bench("--streets", str(street_file), "--name", "on-map", "--workers", "1", "--licence", "mine")
    assert code == 0
    assert out.startswith("on-map: 9 train, 9 query photos of 16 px; 9 addresses")
    assert Dataset(tmp_path / "on-map").description.licence == "mine"
    for words, said in (
        (("--streets", str(street_file), "--blocks", "2x2"), "--blocks"),
        (("--bbox", "1,2,3,4"), "--streets FILE"),
        (("--streets", str(street_file), "--bbox", "1,2,3"), "is no box"),
        (("--streets", str(tmp_path / "none.geojson")), "no such file"),
    ):
        code, _, err = bench(*words)
        assert code != 0
        assert said in err
        assert "Traceback" not in err


@pytest.mark.parametrize("middle", [180.0, -179.9999, 179.9995, -179.99])
def test_a_part_of_a_map_on_the_antimeridian(street_file: Path, tmp_path: Path, middle: float) -> None:
    """The same sub-streets as of the same map elsewhere, by a box whose west is east of its east."""

    def moved(lon: float) -> float:
        return float((lon - ORIGIN[1] + middle + 180) % 360 - 180)

    told = json.loads(street_file.read_text())
    for feature in told["features"]:
        feature["geometry"]["coordinates"] = [[moved(lon), lat] for lon, lat in feature["geometry"]["coordinates"]]
    there = tmp_path / street_file.name
    there.write_text(json.dumps(told))
    low, high = (ORIGIN + np.array(d) for d in ((-0.0005, -0.0005), (0.0025, 0.0060)))
    (south, west), (north, east) = low.tolist(), high.tolist()
    here = read_map(StreetMap(street_file, (south, west, north, east)))
    found = read_map(StreetMap(there, (south, moved(west), north, moved(east))))
    assert 2 < len(here.addresses) < len(read_map(StreetMap(street_file)).addresses)
    assert [a.text for a in found.addresses] == [a.text for a in here.addresses]
    assert len(found.rim) == len(here.rim)
    with pytest.raises(ConfigError, match="is no box in degrees"):
        StreetMap(there, (south, 180.5, north, moved(east)))


def test_a_part_of_a_real_city(street_maps: Path) -> None:
    box = (37.786, -122.414, 37.790, -122.408)
    city = lay_map(SMALL, StreetMap(street_maps / "san_francisco.geojson", box))
    assert len(city.sub_streets) > 30
    houses = shapely.union_all(footprints(city.boxes))
    for sub in range(0, len(city.sub_streets), 3):
        address = city.sub_streets.addresses[sub]
        assert city.survey is not None
        own = shapely.MultiLineString([to_local_m(x, city.survey.origin) for x in city.survey.lines[sub]])
        for role in (TRAIN, QUERY):
            for place in places_of(city, sub, role):
                at = shapely.Point(place.x, place.y)
                local = shapely.Point(np.array([place.x, place.y]) + city.survey.corner)
                assert shapely.distance(own, local) < 1.0, address.text
                assert shapely.distance(houses, at) > 3.0, address.text
