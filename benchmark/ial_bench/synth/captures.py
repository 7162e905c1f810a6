"""Where, when and how each photo is taken: places, days, headings, cars and people.

Every draw comes from a generator whose axes name the role of the photo (train, query, pretrain), its place and
its view, so that train photos, queries and pretraining photos never share one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ial_bench.seeds import derive_seed, generator
from ial_bench.synth import styles
from ial_bench.synth.city import City
from ial_bench.synth.scene import Floats, Props, rows_of

TRAIN, QUERY, PRETRAIN = "train", "query", "pretrain"
ROLES = (TRAIN, QUERY, PRETRAIN)
_N_DAYS = {TRAIN: 4, QUERY: 3, PRETRAIN: 4}
_APART_M = 1.5
"""The least distance of a query place from every train place."""
_TRIES = 200


@dataclass(frozen=True)
class Day:
    """The light of a day.

    Attributes:
        sun: [3], unit vector towards the sun: east, north, up.
        direct: strength of the sun's light.
        ambient: strength of the sky's light.
        cloud: share of the sky under cloud.
        haze_m: distance at which haze has taken all but 1/e of the contrast.
        tint: [3], colour of the light.
        zenith: [3], colour of the sky overhead, 0..1.
        horizon: [3], colour of the sky at the horizon.
    """

    sun: Floats
    direct: float
    ambient: float
    cloud: float
    haze_m: float
    tint: Floats
    zenith: Floats
    horizon: Floats


@dataclass(frozen=True)
class Capture:
    """One photo to be taken.

    Attributes:
        x, y: metres.
        heading: degrees clockwise from north.
        camera_m: height of the camera above the ground.
        pitch: how far the horizon is moved down from the middle, as a share of the photo's height. The sensor is
            shifted, not tilted, so that upright lines stay upright.
        fov: angle of view, degrees.
        day: the light.
        exposure: gain.
        noise: standard deviation of the sensor's noise, 0..1 scale.
        passers: cars and people.
        seed: of noise and of the caption's wording.
    """

    x: float
    y: float
    heading: float
    camera_m: float
    pitch: float
    fov: float
    day: Day
    exposure: float
    noise: float
    passers: Props
    seed: int


@dataclass(frozen=True)
class Place:
    """One visit: a position on a sub-street, and the day.

    Attributes:
        role: train, query or pretrain.
        sub_street: its number.
        number: of the place on its sub-street.
        x, y: metres.
        day: number of the day among those of its role.
    """

    role: str
    sub_street: int
    number: int
    x: float
    y: float
    day: int

    @property
    def place_id(self) -> str:
        """Unique in the city."""
        return f"{self.role}-{self.sub_street:05d}-{self.number:03d}"


def _generator(city: City, place: Place, view: int) -> np.random.Generator:
    """Of one view of a place; view -1 is for where it lies, -2 for where its first view looks."""
    return generator("synth-city", city.options.seed, place.role, place.place_id, view)


@lru_cache(maxsize=256)
def day_of(city_seed: int, role: str, number: int, shift: float) -> Day:
    """Day `number` of a role. Query days are drawn around other light, the further off the larger `shift`."""
    rng = generator("synth-city", city_seed, role, "day", number)
    away = shift if role == QUERY else 0.0
    cloud = float(np.clip(rng.beta(1.2, 1.2) - 0.25 * away, 0, 1))
    azimuth = rng.uniform(0, 2 * np.pi)
    elevation = np.radians(np.clip(rng.uniform(22, 52) + 8 * away, 10, 75))
    warmth = rng.normal(0.03, 0.03) - 0.07 * away
    grey, blue = np.array([0.72, 0.73, 0.75]), np.array([0.36, 0.56, 0.86])
    pale = np.array([0.86, 0.89, 0.93])
    tint = np.clip(np.array([1 + warmth, 1 + 0.2 * warmth, 1 - warmth]), 0.75, 1.25)
    zenith = (1 - cloud) * blue + cloud * grey * 0.9
    return Day(
        sun=np.array([np.sin(azimuth) * np.cos(elevation), np.cos(azimuth) * np.cos(elevation), np.sin(elevation)]),
        direct=float(0.62 * (1 - 0.85 * cloud)), ambient=float(0.58 + 0.18 * cloud), cloud=cloud,
        haze_m=float(np.exp(rng.uniform(np.log(260), np.log(900)) + 0.25 * away)), tint=tint,
        zenith=zenith * tint, horizon=((1 - 0.6 * cloud) * pale + 0.6 * cloud * grey) * tint,
    )  # fmt: skip


def places_of(city: City, sub_street: int, role: str, n: int | None = None) -> list[Place]:
    """The places of a role on a sub-street.

    Args:
        city: the city.
        sub_street: which.
        role: train, query or pretrain.
        n: how many; by default what the city's options say (pretrain: as train). Train places are all
            planned; `shots_of` has those that were visited.
    """
    options = city.options
    count = n or (options.query_places if role == QUERY else options.train_places)
    taken = np.array([(p.x, p.y) for p in places_of(city, sub_street, TRAIN)]) if role == QUERY else np.zeros((0, 2))
    return [_place(city, sub_street, role, number, count, taken) for number in range(count)]


def _place(city: City, sub_street: int, role: str, number: int, count: int, taken: Floats) -> Place:
    place = Place(role, sub_street, number, 0.0, 0.0, 0)
    rng = _generator(city, place, -1)
    subs = city.sub_streets
    walk = subs.walk(sub_street, clear=city.options.crossings == "exclude")
    wide = min(0.75 * float(city.ground.road_half[subs.line[sub_street]]), subs.wander_m)
    best, best_gap = np.zeros(2), -1.0
    for _ in range(_TRIES):
        share = (number + rng.random()) / count if role == TRAIN else rng.random()
        at = walk(share, rng.uniform(-wide, wide))
        gap = float(np.linalg.norm(taken - at, axis=1).min(initial=np.inf))
        if gap > best_gap:
            best, best_gap = at, gap
        if gap >= _APART_M:
            break
    return Place(role, sub_street, number, float(best[0]), float(best[1]), int(rng.integers(_N_DAYS[role])))


@dataclass(frozen=True)
class Shot:
    """A photo that the dataset will hold: its id, and the place and view it is of."""

    photo_id: str
    place: Place
    view: int


def shots_of(city: City, sub_street: int) -> list[Shot]:
    """The photos of a sub-street, train before query; without rendering any."""
    options = city.options
    order = generator("synth-city", options.seed, "coverage", sub_street).permutation(options.train_places)
    visited = set(order[: options.covered_places].tolist())  # less coverage visits some of the same places
    return [
        Shot(f"{role}/{sub_street:05d}/{place.number:03d}_{view:02d}", place, view)
        for role, views in ((TRAIN, options.train_views), (QUERY, options.query_views))
        for place in places_of(city, sub_street, role)
        if role == QUERY or place.number in visited
        for view in range(views)
    ]


def captures_of(city: City, place: Place, views: int) -> Iterator[Capture]:
    """The photos of a place: headings all round from a random start, each with its own traffic and camera."""
    options = city.options
    first = _generator(city, place, -2).uniform(0, 360)
    for view in range(views):
        rng = _generator(city, place, view)
        yield Capture(
            x=place.x, y=place.y, heading=float((first + 360 * (view + rng.uniform(-0.3, 0.3)) / views) % 360),
            camera_m=float(rng.uniform(1.5, 2.5)), pitch=float(rng.normal(0.06, 0.04)),
            fov=float(rng.uniform(70, 82)), day=day_of(options.seed, place.role, place.day, options.day_shift),
            exposure=float(np.exp(rng.normal(0, 0.08))), noise=float(rng.uniform(0.004, 0.016)),
            passers=_passers(rng, city, place, options.occluders),
            seed=derive_seed("synth-city", options.seed, place.role, place.place_id, view),
        )  # fmt: skip


def _passers(rng: np.random.Generator, city: City, place: Place, occluders: float) -> Props:
    """Cars and people on the sub-street around a place."""
    subs, ground = city.sub_streets, city.ground
    line = int(subs.line[place.sub_street])
    road, half = float(ground.road_half[line]), float(ground.half[line])
    n_parked, n_driven, n_people = rng.poisson(np.array([5.0, 1.6, 5.0]) * occluders)
    n = n_parked + n_driven + n_people
    far = rng.uniform(5, 60, n) * rng.choice([-1, 1], n)
    far[n_parked + n_driven :] *= 0.6
    side = rng.choice([-1.0, 1.0], n)
    lateral = np.concatenate(
        [np.full(n_parked, road - 1.0), np.full(n_driven, 0.45 * road), rng.uniform(road + 0.6, half - 0.3, n_people)]
    )
    at, across = subs.beside(place.sub_street, np.array([place.x, place.y]), far, side * lateral)
    keep = (np.linalg.norm(at - np.array([place.x, place.y]), axis=1) > 4.0) & city.is_street(at)
    gaze = at - np.array([place.x, place.y])
    gaze /= np.maximum(np.linalg.norm(gaze, axis=1, keepdims=True), 1e-9)
    sideways = np.abs((gaze * across).sum(axis=1))  # 1: the car is seen from its side
    person = np.arange(n) >= n_parked + n_driven
    seen_from_side = sideways > 0.45
    width = np.where(
        person, rng.uniform(0.5, 0.65, n), 4.3 * sideways + 1.8 * np.sqrt(1 - np.minimum(sideways, 1) ** 2)
    )
    shape = np.where(person, styles.PERSON, np.where(seen_from_side, styles.CAR_SIDE, styles.CAR_END))
    paint = np.array(styles.CARS)[rng.integers(len(styles.CARS), size=n)]
    shirt = np.array(styles.CLOTHES)[rng.integers(len(styles.CLOTHES), size=n)]
    legs = np.array(styles.TROUSERS)[rng.integers(len(styles.TROUSERS), size=n)]
    skin = np.array(styles.SKIN)[rng.integers(len(styles.SKIN), size=n)]
    colours = np.empty((n, 4, 3), np.float32)
    mine = person[:, None]
    colours[:, 0] = np.where(mine, shirt, paint)
    colours[:, 1] = np.where(mine, legs, (58, 72, 88))
    colours[:, 2] = np.where(mine, skin, (28, 28, 30))
    colours[:, 3] = np.where(mine, (40, 30, 26), (236, 226, 190))
    height = np.where(person, rng.uniform(1.5, 1.9, n), rng.uniform(1.4, 1.8, n))
    passers = Props(
        at, np.zeros(n), width, height, shape.astype(np.int64), (colours / 255).astype(np.float32),
        np.zeros(n, dtype=np.int64),
    )  # fmt: skip
    kept: Props = rows_of(passers, keep)
    return kept
