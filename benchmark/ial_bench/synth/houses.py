"""Rows of houses along the sides of blocks: neighbourhood -> face of a block -> lot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ial_bench.seeds import generator
from ial_bench.synth import styles
from ial_bench.synth.ground import Ground, LineStyles
from ial_bench.synth.scene import (
    AWNING,
    AWNING_2,
    DOOR,
    EAST,
    N_MATERIALS,
    NORTH,
    PANE,
    PANE_2,
    ROOF,
    SECOND,
    SOUTH,
    TRIM,
    WALL,
    WEST,
    Boxes,
    Floats,
)

DEPTH_M = 13.0
"""Of a house, from front to back."""
_SQUARE = np.array([1.0, 0.0])
_WALL_NAMES = list(styles.WALLS)
_WALL_COLOURS = np.array(list(styles.WALLS.values()), dtype=np.float32) / 255


@dataclass(frozen=True)
class Quarter:
    """What the houses of a neighbourhood have in common.

    Attributes:
        kind: row of `styles.KINDS`.
        palette: wall colours, rows of `styles.WALLS`.
        storeys: usual number, before downtown adds to it.
        roof: FLAT, PITCHED or GABLE.
        roof_colour: 8-bit RGB.
        window: row of `styles.WINDOWS`.
    """

    kind: int
    palette: tuple[int, ...]
    storeys: int
    roof: int
    roof_colour: tuple[int, int, int]
    window: int


def draw_quarter(seed: int, number: int, downtown: float) -> Quarter:
    """Neighbourhood `number`; `downtown` is 1 at the city's heart and falls to 0."""
    rng = generator("synth-city", seed, "neighbourhood", number)
    allowed = [i for i, kind in enumerate(styles.KINDS) if kind.central or downtown < 0.6]
    kind = int(rng.choice(allowed))
    of = styles.KINDS[kind]
    roofs = list(styles.ROOFS.values())
    return Quarter(
        kind,
        tuple(rng.choice(len(_WALL_NAMES), size=5, replace=False).tolist()),
        int(rng.integers(of.storeys[0], of.storeys[1] + 1)),
        int(rng.choice(of.roofs)),
        roofs[int(rng.integers(len(roofs)))],
        int(rng.choice(of.windows)),
    )


def build_block(
    seed: int, row: int, column: int, ground: Ground, lines: LineStyles, quarter: Quarter, downtown: float,
    variation: float,
) -> list[Boxes]:  # fmt: skip
    """The four rows of houses of a block, from the street names' side: south, north, west, east."""
    n_avenues, n_columns = len(ground.xs), len(ground.xs) - 1
    west, east, south, north = column, column + 1, n_avenues + row, n_avenues + row + 1
    setback = styles.KINDS[quarter.kind].setback_m
    x0, x1 = ground.xs[column] + ground.half[west] + setback, ground.xs[column + 1] - ground.half[east] - setback
    y0, y1 = ground.ys[row] + ground.half[south] + setback, ground.ys[row + 1] - ground.half[north] - setback
    depth = min(DEPTH_M, (x1 - x0) / 2.8, (y1 - y0) / 2.8)
    faces = []
    for side, line in ((SOUTH, south), (NORTH, north), (WEST, west), (EAST, east)):
        rng = generator("synth-city", seed, "face", row, column, side)
        along_x = side in {SOUTH, NORTH}
        low, high = (x0, x1) if along_x else (y0 + depth, y1 - depth)
        cuts = cut_lots(rng, high - low, styles.KINDS[quarter.kind])
        n = len(cuts)
        bounds = np.empty((n, 4))
        if along_x:
            bounds[:, 0], bounds[:, 2] = low + cuts[:, 0], low + cuts[:, 1]
            bounds[:, 1], bounds[:, 3] = (y0, y0 + depth) if side == SOUTH else (y1 - depth, y1)
        else:
            bounds[:, 1], bounds[:, 3] = low + cuts[:, 0], low + cuts[:, 1]
            bounds[:, 0], bounds[:, 2] = (x0, x0 + depth) if side == WEST else (x1 - depth, x1)
        dressed = np.zeros((n, 4), dtype=bool)
        dressed[:, side] = True
        if along_x:  # the houses at the corners look on two streets
            dressed[0, WEST] = dressed[-1, EAST] = True
        faces.append(
            dress_face(
                rng, bounds, dressed, quarter, downtown, int(lines.awning[line]), variation, row * n_columns + column
            )
        )
    return faces


def cut_lots(rng: np.random.Generator, length: float, kind: styles.Kind) -> Floats:
    """[n, 2]: where each house begins and ends along a face of `length` metres."""
    n = max(1, round(length / (kind.lot_m + kind.gap_m)))
    shares = rng.uniform(0.75, 1.25, n)
    ends = np.concatenate([[0.0], np.cumsum(shares / shares.sum())]) * length
    starts, stops = ends[:-1].copy(), ends[1:].copy()
    gap = min(kind.gap_m, 0.4 * length / n)
    starts[1:] += gap / 2
    stops[:-1] -= gap / 2
    return np.stack([starts, stops], axis=1)


def dress_face(
    rng: np.random.Generator, bounds: Floats, dressed: np.ndarray, quarter: Quarter, downtown: float, awning: int,
    variation: float, block: int,
) -> Boxes:  # fmt: skip
    """One face's houses: a style for the face, and lots that depart from it by `variation`."""
    n, kind = len(bounds), styles.KINDS[quarter.kind]
    main, second = (int(c) for c in rng.choice(quarter.palette, size=2, replace=False))
    storeys = quarter.storeys + int(rng.integers(-1, 2)) + round(7 * downtown**2 * (0.4 if not kind.central else 1.0))
    window = np.array(styles.WINDOWS[quarter.window if rng.random() < 0.7 else int(rng.choice(kind.windows))])
    shops = bool(rng.random() < kind.shops)
    frame, band = float(rng.choice([0.0, 0.06, 0.1])), float(rng.choice([0.0, 0.0, 0.12]))
    trim, pane = styles.TRIMS[int(rng.integers(len(styles.TRIMS)))], styles.GLASS[int(rng.integers(len(styles.GLASS)))]
    door = styles.TRIMS[int(rng.integers(1, len(styles.TRIMS)))]

    swapped = rng.random(n) < 0.5 * variation
    walls = np.where(swapped, second, main)
    others = np.where(swapped, main, second)
    heights = np.maximum(storeys + np.rint(rng.normal(0, 0.8 * variation, n)), 1).astype(np.int64)
    light = 1 + 0.16 * variation * rng.uniform(-1, 1, (n, 1))
    colours = np.empty((n, N_MATERIALS, 3), np.float32)
    colours[:, WALL] = _WALL_COLOURS[walls] * light
    colours[:, SECOND] = _WALL_COLOURS[others] * light * 0.9
    colours[:, TRIM], colours[:, PANE], colours[:, DOOR] = (np.array(c) / 255 for c in (trim, pane, door))
    colours[:, PANE_2] = 0.6 * colours[:, PANE] + 0.3
    striped = styles.AWNINGS[max(awning, 0)]
    colours[:, AWNING], colours[:, AWNING_2] = (np.array(c) / 255 for c in striped)
    colours[:, ROOF] = np.array(quarter.roof_colour) / 255 * light
    storey_m = np.full(n, kind.storey_m)
    ground_m = storey_m + (0.8 if shops else 0.2)
    ridge = {styles.FLAT: 0.0, styles.PITCHED: 2.4, styles.GABLE: 3.2}[quarter.roof]
    return Boxes(
        bounds=bounds, turn=np.tile(_SQUARE, (n, 1)),
        eaves=ground_m + (heights - 1) * storey_m + (0.5 if quarter.roof == styles.FLAT else 0.0),
        ridge=np.full(n, ridge), roof=np.full(n, quarter.roof), storeys=heights, ground_m=ground_m, storey_m=storey_m,
        window=np.repeat(window[None], n, axis=0), frame=np.full(n, frame), band=np.full(n, band),
        shop=np.full(n, shops), awning=np.full(n, shops and awning >= 0) & (rng.random(n) < 1 - 0.4 * variation),
        dressed=dressed, colours=np.clip(colours, 0, 1), kind=np.full(n, quarter.kind), name=walls.astype(np.int64),
        block=np.full(n, block),
    )  # fmt: skip


def build_landmark(which: int, x: float, y: float, block: int) -> Boxes:
    """Landmark `which`, row of `styles.LANDMARKS`, around a point."""
    mark = styles.LANDMARKS[which]
    storey_m = 3.6
    colours = np.empty((1, N_MATERIALS, 3), np.float32)
    wall = np.array(mark.wall) / 255
    colours[:] = wall
    colours[0, TRIM] = 0.5 + 0.5 * wall
    colours[0, PANE] = np.array(styles.GLASS[0]) / 255
    colours[0, PANE_2] = 0.6 * colours[0, PANE] + 0.3
    colours[0, ROOF] = np.array(mark.top) / 255
    half = mark.side / 2

    def one(value: float) -> Floats:
        return np.array([value])

    return Boxes(
        bounds=np.array([[x - half, y - half, x + half, y + half]]), turn=_SQUARE[None],
        eaves=one(mark.height), ridge=one(mark.spire),
        roof=np.array([mark.roof]), storeys=np.array([int(mark.height / storey_m)]), ground_m=one(storey_m),
        storey_m=one(storey_m), window=np.array([styles.WINDOWS[mark.windows]]), frame=one(0.0), band=one(0.1),
        shop=np.array([False]), awning=np.array([False]), dressed=np.ones((1, 4), dtype=bool), colours=colours,
        kind=np.array([-1]), name=np.array([which]), block=np.array([block]),
    )  # fmt: skip
