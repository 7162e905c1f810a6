"""A city from its seed: neighbourhoods, streets, block faces, lots, landmarks, trees, hills."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ial_bench.datasets.synth_city import styles
from ial_bench.datasets.synth_city.houses import build_block, build_landmark, draw_quarter
from ial_bench.datasets.synth_city.options import CityOptions
from ial_bench.datasets.synth_city.streets import FIELD, YARD, Ground, LineStyles, lay_grid
from ial_bench.datasets.synth_city.sub_streets import SubStreets, cut_sub_streets, nearest_site, neighbourhoods
from ial_bench.datasets.synth_city.survey import Survey
from ial_bench.datasets.synth_city.tables import Boxes, Buckets, Floats, Ints, Props, joined
from ial_bench.geo.points import Points
from ial_bench.geo.projections import from_local_m, utm_to_wgs84
from ial_bench.seeds import generator
from ial_bench.synth import styles
from ial_bench.synth.ground import FIELD, YARD, Ground, LineStyles, lay_grid
from ial_bench.synth.houses import build_block, build_landmark, draw_quarter
from ial_bench.synth.options import CityOptions
from ial_bench.synth.scene import Boxes, Buckets, Floats, Ints, Props, joined
from ial_bench.synth.street_map import Survey
from ial_bench.synth.sub_streets import SubStreets, cut_sub_streets, nearest_site, neighbourhoods

ANCHOR_M = (500_000.0, 4_400_000.0)
ANCHOR_ZONE = "25N"
"""Where x = y = 0 lies, UTM easting and northing: open ocean, so that no synthetic city passes for a real place."""
HILL_RING_M = 1_500.0
"""How far beyond the middle of the city the hills stand, on top of half the city's extent."""
N_HILLS = 256
BLOCKS_PER_LANDMARK = 5


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
        near_boxes, near_props: buckets over their places.
        landmarks: rows of `boxes` that are looked for at any distance.
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
    near_boxes: Buckets
    near_props: Buckets
    landmarks: Ints
    hills: Floats
    hill_colour: Floats
    survey: Survey | None = None

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
        return utm_to_wgs84(points + np.array(ANCHOR_M), ANCHOR_ZONE)

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


def make_layout(options: CityOptions) -> City:
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
    tables = []
    for i in range(rows * columns):
        tables += build_block(
            seed,
            i // columns,
            i % columns,
            ground,
            lines,
            styles_of[cells[i]],
            float(central[i]),
            options.lot_variation,
        )
    tables += _landmarks(seed, middles)
    boxes: Boxes = joined(tables)
    props = _street_furniture(seed, ground, lines)
    return with_things(
        City(
            options, ground, lines, cut_sub_streets(seed, ground, sites, quarters), boxes, props,
            Buckets(np.zeros((0, 2))), Buckets(np.zeros((0, 2))), np.zeros(0, dtype=np.int64), *hills_of(seed),
        ),
        boxes,
        props,
    )  # fmt: skip


def with_things(city: City, boxes: Boxes, props: Props) -> City:
    """`city` with other buildings and billboards, and the buckets that belong to them."""
    return replace(
        city, boxes=boxes, props=props, near_boxes=Buckets(boxes.centres), near_props=Buckets(props.place),
        landmarks=np.flatnonzero(boxes.kind < 0),
    )  # fmt: skip


def _landmarks(seed: int, middles: Floats) -> list[Boxes]:
    """A landmark in the yard of some blocks; each sort once before any comes again."""
    rng = generator("synth-city", seed, "landmarks")
    n = max(1, round(len(middles) / BLOCKS_PER_LANDMARK))
    blocks = rng.choice(len(middles), size=n, replace=False)
    sorts = np.concatenate([rng.permutation(len(styles.LANDMARKS)) for _ in range(n // len(styles.LANDMARKS) + 1)])
    return [
        build_landmark(int(sort), float(middles[block, 0]), float(middles[block, 1]), int(block))
        for sort, block in zip(sorts[:n], blocks, strict=True)
    ]


def hills_of(seed: int) -> tuple[Floats, Floats]:
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
                for table in one_side(rng, low, high, line, lines):
                    offset = centre + side * (ground.road_half[line] + 0.9)
                    along = table.place[:, 0]
                    across = np.full(len(along), offset)
                    place = np.stack([across, along] if along_y else [along, across], axis=1)
                    tables.append(replace(table, place=place))
    found: Props = joined(tables)
    return found


def one_side(rng: np.random.Generator, low: float, high: float, line: int, lines: LineStyles) -> list[Props]:
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
