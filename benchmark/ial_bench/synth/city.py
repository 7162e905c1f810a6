"""A city from its seed: neighbourhoods, streets, houses, landmarks, trees, hills; on a drawn grid or a street map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ial_bench.errors import DataError
from ial_bench.geo.points import Points
from ial_bench.geo.projections import from_local_m, utm_to_wgs84
from ial_bench.seeds import generator
from ial_bench.synth import styles
from ial_bench.synth.ground import (
    FIELD,
    KERB,
    PAVEMENT,
    SIDE_M,
    VERGE,
    YARD,
    YARDS,
    Ground,
    LineStyles,
    MapGround,
    Segments,
    cells_near,
    dress_lines,
    lay_grid,
)
from ial_bench.synth.houses import (
    Row,
    Site,
    build_block,
    build_landmark,
    build_landmarks,
    build_rows,
    draw_quarter,
)
from ial_bench.synth.options import CityOptions
from ial_bench.synth.scene import Boxes, Buckets, Floats, Ints, Props, joined, left_of, rows_of
from ial_bench.synth.street_map import StreetMap, Survey, read_map
from ial_bench.synth.sub_streets import (
    BLOCKS_PER_NEIGHBOURHOOD,
    SubStreets,
    cut_sub_streets,
    nearest_site,
    neighbourhoods,
    on_line,
    sub_streets_of,
)

_ANCHOR_M = (500_000.0, 4_400_000.0)
_ANCHOR_ZONE = "25N"
"""Where x = y = 0 lies, UTM easting and northing: open ocean, so that no synthetic city passes for a real place."""
HILL_RING_M = 1_500.0
"""How far beyond the middle of the city the hills stand, on top of half the city's extent."""
N_HILLS = 256
_BLOCKS_PER_LANDMARK = 5
_EDGE_M = 60.0  # of open ground around the outermost streets of a map
_SUB_STREETS_PER_BLOCK = 2  # of a grid
_SUB_STREETS_PER_PART = _SUB_STREETS_PER_BLOCK * BLOCKS_PER_NEIGHBOURHOOD


@dataclass(frozen=True)
class City:
    """All that can be seen in a city, apart from what a capture brings: cars, people, light.

    Attributes:
        options: what it was made from.
        ground: the ground plane and the street grid.
        lines: what the streets have.
        sub_streets: what photos are labelled with.
        boxes: buildings and landmarks.
        props: trees, lamps, banners.
        hills: [N_HILLS], metres, height of the skyline around the city, clockwise from north.
        hill_colour: [3], 0..1.
        survey: the street map it is drawn on; None where the streets are drawn too.
    """

    options: CityOptions
    ground: Ground
    lines: LineStyles
    sub_streets: SubStreets
    boxes: Boxes
    props: Props
    hills: Floats
    hill_colour: Floats
    survey: Survey | None = None

    @cached_property
    def near_boxes(self) -> Buckets:
        """Finds the `boxes` around a place."""
        return Buckets(self.boxes.centres)

    @cached_property
    def near_props(self) -> Buckets:
        """Finds the `props` around a place."""
        return Buckets(self.props.place)

    @cached_property
    def landmarks(self) -> Ints:
        """Rows of `boxes` that are looked for at any distance."""
        return np.flatnonzero(self.boxes.kind < 0)

    @property
    def n_photos(self) -> int:
        """Photos of all splits."""
        return len(self.sub_streets) * self.options.photos_each

    @property
    def middle(self) -> Floats:
        """[2]: the middle of the city, metres."""
        return np.array([self.ground.xs[-1], self.ground.ys[-1]]) / 2

    def positions(self, points: Floats) -> Points:
        """[n, 2] metres to [n, 2] WGS84 degrees."""
        if self.survey is not None:
            return from_local_m(points + self.survey.corner, self.survey.origin)
        return utm_to_wgs84(points + np.array(_ANCHOR_M), _ANCHOR_ZONE)

    def is_street(self, points: Floats) -> npt.NDArray[np.bool_]:
        """[n]: whether cars and people can be there; streets that are drawn run straight on."""
        if self.survey is None:
            return np.ones(len(points), dtype=bool)
        return ~np.isin(self.ground.at(points)[0], (YARD, FIELD))

    def landmarks_around(self, point: Floats) -> Ints:
        """Those of `landmarks` that are looked for from a point: all, but in a city as large as real ones are."""
        if self.survey is None:
            return self.landmarks
        away = np.linalg.norm(self.boxes.centres[self.landmarks] - point, axis=1)
        return np.asarray(self.landmarks[away < HILL_RING_M])


def plan_city(options: CityOptions) -> City:
    """The city of `options`. Depends on the seed, the blocks and the lot variation alone."""
    seed, (rows, columns) = options.seed, options.blocks
    ground, lines = lay_grid(seed, rows, columns)
    sites, quarters = neighbourhoods(seed, rows, columns, ground)
    size = np.array([ground.xs[-1], ground.ys[-1]])
    rng = generator("synth-city", seed, "downtown")
    heart, reach = size * rng.uniform(0.35, 0.65, 2), 0.32 * float(size.mean())

    def downtown(points: Floats) -> Floats:
        return np.asarray(np.exp(-(((points - heart) / reach) ** 2).sum(axis=-1)))

    styles_of = [draw_quarter(seed, i, float(d)) for i, d in enumerate(downtown(sites))]
    middles = np.array(
        [
            ((ground.xs[c] + ground.xs[c + 1]) / 2, (ground.ys[r] + ground.ys[r + 1]) / 2)
            for r in range(rows)
            for c in range(columns)
        ]
    )
    cells, central = nearest_site(middles, sites), downtown(middles)
    tables = [
        table
        for i in range(rows * columns)
        for table in build_block(
            seed, *divmod(i, columns), ground, lines, styles_of[cells[i]], float(central[i]), options.lot_variation
        )
    ]
    boxes: Boxes = joined(tables + _landmarks(seed, middles))
    subs = cut_sub_streets(seed, ground, sites, quarters)
    return City(options, ground, lines, subs, boxes, _street_furniture(seed, ground, lines), *_hills(seed))


def _landmarks(seed: int, middles: Floats) -> list[Boxes]:
    """A landmark in the yard of some blocks; each sort once before any comes again."""
    rng = generator("synth-city", seed, "landmarks")
    n = max(1, round(len(middles) / _BLOCKS_PER_LANDMARK))
    blocks = rng.choice(len(middles), size=n, replace=False)
    sorts = np.concatenate([rng.permutation(len(styles.LANDMARKS)) for _ in range(n // len(styles.LANDMARKS) + 1)])
    return [
        build_landmark(int(sort), float(middles[block, 0]), float(middles[block, 1]), int(block))
        for sort, block in zip(sorts[:n], blocks, strict=True)
    ]


def _hills(seed: int) -> tuple[Floats, Floats]:
    """Heights and colour, as in `City`."""
    rng = generator("synth-city", seed, "hills")
    around = np.arange(N_HILLS) * 2 * np.pi / N_HILLS
    waves = sum(
        rng.uniform(0.4, 1.0) / k**0.7 * np.cos(k * around + rng.uniform(0, 2 * np.pi)) for k in (1, 2, 3, 5, 8, 13)
    )
    heights: Floats = np.maximum(np.asarray(waves) + 0.2, 0.05) * 75.0
    colours = np.array([(96, 120, 96), (112, 120, 92), (90, 110, 124), (124, 112, 100)]) / 255
    return heights, colours[int(rng.integers(len(colours)))]


def _street_furniture(seed: int, ground: Ground, lines: LineStyles) -> Props:
    tables = [Props.none()]
    n_avenues = len(ground.xs)
    for line in range(n_avenues + len(ground.ys)):
        rng = generator("synth-city", seed, "furniture", line)
        along_y = line < n_avenues
        centre = ground.xs[line] if along_y else ground.ys[line - n_avenues]
        crossing_at, crossing_half = (
            (ground.ys, ground.half[n_avenues:]) if along_y else (ground.xs, ground.half[:n_avenues])
        )
        for piece in range(len(crossing_at) - 1):
            low = crossing_at[piece] + crossing_half[piece] + 2.0
            high = crossing_at[piece + 1] - crossing_half[piece + 1] - 2.0
            for side in (-1, 1):
                for table in _one_side(rng, low, high, line, lines):
                    offset = centre + side * (ground.road_half[line] + 0.9)
                    along = table.place[:, 0]
                    across = np.full(len(along), offset)
                    place = np.stack([across, along] if along_y else [along, across], axis=1)
                    tables.append(replace(table, place=place))
    found: Props = joined(tables)
    return found


def _one_side(rng: np.random.Generator, low: float, high: float, line: int, lines: LineStyles) -> list[Props]:
    """Trees, lamps and banners of one side of a piece; column 0 of their places is metres along the street."""
    tables = []
    if lines.tree[line] >= 0:
        species = int(lines.tree[line])
        tree = styles.TREES[species]
        at = np.arange(low + rng.uniform(0, 4), high, lines.tree_gap[line])
        at = at[rng.random(len(at)) < 0.92] + rng.normal(0, 0.3)
        grown = rng.uniform(0.8, 1.2, len(at))
        colours = np.array([styles.TRUNK, tree.crown, tree.shade, tree.crown])
        tables.append(_props(at, tree.shape, 0.0, tree.width * grown, tree.height * grown, colours, species))
    at = np.arange(low + rng.uniform(2, 8), high, lines.lamp_gap[line])
    metal = styles.LAMPS[int(lines.lamp_colour[line])]
    colours = np.array([metal, styles.LAMP_GLOW, metal, metal])
    shape = int(lines.lamp[line])
    width = {styles.GLOBE: 0.8, styles.ARM: 2.2, styles.TWIN: 3.0}[shape]
    height = {styles.GLOBE: 4.2, styles.ARM: 7.0, styles.TWIN: 6.4}[shape]
    tables.append(_props(at, shape, 0.0, np.full(len(at), width), np.full(len(at), height), colours, 0))
    if lines.banner[line] >= 0:
        colours = np.repeat(np.array([styles.BANNERS[int(lines.banner[line])]]), 4, axis=0)
        colours[1] = (240, 240, 236)
        tables.append(_props(at, styles.BANNER, 2.3, np.full(len(at), 1.0), np.full(len(at), 1.7), colours, 0))
    return tables


def _props(at: Floats, shape: int, base: float, width: Floats, height: Floats, colours: Ints, name: int) -> Props:
    n = len(at)
    tints = np.repeat((colours / 255).astype(np.float32)[None], n, axis=0)
    return Props(
        np.stack([at, at], axis=1), np.full(n, base), width, height, np.full(n, shape), tints, np.full(n, name)
    )


def lay_map(options: CityOptions, street_map: StreetMap, say: Callable[[str], object] = lambda _: None) -> City:
    """The city of a street map. Of the options it depends on the seed, the lot variation and the crossings alone.

    Args:
        options: `blocks` is not used.
        street_map: the map, and what to take of it.
        say: called with a line for the user at each step, and for each thing worth knowing.

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
    clear = options.crossings == "exclude"
    subs, kept = sub_streets_of(mapped, number, ground, corner, clear=clear, say=say)

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
    return City(
        options, ground, dressed.styles, subs, boxes, _furniture(seed, rows, ground, dressed.styles), *_hills(seed),
        survey,
    )  # fmt: skip


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
    wanted = max(1, round(n_subs / _SUB_STREETS_PER_BLOCK / _BLOCKS_PER_LANDMARK))
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
            for table in _one_side(rng, 2.0, length - 2.0, row.line, lines):
                points, direction = on_line(row.metres, table.place[:, 0])
                place = points + side * (ground.road_half[row.line] + 0.9) * left_of(direction)
                tables.append(replace(table, place=place))
    found: Props = joined(tables)
    fits: Props = rows_of(found, np.isin(ground.at(found.place)[0], (KERB, VERGE, PAVEMENT)))
    return fits
