"""A city on a street map: its lines and sub-streets, and houses, trees and landmarks drawn from the seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ial_bench.errors import DataError
from ial_bench.seeds import generator
from ial_bench.synth.ground import (
    KERB,
    PAVEMENT,
    SIDE_M,
    VERGE,
    YARDS,
    LineStyles,
    MapGround,
    Segments,
    cells_near,
    dress_lines,
)
from ial_bench.synth.houses import Row, Site, build_landmarks, build_rows, draw_quarter
from ial_bench.synth.layout import BLOCKS_PER_LANDMARK, City, hills_of, one_side, with_things
from ial_bench.synth.options import CityOptions
from ial_bench.synth.scene import Boxes, Buckets, Floats, Ints, Props, joined, left_of, rows_of
from ial_bench.synth.street_map import MappedStreets, StreetMap, Survey, read_map
from ial_bench.synth.sub_streets import (
    BLOCKS_PER_NEIGHBOURHOOD,
    MIN_WALK_M,
    Course,
    MapSubStreets,
    meeting,
    nearest_site,
    on_line,
)

_EDGE_M = 60.0  # of open ground around the outermost streets
_SUB_STREETS_PER_BLOCK = 2  # of a grid
_SUB_STREETS_PER_PART = _SUB_STREETS_PER_BLOCK * BLOCKS_PER_NEIGHBOURHOOD
_NOTHING = Buckets(np.zeros((0, 2)))


def lay_map(options: CityOptions, street_map: StreetMap, say: Callable[[str], object] = lambda _: None) -> City:
    """The city of a street map. Of the options it depends on the seed, the lot variation and the crossings alone.

    Args:
        options: `blocks` counts for nothing.
        street_map: the map, and what to take of it.
        say: told each step, and what is worth knowing.

    Raises:
        DataError: the map cannot be used.
        ConfigError: an extra is not installed.
    """
    source = street_map.to_json()
    mapped = read_map(street_map, say)
    for note in mapped.notes:
        say(f"note: {note}")
    seed, edges = options.seed, mapped.edges
    points = np.concatenate([e.metres for e in edges])
    corner = points.min(axis=0) - _EDGE_M
    keys = sorted({e.key for e in edges})
    number = {key: i for i, key in enumerate(keys)}
    dressed = dress_lines(generator("synth-city", seed, "map streets"), len(keys))
    lines = [number[e.key] for e in edges]
    segments = Segments.of(edges, lines, corner)
    size = points.max(axis=0) + _EDGE_M - corner
    shape = (int(np.ceil(size[0] / SIDE_M)), int(np.ceil(size[1] / SIDE_M)))
    starts, near = cells_near(segments, dressed.half, shape)

    everything = [s for of in mapped.subs for s in of] + list(mapped.rim)
    middles = np.array([s.pieces[0].metres[len(s.pieces[0].metres) // 2] - corner for s in everything])
    areas = _parts(seed, [mapped.areas(s) for s in everything], middles)
    n_areas = int(areas.max()) + 1
    rng = generator("synth-city", seed, "map yards")
    ground = MapGround(
        np.array([0.0, size[0]]), np.array([0.0, size[1]]), dressed.half, dressed.road_half, dressed.profile,
        dressed.colours, YARDS[rng.integers(len(YARDS), size=n_areas)].astype(np.float32), segments, starts, near,
        _nearest_area(shape, middles, areas),
    )  # fmt: skip
    say(f"laying out {len(mapped.subs):,} sub-streets")
    subs, kept = _sub_streets(mapped, number, ground, corner, options, say)

    rows = [
        Row(p.metres - corner, number[s.street.key], i, int(areas[i]))
        for i, s in enumerate(everything)
        for p in s.pieces
        if not p.inside
    ]
    site = Site(edges, dressed.half[lines], corner)
    boxes = _houses(options, rows, site, dressed.half, dressed.styles, middles, areas, n_areas, len(kept))
    survey = Survey(
        source, f"Drawn on {street_map.path.name}, seed {seed} ({len(kept)} sub-streets)",
        street_map.licence, mapped.network.origin, corner,
        [[line for s in mapped.subs[i] for line in s.lines] for i in kept],
    )  # fmt: skip
    city = City(
        options, ground, dressed.styles, subs, boxes, Props.none(), _NOTHING, _NOTHING, np.zeros(0, dtype=np.int64),
        *hills_of(seed), survey,
    )  # fmt: skip
    return with_things(city, boxes, _furniture(seed, rows, ground, dressed.styles))


def _parts(seed: int, names: Sequence[str], middles: Floats) -> Ints:
    """[n]: the part of town of each sub-street, of one neighbourhood and about as large as those of a drawn city.

    A real neighbourhood may have hundreds of sub-streets, and a map without any has one: they would look alike.
    """
    parts, first = np.zeros(len(names), dtype=np.int64), 0
    for name in sorted(set(names)):
        own = np.flatnonzero(np.array(names) == name)
        rng = generator("synth-city", seed, "map parts", name)
        n = max(1, round(len(own) / _SUB_STREETS_PER_PART))
        sites = middles[rng.choice(own, size=n, replace=False)]
        parts[own] = first + nearest_site(middles[own], sites)
        first += n
    return np.unique(parts, return_inverse=True)[1].astype(np.int64)  # two of one middle leave a part without any


def _nearest_area(shape: tuple[int, ...], middles: Floats, areas: Ints) -> np.ndarray:
    """int16 of `shape`: the part of town of the sub-street nearest to each cell."""
    from scipy.spatial import KDTree

    columns, rows = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    _, nearest = KDTree(middles).query((np.stack([columns, rows], axis=-1).reshape(-1, 2) + 0.5) * SIDE_M)
    return areas[nearest].reshape(shape).astype(np.int16)


def _sub_streets(
    mapped: MappedStreets, number: dict[str, int], ground: MapGround, corner: Floats, options: CityOptions,
    say: Callable[[str], object],
) -> tuple[MapSubStreets, list[int]]:  # fmt: skip
    """The sub-streets that have room for photos, and which of those mapped they are."""
    lines = [number[of[0].street.key] for of in mapped.subs]
    courses = [Course.of(of, line, ground, corner) for of, line in zip(mapped.subs, lines, strict=True)]
    kept = [i for i, c in enumerate(courses) if options.crossings == "keep" or c.clear_m >= MIN_WALK_M]
    if len(kept) < 2:
        raise DataError(
            f"{len(kept)} of {len(courses):,} sub-streets has room for photos clear of crossings",
            "give --crossings keep, or a map of longer streets",
        )
    if left := len(courses) - len(kept):
        say(f"note: {left:,} sub-streets have less than {MIN_WALK_M:g} m clear of other streets and are left out")
    courses = [courses[i] for i in kept]
    firsts = [c.lines[0] for c in courses]
    subs = MapSubStreets(
        np.array([lines[i] for i in kept], dtype=np.int64), np.array([f[0] for f in firsts]),
        np.array([f[-1] for f in firsts]), np.zeros((len(kept), 2)), [mapped.addresses[i] for i in kept],
        meeting(courses), courses,
    )  # fmt: skip
    return subs, kept


def _houses(
    options: CityOptions, rows: Sequence[Row], site: Site, half: Floats, lines: LineStyles, middles: Floats,
    areas: Ints, n_areas: int, n_subs: int,
) -> Boxes:  # fmt: skip
    rng = generator("synth-city", options.seed, "downtown")
    low, high = middles.min(axis=0), middles.max(axis=0)
    heart, reach = low + (high - low) * rng.uniform(0.35, 0.65, 2), 0.32 * max(float((high - low).mean()), 1.0)
    central = np.exp(-(((middles - heart) / reach) ** 2).sum(axis=1))
    quarters = [draw_quarter(options.seed, i, float(central[areas == i].mean())) for i in range(n_areas)]
    downtown = dict(enumerate(central.tolist()))
    tables = build_rows(
        options.seed, rows, site, half, lines.awning.tolist(), quarters, downtown, options.lot_variation
    )
    wanted = max(1, round(n_subs / _SUB_STREETS_PER_BLOCK / BLOCKS_PER_LANDMARK))
    tables += build_landmarks(options.seed, rows, site, half, wanted)
    if not tables:
        raise DataError("no house has room beside the streets of this map", "give a map of a larger part of the city")
    found: Boxes = joined(tables)
    return found


def _furniture(seed: int, rows: Sequence[Row], ground: MapGround, lines: LineStyles) -> Props:
    """Trees, lamps and banners along both sides, but for where another road runs."""
    tables = [Props.none()]
    for i, row in enumerate(rows):
        rng = generator("synth-city", seed, "map furniture", i)
        length = float(np.hypot(*np.diff(row.metres, axis=0).T).sum())
        for side in (-1, 1):
            for table in one_side(rng, 2.0, length - 2.0, row.line, lines):
                points, direction = on_line(row.metres, table.place[:, 0])
                place = points + side * (ground.road_half[row.line] + 0.9) * left_of(direction)
                tables.append(replace(table, place=place))
    found: Props = joined(tables)
    fits: Props = rows_of(found, np.isin(ground.at(found.place)[0], (KERB, VERGE, PAVEMENT)))
    return fits
