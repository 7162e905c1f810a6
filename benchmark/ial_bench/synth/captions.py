"""Captions: what a photo shows, in plain words, and nothing that it does not show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ial_bench.seeds import generator
from ial_bench.synth import styles
from ial_bench.synth.captures import Capture
from ial_bench.synth.city import City
from ial_bench.synth.ground import KERB, LANE, MARK, ROAD, VERGE, ZEBRA
from ial_bench.synth.render import NOTHING, Seen
from ial_bench.synth.scene import AWNING, AWNING_2, ROOF, Ints

MAX_WORDS = 60
"""No caption is longer: alone it fits the 77 tokens of a CLIP text tower, and nearly always with an address too."""
_BUILDING_SHARE, _SMALL_SHARE, _ROAD_SHARE, _SKY_SHARE = 0.06, 0.004, 0.08, 0.06
_KEPT = 0.8  # of the phrases; the one on buildings always stays
_COLOUR_NAMES = list(styles.WALLS)
_SURFACES, _MARKINGS = list(styles.ASPHALT), list(styles.MARKINGS.values())
_OPENINGS = ("a street with", "a view of", "a street view of", "a city street with", "a photo of", "here are")


@dataclass(frozen=True)
class Fact:
    """One thing in view: what sort of thing, and the ways to say it."""

    sort: str
    wordings: tuple[str, ...]


def facts(city: City, capture: Capture, seen: Seen) -> list[Fact]:
    """All that a caption may say about a photo. Small things count from 0.4 % of its pixels, houses from 6 %."""
    open_wall = (seen.wall != NOTHING) & (seen.prop == NOTHING)
    return [
        *_buildings(city, seen, open_wall),
        *_landmarks(city, seen, open_wall),
        *_furniture(seen),
        *_road(city, seen),
        *_weather(capture, seen),
    ]


def caption(city: City, capture: Capture, seen: Seen) -> str:
    """The caption of a photo: some of its facts, in an order and in words drawn by the capture's own seed."""
    rng = generator("synth-city caption", capture.seed)
    found = facts(city, capture, seen)
    houses = [f for f in found if f.sort == "buildings"]
    others = [f for f in found if f.sort != "buildings" and rng.random() < _KEPT]
    order = [others[i] for i in rng.permutation(len(others))]
    lead = houses[:1] + [h for h in houses[1:] if rng.random() < _KEPT]
    said = [_say(rng, fact) for fact in (*lead, *order)]
    if not said:
        return "an empty view over open ground"
    opening = _OPENINGS[int(rng.integers(len(_OPENINGS)))]
    while len(f"{opening} {' '.join(said)}".split()) >= MAX_WORDS:  # one word is for the "and"
        said.pop()
    *first, last = said
    return f"{opening} {', '.join(first)} and {last}" if first else f"{opening} {last}"


def _say(rng: np.random.Generator, fact: Fact) -> str:
    return fact.wordings[int(rng.integers(len(fact.wordings)))]


def _buildings(city: City, seen: Seen, open_wall: np.ndarray) -> list[Fact]:
    """The one or two sorts of house that fill most of the photo, with storeys, colour, side; roofs and awnings."""
    boxes, pieces = city.boxes, seen.wall[open_wall]
    box = seen.walls.box[pieces]
    size = len(seen.camera.slopes)
    found: list[Fact] = []
    columns = np.nonzero(open_wall)[1]
    ordinary = boxes.kind[box] >= 0
    if not ordinary.any():
        return []
    sort = (boxes.kind[box] * 100 + boxes.storeys[box]) * 100 + boxes.name[box]
    kinds, counts = np.unique(sort[ordinary], return_counts=True)
    for i in np.argsort(-counts, kind="stable")[:2]:
        if counts[i] < _BUILDING_SHARE * size**2:
            continue
        of = ordinary & (sort == kinds[i])
        row = int(box[of][0])
        where = _where(columns[of], size)
        storeys, colour = spelled(int(boxes.storeys[row])), _COLOUR_NAMES[int(boxes.name[row])]
        one = len(np.unique(box[of])) == 1
        word = styles.KINDS[int(boxes.kind[row])].word
        word = word[:-1] if one else word
        article, tinted = (_article(storeys), _article(colour)) if one else ("", "")
        found.append(
            Fact(
                "buildings",
                (
                    f"{article}{storeys}-storey {colour} {word} {where}",
                    f"{tinted}{colour} {word} of {storeys} {'storey' if storeys == 'one' else 'storeys'} {where}",
                    f"{tinted}{colour} {word} {where}",
                ),
            )
        )
    material = seen.material[open_wall]
    if ((material == AWNING) | (material == AWNING_2)).sum() >= 2 * _SMALL_SHARE * size**2:
        found.append(Fact("awnings", ("striped awnings", "awnings over the shops", "shops with striped awnings")))
    roofed = (material == ROOF) & ordinary
    if roofed.sum() >= 5 * _SMALL_SHARE * size**2:
        found.append(Fact("roofs", ("sloping roofs", "tiled roofs")))
    return found


def spelled(number: int) -> str:
    """A small number in words, another in digits."""
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    return words[number] if 0 <= number < len(words) else str(number)


def _article(word: str) -> str:
    return "an " if word[0] in "aeiou" and not word.startswith("one") else "a "


def _where(columns: Ints, size: int) -> str:
    middle = float(columns.mean()) / size
    return "on the left" if middle < 0.4 else "on the right" if middle > 0.6 else "ahead"


def _landmarks(city: City, seen: Seen, open_wall: np.ndarray) -> list[Fact]:
    box = seen.walls.box[seen.wall[open_wall]]
    rows, counts = np.unique(box[city.boxes.kind[box] < 0], return_counts=True)
    names = {
        styles.LANDMARKS[int(city.boxes.name[row])].word
        for row, count in zip(rows, counts, strict=True)
        if count >= 0.75 * _SMALL_SHARE * len(seen.camera.slopes) ** 2
    }
    return [Fact("landmark", (f"{n} in the distance", f"{n} above the roofs", n)) for n in sorted(names)]


def _furniture(seen: Seen) -> list[Fact]:
    """Trees by species, lamps, banners, cars, people."""
    rows, counts = np.unique(seen.prop[seen.prop != NOTHING], return_counts=True)
    shape, name = seen.props.shape[rows], seen.props.name[rows]
    least = _SMALL_SHARE * len(seen.camera.slopes) ** 2
    found = []
    trees = np.isin(shape, (styles.ROUND, styles.CONIFER, styles.PALM, styles.POPLAR))
    for species in np.unique(name[trees]):
        of = trees & (name == species)
        if counts[of].sum() >= 2 * least:
            word = styles.TREES[int(species)].word
            lone = int(of.sum()) == 1
            single = _article(word) + (word[:-2] if word.endswith("ches") else word[:-1])
            found.append(Fact("trees", (single,) if lone else (word, f"a row of {word}", f"{word} along the pavement")))
    for sort, shapes, factor, one, many in (
        ("lamps", (styles.GLOBE, styles.ARM, styles.TWIN), 0.75, ("a street lamp", "a lamp post"), ("street lamps",)),
        ("banners", (styles.BANNER,), 0.75, ("a banner",), ("banners on the lamp posts", "banners")),
        ("cars", (styles.CAR_SIDE, styles.CAR_END), 1.5, ("a car",), ("cars", "some cars")),
        ("people", (styles.PERSON,), 1.0, ("a person",), ("people", "people walking")),
    ):
        of = np.isin(shape, shapes) & (counts >= 0.25 * factor * least)
        if counts[of].sum() >= factor * least:
            found.append(Fact(sort, one if int(of.sum()) == 1 else many))
    return found


def _road(city: City, seen: Seen) -> list[Fact]:
    """The road that fills most of the ground, with what is painted on it; verges and zebra crossings."""
    size = len(seen.camera.slopes)
    open_ground = (seen.ground != NOTHING) & (seen.prop == NOTHING)
    code, line = seen.ground[open_ground], seen.line[open_ground]
    road = np.isin(code, (ROAD, MARK, LANE))
    found = []
    if road.sum() >= _ROAD_SHARE * size**2:
        main = int(np.bincount(line[road]).argmax())
        half = float(city.ground.road_half[main])
        width = "wide " if half > 5 else "narrow " if half < 4 else ""
        surface = _SURFACES[int(city.lines.surface[main])]
        plain = f"{_article(width or surface)}{width}{surface} road"
        painted = (np.isin(code, (MARK, LANE)) & (line == main)).sum() >= 2 * _SMALL_SHARE * size**2
        marking = _MARKINGS[int(city.lines.marking[main])]
        found.append(Fact("road", (plain, f"{plain} with {marking}") if painted and marking else (plain,)))
    if (code == ZEBRA).sum() >= 4 * _SMALL_SHARE * size**2:
        found.append(Fact("crossing", ("a zebra crossing", "a pedestrian crossing")))
    if (code == VERGE).sum() >= 5 * _SMALL_SHARE * size**2:
        found.append(Fact("verge", ("a grass verge", "strips of grass")))
    kerb = code == KERB
    if kerb.sum() >= 2.5 * _SMALL_SHARE * size**2:
        red, green, blue = city.ground.colours[int(np.bincount(line[kerb]).argmax()), KERB]
        if red > 1.25 * blue:  # grey and white kerbs are nothing to speak of
            found.append(Fact("kerb", ("red kerbs",) if green < 0.5 * red else ("yellow kerbs",)))
    return found


def _weather(capture: Capture, seen: Seen) -> list[Fact]:
    sky = np.isinf(seen.depth) & (seen.prop == NOTHING)
    if sky.mean() < _SKY_SHARE:
        return []
    cloud = capture.day.cloud
    if cloud > 0.7:
        return [Fact("sky", ("an overcast sky", "a grey sky"))]
    return [Fact("sky", ("a clear sky", "a blue sky") if cloud < 0.35 else ("a sky with some clouds",))]
