"""The renderer against a scalar twin and by geometry; captions against what is in view."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from ial_bench.synth import scene as t
from ial_bench.synth import styles
from ial_bench.synth.captions import MAX_WORDS, caption, facts
from ial_bench.synth.captures import PRETRAIN, QUERY, TRAIN, Capture, captures_of, day_of, places_of
from ial_bench.synth.city import City, plan_city
from ial_bench.synth.options import CityOptions
from ial_bench.synth.render import Camera, Seen, flat_light, photo_of, trace, wall_light
from ial_bench.synth.scene import Boxes, Props, joined, rows_of
from support import slow_city

SIZE = 16


@pytest.fixture(scope="module")
def town() -> City:
    return plan_city(CityOptions(seed=3, blocks=(3, 3), train_places=3, query_places=2))


def some_captures(city: City, step: int) -> list[Capture]:
    return [
        capture
        for sub in range(0, len(city.sub_streets), step)
        for role in (TRAIN, QUERY)
        for place in places_of(city, sub, role)[:2]
        for capture in captures_of(city, place, 2)
    ]


def bare(town: City, boxes: Boxes | None = None, props: Props | None = None) -> City:
    """The town's ground with nothing on it but what is given."""
    none = rows_of(town.boxes, np.zeros(0, dtype=np.int64))
    return replace(town, boxes=none if boxes is None else boxes, props=props or Props.none())


def a_house(town: City, x0: float, y0: float, x1: float, y1: float, **changes: object) -> Boxes:
    """One flat-roofed house of three storeys, 9.6 m high, red."""
    base = rows_of(town.boxes, np.array([int(np.flatnonzero(town.boxes.kind >= 0)[0])]))
    plain = {
        "bounds": [(x0, y0, x1, y1)], "eaves": [9.6], "ridge": [0.0], "roof": [styles.FLAT], "storeys": [3],
        "ground_m": [3.2], "storey_m": [3.2], "shop": [False], "awning": [False], "kind": [2],
        "name": [list(styles.WALLS).index("red")], "dressed": [(True, True, True, True)],
    }  # fmt: skip
    values = {k: np.array(v) for k, v in {**plain, **changes}.items()}
    return replace(base, **values)  # type: ignore[no-any-return]


def looking(x: float, y: float, heading: float, passers: Props | None = None) -> Capture:
    return Capture(
        x, y, heading, camera_m=1.6, pitch=0.0, fov=90.0, day=day_of(0, TRAIN, 0, 1.0), exposure=1.0, noise=0.0,
        passers=passers or Props.none(), seed=1,
    )  # fmt: skip


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)], ids=["a third", "all"])
@pytest.mark.parametrize("crossing", ["exclude", "keep"])
def test_pixels_against_the_scalar_twin(crossing: str, every: int) -> None:
    """By default a third of each photo's, others in the next one: all places in the picture, and all photos."""
    city = plan_city(CityOptions(seed=5, blocks=(2, 3), crossings=crossing, occluders=2.0))
    looked_at = np.zeros((SIZE, SIZE), dtype=np.int64)
    for number, capture in enumerate(some_captures(city, step=4)):
        seen = trace(city, capture, SIZE)
        for row, column in np.ndindex(SIZE, SIZE):
            if (row * SIZE + column + number) % every:
                continue
            slow = slow_city.look(city, capture, seen.props, SIZE, row, column)
            wall = seen.wall[row, column]
            fast = (
                int(seen.walls.box[wall]) if wall >= 0 else -1, int(seen.walls.side[wall]) if wall >= 0 else -1,
                int(seen.material[row, column]), int(seen.ground[row, column]), int(seen.line[row, column]),
                int(seen.prop[row, column]), int(seen.part[row, column]),
            )  # fmt: skip
            expected = (slow.box, slow.side, slow.material, slow.ground, slow.line, slow.prop, slow.part)
            assert fast == expected, (capture, row, column)
            assert seen.depth[row, column] == pytest.approx(slow.depth, rel=1e-9)
            looked_at[row, column] += 1
    assert looked_at.min() >= 8 // every


def test_a_known_corner_projects_to_the_right_pixel(town: City) -> None:
    city = bare(town, a_house(town, 102.0, 60.0, 106.0, 70.0, eaves=[5.6]))
    # From (100, 50) northwards with 90 degrees: focal 32; the near corner is 10 m deep, 2 m right, 4 m up.
    seen = trace(city, looking(100.0, 50.0, 0.0), 64)
    corner = seen.camera.project(np.array([[102.0, 60.0, 5.6], [106.0, 60.0, 0.0]]))
    np.testing.assert_allclose(corner, [[32 + 6.4, 32 - 12.8, 10.0], [32 + 19.2, 32 + 5.12, 10.0]], atol=1e-9)
    front = (seen.wall >= 0) & (seen.walls.side[seen.wall] == t.SOUTH)
    rows, columns = np.nonzero(front)
    assert (columns.min(), columns.max()) == (38, 50)  # centres from 38.5 to 50.5 lie within 38.4 to 51.2
    assert (rows.min(), rows.max()) == (19, 36)  # centres from 19.5 to 36.5 lie within 19.2 to 37.12
    west = seen.walls.side[seen.wall[seen.wall >= 0]] == t.WEST
    assert west.any()
    assert not (seen.walls.side[seen.wall[seen.wall >= 0]] == t.EAST).any()


def test_the_horizon_follows_the_pitch(town: City) -> None:
    for pitch in (-0.2, 0.0, 0.25):
        camera = Camera.of(replace(looking(0, 0, 30.0), pitch=pitch), 64)
        far = camera.project(np.array([[1e7 * math.sin(math.radians(30)), 1e7 * math.cos(math.radians(30)), 1.6]]))
        assert far[0, :2] == pytest.approx([32, 32 + 64 * pitch])


def test_colours_are_light_times_paint_through_haze(town: City) -> None:
    person = Props(
        np.array([(100.0, 55.0)]), np.zeros(1), np.array([2.0]), np.array([2.0]), np.array([styles.BANNER]),
        np.full((1, 4, 3), 0.5, np.float32), np.zeros(1, dtype=np.int64),
    )  # fmt: skip
    house = a_house(town, 90.0, 60.0, 110.0, 70.0, dressed=[(False,) * 4])
    city, capture = bare(town, house), looking(100.0, 50.0, 0.0, person)
    seen = trace(city, capture, 32)
    photo = photo_of(city, capture, seen)
    day = capture.day
    row, column = 8, 16
    assert seen.material[row, column] == t.WALL
    lit = house.colours[0, t.WALL] * wall_light(day)[t.SOUTH]
    left = math.exp(-10 / day.haze_m)
    np.testing.assert_allclose(photo[row, column], (lit * left + day.horizon * (1 - left)) * 255, atol=1.0)
    row, column = (int(v) for v in np.argwhere(seen.part == 1)[0])
    lit, left = 0.5 * flat_light(day), math.exp(-5 / day.haze_m)
    np.testing.assert_allclose(photo[row, column], (lit * left + day.horizon * (1 - left)) * 255, atol=1.0)
    road = looking(float(town.ground.xs[1]) - 1.0, 60.0, 90.0)
    seen = trace(bare(town), road, 32)
    photo = photo_of(bare(town), road, seen)
    row, column = 31, 16
    depth = 1.6 / (15.5 / 16)
    lit = town.ground.colours[seen.line[row, column], seen.ground[row, column]] * flat_light(day)
    left = math.exp(-depth / day.haze_m)
    np.testing.assert_allclose(photo[row, column], (lit * left + day.horizon * (1 - left)) * 255, atol=1.0)


def test_what_is_behind_is_hidden(town: City) -> None:
    low, high = a_house(town, 95, 60, 105, 65), a_house(town, 95, 80, 105, 85, eaves=[60.0])
    seen = trace(bare(town, joined([low, high])), looking(100.0, 50.0, 0.0), 64)
    boxes = np.where(seen.wall >= 0, seen.walls.box[seen.wall], -1)[:, 32]
    changes = boxes[np.flatnonzero(np.diff(boxes, prepend=-2))].tolist()
    assert changes == [1, 0, -1]  # from the top: the tower over the house, the house, the ground
    tree = Props(
        np.array([(100.0, 75.0)]), np.zeros(1), np.array([6.0]), np.array([7.0]), np.array([styles.ROUND]),
        np.ones((1, 4, 3), np.float32), np.zeros(1, dtype=np.int64),
    )  # fmt: skip
    hidden = trace(bare(town, low, tree), looking(100.0, 50.0, 0.0), 64)
    assert (hidden.prop < 0).all()
    assert (trace(bare(town, props=tree), looking(100.0, 50.0, 0.0), 64).prop == 0).any()


def sorts(city: City, capture: Capture) -> set[str]:
    return {f.sort for f in facts(city, capture, trace(city, capture, 64))}


def test_captions_of_hand_made_scenes(town: City) -> None:
    x = float(town.ground.xs[1])
    road = looking(x, float(town.ground.ys[1]) + 40.0, 0.0)
    empty = bare(town)
    assert sorts(empty, road) <= {"road", "sky", "verge", "kerb", "crossing"}
    assert {"road", "sky"} <= sorts(empty, road)

    house = a_house(town, x - 30, road.y + 12, x - 2, road.y + 22)
    words = caption(bare(town, house), road, trace(bare(town, house), road, 64))
    assert "red apartment building" in words
    assert "on the left" in words
    fact = next(f for f in facts(bare(town, house), road, trace(bare(town, house), road, 64)) if f.sort == "buildings")
    assert any("three-storey" in w for w in fact.wordings)
    behind = replace(road, heading=180.0)
    assert "buildings" not in sorts(bare(town, house), behind)
    assert "red" not in caption(bare(town, house), behind, trace(bare(town, house), behind, 64)).split()

    shops = replace(house, shop=np.array([True]), awning=np.array([True]))
    assert "awnings" in sorts(bare(town, shops), road)
    assert "awnings" not in sorts(bare(town, house), road)
    tower = a_house(town, x - 5, road.y + 60, x + 5, road.y + 70, eaves=[60.0], kind=[-1], name=[0])
    assert "landmark" in sorts(bare(town, tower), road)
    assert "landmark" not in sorts(bare(town, joined([tower, replace(house, eaves=np.array([90.0]), bounds=np.array(
        [(x - 30, road.y + 12, x + 30, road.y + 22)]))])), road)  # fmt: skip
    for shape, sort in ((styles.ROUND, "trees"), (styles.GLOBE, "lamps"), (styles.CAR_SIDE, "cars"),
                        (styles.PERSON, "people"), (styles.BANNER, "banners")):  # fmt: skip
        prop = Props(
            np.array([(x, road.y + 6)]), np.zeros(1), np.array([3.0]), np.array([3.0]), np.array([shape]),
            np.ones((1, 4, 3), np.float32), np.zeros(1, dtype=np.int64),
        )  # fmt: skip
        assert sorts(bare(town, props=prop), road) - sorts(empty, road) == {sort}
        assert sort not in sorts(bare(town, props=prop), behind)


def in_view(city: City, seen: Seen) -> dict[str, bool]:
    shapes = set(seen.props.shape[seen.prop[seen.prop >= 0]].tolist())
    walls = seen.walls.box[seen.wall[(seen.wall >= 0) & (seen.prop < 0)]]
    materials = set(seen.material[(seen.wall >= 0) & (seen.prop < 0)].tolist())
    species = {styles.TREES[n].word for n in seen.props.name[seen.prop[seen.prop >= 0]]}
    return {
        "storey": bool((city.boxes.kind[walls] >= 0).any()),
        "awnings": t.AWNING in materials or t.AWNING_2 in materials,
        "lamp": bool(shapes & {styles.GLOBE, styles.ARM, styles.TWIN}),
        "a car": bool(shapes & {styles.CAR_SIDE, styles.CAR_END}),
        "person": styles.PERSON in shapes,
        "banners": styles.BANNER in shapes,
        "palm": "palm trees" in species,
        "maple": "orange maples" in species,
        "conifer": "dark conifers" in species,
        "sky": bool(np.isinf(seen.depth).any()),
        "clock tower": any(city.boxes.kind[b] < 0 and city.boxes.name[b] == 0 for b in np.unique(walls)),
        "road": bool((seen.ground >= 0).any()),
    }


def test_captions_say_only_what_is_in_view(town: City) -> None:
    lengths, texts = [], set()
    for capture in some_captures(town, step=1):
        seen = trace(town, capture, 64)
        text = caption(town, capture, seen)
        for word, there in in_view(town, seen).items():
            assert there or word not in text, (word, text)
        assert text == caption(town, capture, seen)
        lengths.append(len(text.split()))
        texts.add(text)
    assert max(lengths) <= MAX_WORDS
    assert 20 <= np.mean(lengths) <= 34
    assert len(texts) > 0.97 * len(lengths)


def test_photos_scale_to_any_size(town: City) -> None:
    capture = replace(some_captures(town, step=5)[0], noise=0.0)
    small = photo_of(town, capture, trace(town, capture, 64)).astype(float)
    large = photo_of(town, capture, trace(town, capture, 512))
    assert large.shape == (512, 512, 3)
    shrunk = large.reshape(64, 8, 64, 8, 3).mean(axis=(1, 3))
    assert np.abs(shrunk - small).mean() < 16  # the same picture, but for edges


def test_more_occluders_and_other_days(town: City) -> None:
    def passers(occluders: float) -> int:
        city = replace(town, options=replace(town.options, occluders=occluders))
        return sum(len(c.passers) for c in some_captures(city, step=1))

    assert passers(0.0) == 0 < passers(1.0) < passers(3.0)

    def warmth(role: str, shift: float) -> float:
        tints = np.array([day_of(seed, role, n, shift).tint for seed in range(60) for n in range(3)])
        return float((tints[:, 0] - tints[:, 2]).mean())

    assert warmth(QUERY, 1.0) < warmth(TRAIN, 1.0) - 0.08
    assert abs(warmth(QUERY, 0.0) - warmth(TRAIN, 0.0)) < 0.02
    assert warmth(PRETRAIN, 1.0) == pytest.approx(warmth(TRAIN, 1.0), abs=0.02)
