"""The street grid: widths, what lies across each street, the ground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ial_bench.seeds import generator
from ial_bench.synth import styles
from ial_bench.synth.scene import Colours, Floats, Ints

ROAD, MARK, DASH, LANE, KERB, VERGE, PAVEMENT, ZEBRA, YARD, FIELD = range(10)
"""What the ground is made of. DASH turns into MARK or ROAD by the metre."""
N_GROUND = 10
CELL_M = 0.1
"""Width of a cell of the lateral profiles."""
DASH_M, DASH_SHARE = 8.0, 0.45
ZEBRA_M, ZEBRA_BAR_M = 2.6, 1.0
_PROFILE_CELLS = 160
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
