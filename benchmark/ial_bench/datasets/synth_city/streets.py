"""The street grid: names, widths, what lies across each street, sub-streets and their addresses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ial_bench.addresses import Address
from ial_bench.datasets.synth_city import styles
from ial_bench.datasets.synth_city.names import line_names, neighbourhood_names
from ial_bench.datasets.synth_city.tables import Colours, Floats, Ints
from ial_bench.seeds import generator

ROAD, MARK, DASH, LANE, KERB, VERGE, PAVEMENT, ZEBRA, YARD, FIELD = range(10)
"""What the ground is made of. DASH turns into MARK or ROAD by the metre."""
N_GROUND = 10
CELL_M = 0.1
"""Width of a cell of the lateral profiles."""
DASH_M, DASH_SHARE = 8.0, 0.45
ZEBRA_M, ZEBRA_BAR_M = 2.6, 1.0
_PROFILE_CELLS = 160
_BLOCKS_PER_NEIGHBOURHOOD = 6
_FIELD = (116, 142, 84)
YARDS = np.array([(120, 140, 92), (150, 144, 132), (104, 128, 80), (132, 124, 112)]) / 255
"""Colours of the ground behind the houses."""


@dataclass(frozen=True)
class Ground:
    """The ground plane: straight streets, each with one lateral profile all along, and yards between them.

    Rather than one raster of the whole city, each street has a raster of its half cross-section in 0.1 m cells:
    exact at any picture size, and small for a city of any size.

    Attributes:
        xs: [columns + 1], centre lines of the avenues, metres, from west to east.
        ys: [rows + 1], centre lines of the streets, from south to north.
        half: [n_lines] from the centre line to the lots; avenues first, then streets.
        road_half: [n_lines] from the centre line to the kerb.
        profile: uint8 [n_lines, cells], what lies so far from the centre line.
        colours: float32 [n_lines, N_GROUND, 3].
        yards: float32 [rows * columns, 3].
    """

    xs: Floats
    ys: Floats
    half: Floats
    road_half: Floats
    profile: npt.NDArray[np.uint8]
    colours: Colours
    yards: Colours

    def at(self, points: Floats) -> tuple[Ints, Ints]:
        """[n], [n]: what lies at [n, 2] metres, and the line whose colours it has (for a yard, the block)."""
        return ground_at(self, points)


@dataclass(frozen=True)
class LineStyles:
    """What the streets have: rows of the lists in `styles`, one a line; -1 for none.

    Attributes:
        surface, marking: of the road.
        tree, tree_gap: species, and metres from tree to tree.
        lamp, lamp_colour, lamp_gap: shape, colour, metres from lamp to lamp.
        banner: its colour.
        awning: its colours; shops of the street have such awnings.
    """

    surface: Ints
    marking: Ints
    tree: Ints
    tree_gap: Floats
    lamp: Ints
    lamp_colour: Ints
    lamp_gap: Floats
    banner: Ints
    awning: Ints


@dataclass(frozen=True)
class SubStreets:
    """Pieces of a street between two crossings. Arrays have a row per sub-street.

    Attributes:
        line: the avenue or street.
        start, end: [n, 2], the crossings' centres, metres.
        clear: [n, 2], metres from start and from end that belong to the crossing.
        addresses: of each.
        neighbours: sub-streets that share a crossing.
    """

    line: Ints
    start: Floats
    end: Floats
    clear: Floats
    addresses: list[Address]
    neighbours: list[list[int]]

    wander_m: ClassVar[float] = np.inf
    """How far from the centre line a photo is taken at most."""

    def __len__(self) -> int:
        return len(self.line)

    def walk(self, sub_street: int, clear: bool) -> Callable[[float, float], Floats]:
        """Where a photo can be taken: a share of the way and metres to the left of the centre line, to [2] metres.

        Args:
            sub_street: which.
            clear: whether to keep clear of crossings.
        """
        start, end = self.start[sub_street], self.end[sub_street]
        length = float(np.abs(end - start).sum())
        along = (end - start) / length
        across = np.array([-along[1], along[0]])
        margins = self.clear[sub_street] + 1.0 if clear else np.zeros(2)
        return lambda share, off: start + along * (margins[0] + share * (length - margins.sum())) + across * off

    def beside(self, sub_street: int, place: Floats, far: Floats, off: Floats) -> tuple[Floats, Floats]:
        """Points on a sub-street as seen from a place on it: [n, 2] metres, and [n, 2] unit vectors across it there.

        Args:
            sub_street: which.
            place: [2], metres.
            far: [n], metres along the street from the place.
            off: [n], metres from the centre line, negative on one side.
        """
        start, end = self.start[sub_street], self.end[sub_street]
        along_y = bool(start[0] == end[0])
        across, along = start[0 if along_y else 1] + off, place[1 if along_y else 0] + far
        points = np.stack([across, along] if along_y else [along, across], axis=1)
        return points, np.tile([1.0, 0.0] if along_y else [0.0, 1.0], (len(far), 1))


def lay_grid(seed: int, rows: int, columns: int) -> tuple[Ground, LineStyles]:
    """The streets of a city."""
    rng = generator("synth-city", seed, "streets")
    dressed = dress_lines(rng, rows + columns + 2)
    spacing_x, spacing_y = rng.uniform(78, 116, columns), rng.uniform(78, 116, rows)
    yards = YARDS[rng.integers(len(YARDS), size=rows * columns)]
    ground = Ground(
        np.concatenate([[0.0], np.cumsum(spacing_x)]), np.concatenate([[0.0], np.cumsum(spacing_y)]),
        dressed.half, dressed.road_half, dressed.profile, dressed.colours, yards.astype(np.float32),
    )  # fmt: skip
    return ground, dressed.styles


@dataclass(frozen=True)
class Dressed:
    """What `n` lines look like: as in `Ground` and `LineStyles`."""

    half: Floats
    road_half: Floats
    profile: npt.NDArray[np.uint8]
    colours: Colours
    styles: LineStyles


def dress_lines(rng: np.random.Generator, n: int) -> Dressed:
    """Draw `n` streets: width, what lies across, surface, trees, lamps."""
    road_half = rng.choice([3.4, 4.4, 5.6, 7.0], size=n)
    half = road_half + rng.choice([2.6, 3.6, 4.8], size=n)
    verge = rng.random(n) < 0.55
    style = LineStyles(
        surface=rng.choice(len(styles.ASPHALT), n, p=[0.55, 0.2, 0.12, 0.13]),
        marking=rng.integers(len(styles.MARKINGS), size=n),
        tree=np.where(rng.random(n) < 0.8, rng.integers(len(styles.TREES), size=n), -1),
        tree_gap=rng.choice([9.0, 13.0, 18.0, 26.0], n),
        lamp=rng.choice([styles.GLOBE, styles.ARM, styles.TWIN], n),
        lamp_colour=rng.integers(len(styles.LAMPS), size=n),
        lamp_gap=rng.choice([18.0, 25.0, 34.0], n),
        banner=np.where(rng.random(n) < 0.3, rng.integers(len(styles.BANNERS), size=n), -1),
        awning=np.where(rng.random(n) < 0.7, rng.integers(len(styles.AWNINGS), size=n), -1),
    )
    colours = np.zeros((n, N_GROUND, 3), np.float32)
    surfaces = np.array(list(styles.ASPHALT.values()))
    yellow = (np.array(list(styles.MARKINGS))[style.marking] == "double")[:, None]
    colours[:, ROAD] = surfaces[style.surface] * rng.uniform(0.9, 1.1, (n, 1))
    colours[:, MARK] = colours[:, ZEBRA] = (226, 226, 220)
    colours[:, MARK] = np.where(yellow, (226, 186, 60), colours[:, MARK])
    colours[:, LANE] = (70, 140, 92)
    colours[:, KERB] = np.array(styles.KERBS)[rng.integers(len(styles.KERBS), size=n)]
    colours[:, VERGE] = np.array(styles.VERGES)[rng.integers(len(styles.VERGES), size=n)]
    colours[:, PAVEMENT] = np.array(styles.PAVEMENTS)[rng.integers(len(styles.PAVEMENTS), size=n)]
    colours[:, FIELD] = _FIELD
    profile = np.stack([_profile(road_half[i], bool(verge[i]), int(style.marking[i])) for i in range(n)])
    return Dressed(half, road_half, profile, (colours / 255).astype(np.float32), style)


def _profile(road_half: float, verge: bool, marking: int) -> npt.NDArray[np.uint8]:
    """What lies at 0, 0.1, 0.2, ... metres from the centre line."""
    at = (np.arange(_PROFILE_CELLS) + 0.5) * CELL_M
    profile = np.full(_PROFILE_CELLS, PAVEMENT, np.uint8)
    profile[at < road_half + 0.25] = KERB
    profile[at < road_half] = ROAD
    if verge:
        profile[(at > road_half + 0.25) & (at < road_half + 1.6)] = VERGE
    match list(styles.MARKINGS)[marking]:
        case "dashed":
            profile[at < 0.15] = DASH
        case "double":
            profile[(at > 0.1) & (at < 0.3)] = MARK
        case "edges":
            profile[(at > road_half - 0.7) & (at < road_half - 0.45)] = MARK
        case "bicycle":
            profile[(at > road_half - 1.6) & (at < road_half - 0.3)] = LANE
        case _:
            pass
    return profile


def neighbourhoods(seed: int, rows: int, columns: int, ground: Ground) -> tuple[Floats, list[str]]:
    """Voronoi sites, [n, 2] metres, and names."""
    n = max(1, round(rows * columns / _BLOCKS_PER_NEIGHBOURHOOD))
    rng = generator("synth-city", seed, "neighbourhoods")
    size = np.array([ground.xs[-1], ground.ys[-1]])
    tries = rng.uniform(0, 1, (n, 12, 2)) * size
    sites = np.empty((n, 2))
    for i in range(n):  # each the try that is furthest from those before it, so that none is a sliver
        near = np.linalg.norm(tries[i][:, None] - sites[None, :i], axis=2).min(axis=1, initial=np.inf)
        sites[i] = tries[i, int(np.argmax(near))]
    return sites, neighbourhood_names(seed, n)


def nearest_site(points: Floats, sites: Floats) -> Ints:
    """[n]: the Voronoi cell of each of [n, 2]."""
    found = [np.argmin(np.linalg.norm(sites - point, axis=1)) for point in points]
    return np.array(found, dtype=np.int64)


def cut_sub_streets(seed: int, ground: Ground, sites: Floats, quarters: list[str]) -> SubStreets:
    """The pieces that have blocks on both sides, avenues first; the rim of the city is not photographed."""
    columns, rows = len(ground.xs) - 1, len(ground.ys) - 1
    avenues, streets = line_names(seed, columns + 1, rows + 1)
    line, ends, clear, crossings, named = [], [], [], [], []
    for a in range(1, columns):
        for piece in range(rows):
            line.append(a)
            ends.append([(ground.xs[a], ground.ys[piece]), (ground.xs[a], ground.ys[piece + 1])])
            clear.append(ground.half[[columns + 1 + piece, columns + 2 + piece]])
            crossings.append([(a, piece), (a, piece + 1)])
            named.append((avenues[a], (streets[piece], streets[piece + 1])))
    for s in range(1, rows):
        for piece in range(columns):
            line.append(columns + 1 + s)
            ends.append([(ground.xs[piece], ground.ys[s]), (ground.xs[piece + 1], ground.ys[s])])
            clear.append(ground.half[[piece, piece + 1]])
            crossings.append([(piece, s), (piece + 1, s)])
            named.append((streets[s], (avenues[piece], avenues[piece + 1])))
    points = np.array(ends)
    cells = nearest_site(points.mean(axis=1), sites)
    addresses = [Address(main, quarters[cell], cross) for (main, cross), cell in zip(named, cells, strict=True)]
    meeting: dict[tuple[int, int], list[int]] = {}
    for i, pair in enumerate(crossings):
        for crossing in pair:
            meeting.setdefault(crossing, []).append(i)
    neighbours = [sorted({j for c in pair for j in meeting[c]} - {i}) for i, pair in enumerate(crossings)]
    return SubStreets(
        np.array(line, dtype=np.int64), points[:, 0], points[:, 1], np.array(clear), addresses, neighbours
    )


def ground_at(ground: Ground, points: Floats) -> tuple[Ints, Ints]:
    """[n], [n]: what lies at [n, 2] metres, and the line whose colours it has (for a yard, the block)."""
    n_avenues, columns = len(ground.xs), len(ground.xs) - 1
    x, y = points[:, 0], points[:, 1]
    avenue = np.searchsorted((ground.xs[1:] + ground.xs[:-1]) / 2, x)
    street = np.searchsorted((ground.ys[1:] + ground.ys[:-1]) / 2, y)
    off_a, off_s = np.abs(x - ground.xs[avenue]), np.abs(y - ground.ys[street])
    line_s = street + n_avenues
    on_a, on_s = off_a < ground.half[avenue], off_s < ground.half[line_s]
    road_a, road_s = off_a < ground.road_half[avenue], off_s < ground.road_half[line_s]
    last = ground.profile.shape[1] - 1
    code_a = ground.profile[avenue, np.minimum((off_a / CELL_M).astype(np.int64), last)].astype(np.int64)
    code_s = ground.profile[line_s, np.minimum((off_s / CELL_M).astype(np.int64), last)].astype(np.int64)
    code_a = np.where(code_a == DASH, np.where((y / DASH_M) % 1 < DASH_SHARE, MARK, ROAD), code_a)
    code_s = np.where(code_s == DASH, np.where((x / DASH_M) % 1 < DASH_SHARE, MARK, ROAD), code_s)

    # Where two streets cross: road on road; a road over the other's pavement, with a zebra; pavement.
    bars_a = (off_s < ground.road_half[line_s] + ZEBRA_M) & ((off_a / ZEBRA_BAR_M) % 1 < 0.5)
    bars_s = (off_a < ground.road_half[avenue] + ZEBRA_M) & ((off_s / ZEBRA_BAR_M) % 1 < 0.5)
    crossing = np.full(len(points), PAVEMENT)
    crossing = np.where(road_a & ~road_s, np.where(bars_a, ZEBRA, ROAD), crossing)
    crossing = np.where(road_s & ~road_a, np.where(bars_s, ZEBRA, ROAD), crossing)
    crossing = np.where(road_a & road_s, ROAD, crossing)

    outside = (x < ground.xs[0]) | (x > ground.xs[-1]) | (y < ground.ys[0]) | (y > ground.ys[-1])
    code = np.where(outside, FIELD, YARD)
    code = np.where(on_s, code_s, code)
    code = np.where(on_a, code_a, code)
    code = np.where(on_a & on_s, crossing, code)
    block_x = np.clip(np.searchsorted(ground.xs, x) - 1, 0, columns - 1)
    block_y = np.clip(np.searchsorted(ground.ys, y) - 1, 0, len(ground.ys) - 2)
    line = np.where(on_a & (~on_s | road_a), avenue, line_s)
    return code, np.where(code == YARD, block_y * columns + block_x, line)
