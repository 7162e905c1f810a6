"""Rows of houses, and landmarks: around the blocks of a drawn grid, or along both sides of the lines of a street map.

A neighbourhood sets what its houses have in common, a block face what a row of them shares; each lot adds its
variations. On a street map houses stand wherever there is neither a road nor another house.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ial_bench.geo.lines import shapely
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
    in_frame,
    left_of,
)

if TYPE_CHECKING:
    from ial_bench.partition.network import Edge

DEPTH_M = 13.0
"""Of a house, from front to back."""
_BEND_M = 0.75
"""How far a line may stray from its chord and still be straight; rows of houses stand along chords."""
_SLACK_M = _BEND_M + 0.05
"""How far a house may reach into a pavement, at the inner side of a bend."""
_DEPTHS_M = (DEPTH_M, 0.5 * DEPTH_M)
_SHORTEST_M = 5.0
_CELL_M = 60.0
_LOT_SLIVER_M2 = 0.05
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
    n_avenues, n_columns, kind = len(ground.xs), len(ground.xs) - 1, styles.KINDS[quarter.kind]
    west, east, south, north = column, column + 1, n_avenues + row, n_avenues + row + 1
    setback = kind.setback_m
    x0, x1 = ground.xs[column] + ground.half[west] + setback, ground.xs[column + 1] - ground.half[east] - setback
    y0, y1 = ground.ys[row] + ground.half[south] + setback, ground.ys[row + 1] - ground.half[north] - setback
    depth = min(DEPTH_M, (x1 - x0) / 2.8, (y1 - y0) / 2.8)
    tables = []
    for side, line, face in (
        (SOUTH, south, (x0, y0, x1, y0 + depth)), (NORTH, north, (x0, y1 - depth, x1, y1)),
        (WEST, west, (x0, y0 + depth, x0 + depth, y1 - depth)), (EAST, east, (x1 - depth, y0 + depth, x1, y1 - depth)),
    ):  # fmt: skip
        rng = generator("synth-city", seed, "face", row, column, side)
        bounds, dressed = _lots(rng, np.array(face), side, kind)
        awning, block = int(lines.awning[line]), row * n_columns + column
        tables.append(_dress(rng, bounds, dressed, quarter, downtown, awning, variation, block))
    return tables


def _lots(rng: np.random.Generator, face: Floats, side: int, kind: styles.Kind) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Bounds [n, 4] of the houses that fill a face, and which of their sides are dressed, bool [n, 4].

    Args:
        rng: of the face.
        face: [4], its bounds.
        side: that its houses turn to the street.
        kind: of building.
    """
    axis = 0 if side in {SOUTH, NORTH} else 1
    length = float(face[axis + 2] - face[axis])
    n = max(1, round(length / (kind.lot_m + kind.gap_m)))
    shares = rng.uniform(0.75, 1.25, n)
    ends = np.concatenate([[0.0], np.cumsum(shares / shares.sum())]) * length
    starts, stops = ends[:-1].copy(), ends[1:].copy()
    gap = min(kind.gap_m, 0.4 * length / n)
    starts[1:] += gap / 2
    stops[:-1] -= gap / 2
    bounds = np.tile(face, (n, 1))
    bounds[:, axis], bounds[:, axis + 2] = face[axis] + starts, face[axis] + stops
    dressed = np.zeros((n, 4), dtype=bool)
    dressed[:, side] = True
    if axis == 0:  # houses at a corner, or at a gap, look two ways; a block's other two rows lie between the corners
        dressed[0, WEST] = dressed[-1, EAST] = True
    return bounds, dressed


def _dress(
    rng: np.random.Generator, bounds: Floats, dressed: npt.NDArray[np.bool_], quarter: Quarter, downtown: float,
    awning: int, variation: float, block: int,
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


@dataclass(frozen=True)
class Row:
    """A line that houses stand along.

    Attributes:
        metres: [n, 2], from x = y = 0.
        line: its street's number.
        sub_street: number of the sub-street, for `Boxes.block`.
        area: number of the part of town.
    """

    metres: Floats
    line: int
    sub_street: int
    area: int


class Site:
    """What land is taken: roads with their pavements, and houses as they are built.

    Args:
        edges: all roads.
        half: metres from the centre line to the lots, of each edge.
        corner: [2], local metres that become x = y = 0.
    """

    def __init__(self, edges: Sequence[Edge], half: Floats, corner: Floats) -> None:
        lib = shapely()
        lines = [lib.LineString(e.metres - corner) for e in edges]
        self._roads = np.asarray(lib.buffer(np.array(lines), np.maximum(half - _SLACK_M, 1.0), quad_segs=8))
        self._tree = lib.STRtree(self._roads)
        self._houses: dict[tuple[int, int], list[Any]] = {}

    def free(self, strip: Floats, along: Floats) -> list[tuple[float, float]]:
        """From where to where a strip is free, in metres along the direction `along` [2].

        Args:
            strip: [4, 2], its corners.
            along: unit vector of its long side.
        """
        lib = shapely()
        shape = lib.Polygon(strip)
        houses = {id(s): s for cell in _cells(strip) for s in self._houses.get(cell, ())}
        there = [*self._roads[self._tree.query(shape, predicate="intersects")], *houses.values()]
        ends = strip @ along
        free = [(float(ends.min()), float(ends.max()))]
        if there:
            taken = lib.intersection(shape, np.array(there))
            for part in taken[lib.area(taken) > _LOT_SLIVER_M2]:
                reach = lib.get_coordinates(part) @ along
                free = list(_without(free, float(reach.min()), float(reach.max())))
        return [(a, b) for a, b in free if b - a >= _SHORTEST_M]

    def take(self, corners: Floats) -> None:
        """Mark the land of a house, or of a row of them, as taken."""
        shape = shapely().Polygon(corners)
        for cell in _cells(corners):
            self._houses.setdefault(cell, []).append(shape)


def _cells(corners: Floats) -> Iterator[tuple[int, int]]:
    low, high = (np.floor(c / _CELL_M).astype(int).tolist() for c in (corners.min(axis=0), corners.max(axis=0)))
    return ((i, j) for i in range(low[0], high[0] + 1) for j in range(low[1], high[1] + 1))


def _without(spans: Sequence[tuple[float, float]], low: float, high: float) -> Iterator[tuple[float, float]]:
    for a, b in spans:
        if high <= a or b <= low:
            yield a, b
            continue
        if a < low:
            yield a, low
        if high < b:
            yield high, b


def build_rows(
    seed: int, rows: Sequence[Row], site: Site, half: Floats, awnings: Sequence[int], quarters: Sequence[Quarter],
    downtown: Mapping[int, float], variation: float,
) -> list[Boxes]:  # fmt: skip
    """Houses along both sides of some lines, in their order.

    Args:
        seed: of the city.
        rows: the lines.
        site: what is taken; added to.
        half: of each street, metres from the centre line to the lots.
        awnings: of each street.
        quarters: of each part of town.
        downtown: how central each sub-street is.
        variation: how much houses of a row differ.
    """
    tables = []
    for number, row in enumerate(rows):
        quarter = quarters[row.area]
        kind = styles.KINDS[quarter.kind]
        front = float(half[row.line]) + kind.setback_m
        for k, (start, along, length) in enumerate(chords(row.metres)):
            for side in (SOUTH, NORTH):
                spans = _face(site, start, along, length, front, side)
                if not spans:
                    continue
                rng = generator("synth-city", seed, "map face", number, k, side)
                parts = [_lots(rng, span, side, kind) for span in spans]
                bounds, dressed = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
                central, awning = downtown[row.sub_street], int(awnings[row.line])
                face = _dress(rng, bounds, dressed, quarter, central, awning, variation, row.sub_street)
                tables.append(replace(face, turn=np.tile(along, (len(face), 1))))
    return tables


def chords(metres: Floats) -> Iterator[tuple[Floats, Floats, float]]:
    """Start [2], direction [2] and length of the straight pieces of a line, cut at its bends."""
    lib = shapely()
    points = lib.get_coordinates(lib.simplify(lib.LineString(metres), _BEND_M))
    for a, b in pairwise(points):
        length = float(np.hypot(*(b - a)))
        if length >= _SHORTEST_M:
            yield a, (b - a) / length, length


def _face(site: Site, start: Floats, along: Floats, length: float, front: float, side: int) -> list[Floats]:
    """Bounds [4] of the free parts of one side of a chord, in the chord's direction; they are taken at once."""
    (u, v), left = in_frame(start, along), left_of(along)
    spans, open_spans = [], [(float(u), float(u) + length)]
    for depth in _DEPTHS_M:
        v0, v1 = (v + front, v + front + depth) if side == SOUTH else (v - front - depth, v - front)
        rest = []
        for low, high in open_spans:
            strip = _corners(np.array([low, v0, high, v1]), along, left)
            found = site.free(strip, along)
            for a, b in found:
                spans.append(np.array([a, v0, b, v1]))
                site.take(_corners(spans[-1], along, left))
            remaining = [(low, high)]
            for a, b in found:
                remaining = list(_without(remaining, a, b))
            rest += [r for r in remaining if r[1] - r[0] >= _SHORTEST_M]
        open_spans = rest
    return sorted(spans, key=lambda s: float(s[0]))


def _corners(bounds: Floats, along: Floats, left: Floats) -> Floats:
    u0, v0, u1, v1 = bounds
    return np.array([u * along + v * left for u, v in ((u0, v0), (u1, v0), (u1, v1), (u0, v1))])


def build_landmarks(seed: int, rows: Sequence[Row], site: Site, half: Floats, wanted: int) -> list[Boxes]:
    """Up to `wanted` landmarks behind the houses of some rows, where there is room."""
    rng = generator("synth-city", seed, "map landmarks")
    tables: list[Boxes] = []
    sorts = [int(s) for _ in range(wanted // len(styles.LANDMARKS) + 1) for s in rng.permutation(len(styles.LANDMARKS))]
    for i in rng.permutation(len(rows)):
        if len(tables) == wanted:
            break
        row, which = rows[i], sorts[len(tables)]
        start, along, length = max(chords(row.metres), key=lambda c: c[2], default=(None, None, 0.0))
        if start is None or along is None:
            continue
        reach = styles.LANDMARKS[which].side / 2 + 0.5
        for side in rng.permutation([-1.0, 1.0]):
            behind = float(half[row.line]) + DEPTH_M + 6.0 + reach
            at = start + along * length / 2 + side * behind * left_of(along)
            u, v = in_frame(at, along)
            corners = _corners(np.array([u - reach, v - reach, u + reach, v + reach]), along, left_of(along))
            free = site.free(corners, along)
            if len(free) == 1 and free[0][1] - free[0][0] > 2 * reach - 0.01:
                site.take(corners)
                tables.append(replace(build_landmark(which, float(u), float(v), row.sub_street), turn=along[None]))
                break
    return tables
