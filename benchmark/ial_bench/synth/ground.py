"""The ground plane: streets with what lies across them, on a drawn grid or under a street map, and what is between.

Rather than one raster of the whole city, each street has a raster of its half cross-section in 0.1 m cells: exact at
any picture size, and small for a city of any size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ial_bench.seeds import generator
from ial_bench.synth import styles
from ial_bench.synth.scene import Colours, Floats, Ints

if TYPE_CHECKING:
    from ial_bench.partition.network import Edge

ROAD, MARK, DASH, LANE, KERB, VERGE, PAVEMENT, ZEBRA, YARD, FIELD = range(10)
"""What the ground is made of. DASH turns into MARK or ROAD by the metre."""
N_GROUND = 10
_CELL_M = 0.1
"""Width of a cell of the lateral profiles."""
_DASH_M, _DASH_SHARE = 8.0, 0.45
_ZEBRA_M, _ZEBRA_BAR_M = 2.6, 1.0
_PROFILE_CELLS = 160
_FIELD = (116, 142, 84)
YARDS = np.array([(120, 140, 92), (150, 144, 132), (104, 128, 80), (132, 124, 112)]) / 255
"""Colours of the ground behind the houses."""
SIDE_M = 16.0
"""Side of the cells in which segments of a street map are looked for."""
MARGIN_M = 1.0
"""How far beyond their pavements lines are found, for photos that are to keep clear of them."""
_SQUARE = 0.7  # sine of the angle at which a road crosses another, rather than running beside it


@dataclass(frozen=True)
class Ground:
    """Straight streets, each with one lateral profile all along, and yards between them.

    Attributes:
        xs: [columns + 1], centre lines of the avenues, metres, from west to east.
        ys: [rows + 1], centre lines of the streets, from south to north.
        half: [n_lines] from the centre line to the lots; avenues first, then streets.
        road_half: [n_lines] from the centre line to the kerb.
        profile: uint8 [n_lines, cells], what lies at each distance from the centre line.
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
        n_avenues, columns = len(self.xs), len(self.xs) - 1
        x, y = points[:, 0], points[:, 1]
        avenue = np.searchsorted((self.xs[1:] + self.xs[:-1]) / 2, x)
        street = np.searchsorted((self.ys[1:] + self.ys[:-1]) / 2, y)
        off_a, off_s = np.abs(x - self.xs[avenue]), np.abs(y - self.ys[street])
        line_s = street + n_avenues
        on_a, on_s = off_a < self.half[avenue], off_s < self.half[line_s]
        road_a, road_s = off_a < self.road_half[avenue], off_s < self.road_half[line_s]
        code_a, code_s = self.profile_at(avenue, off_a, y), self.profile_at(line_s, off_s, x)

        # Where two streets cross: road on road; a road over the other's pavement, with a zebra; pavement.
        bars_a = (off_s < self.road_half[line_s] + _ZEBRA_M) & ((off_a / _ZEBRA_BAR_M) % 1 < 0.5)
        bars_s = (off_a < self.road_half[avenue] + _ZEBRA_M) & ((off_s / _ZEBRA_BAR_M) % 1 < 0.5)
        crossing = np.full(len(points), PAVEMENT)
        crossing = np.where(road_a & ~road_s, np.where(bars_a, ZEBRA, ROAD), crossing)
        crossing = np.where(road_s & ~road_a, np.where(bars_s, ZEBRA, ROAD), crossing)
        crossing = np.where(road_a & road_s, ROAD, crossing)

        outside = (x < self.xs[0]) | (x > self.xs[-1]) | (y < self.ys[0]) | (y > self.ys[-1])
        code = np.where(outside, FIELD, YARD)
        code = np.where(on_s, code_s, code)
        code = np.where(on_a, code_a, code)
        code = np.where(on_a & on_s, crossing, code)
        block_x = np.clip(np.searchsorted(self.xs, x) - 1, 0, columns - 1)
        block_y = np.clip(np.searchsorted(self.ys, y) - 1, 0, len(self.ys) - 2)
        line = np.where(on_a & (~on_s | road_a), avenue, line_s)
        return code, np.where(code == YARD, block_y * columns + block_x, line)

    def profile_at(self, line: Ints, off: Floats, along: Floats) -> Ints:
        """[n]: what lies `off` metres from the centre line of a street and `along` metres down it, off crossings."""
        last = self.profile.shape[1] - 1
        code = self.profile[line, (np.minimum(off, last * _CELL_M) / _CELL_M).astype(np.int64)].astype(np.int64)
        return np.where(code == DASH, np.where((along / _DASH_M) % 1 < _DASH_SHARE, MARK, ROAD), code)


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
    at = (np.arange(_PROFILE_CELLS) + 0.5) * _CELL_M
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


@dataclass(frozen=True)
class Segments:
    """Straight pieces of lines; arrays have a row per piece.

    Attributes:
        start: [n, 2], metres.
        along: [n, 2], unit vectors.
        length: metres.
        line: whose.
        chainage: metres from the start of its edge.
        flat: bool [n, 2]: whether the road ends square at its first and its last point, as a side street's does where
            it meets another; elsewhere ends and bends are round.
    """

    start: Floats
    along: Floats
    length: Floats
    line: Ints
    chainage: Floats
    flat: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.line)

    @classmethod
    def of(cls, edges: Sequence[Edge], lines: Sequence[int], corner: Floats) -> Segments:
        """The segments of some edges.

        Args:
            edges: of a network.
            lines: the line of each.
            corner: [2], local metres that become x = y = 0.
        """
        meeting, own = Counter[int](), Counter[tuple[int, int]]()
        for edge, line in zip(edges, lines, strict=True):
            for end in edge.ends:
                meeting[end] += 1
                own[end, line] += 1
        parts: list[tuple[Floats, ...]] = []
        for edge, line in zip(edges, lines, strict=True):
            steps = np.diff(edge.metres, axis=0)
            length = np.hypot(*steps.T)
            kept = length > 1e-6
            n = int(kept.sum())
            if not n:
                continue
            flat = np.zeros((n, 2), dtype=bool)
            flat[0, 0], flat[-1, 1] = (meeting[end] > 2 and own[end, line] == 1 for end in edge.ends)
            chainage = np.concatenate([[0.0], np.cumsum(length)[:-1]])[kept]
            parts.append(
                ((edge.metres[:-1] - corner)[kept], (steps[kept].T / length[kept]).T, length[kept],
                 np.full(n, line, dtype=np.int64), chainage, flat)
            )  # fmt: skip
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


@dataclass(frozen=True)
class Nearest:
    """The two lines that a point lies deepest in, [n] each; -1 and infinity where there is none near.

    Attributes:
        first, second: segments, of two lines.
        first_m, second_m: metres from them.
    """

    first: Ints
    first_m: Floats
    second: Ints
    second_m: Floats


@dataclass(frozen=True)
class MapGround(Ground):
    """Lines in any direction, each with one lateral profile all along.

    Of a `Ground`, `xs` and `ys` are the west, east, south and north ends, and `yards` have a row a part of town.

    Attributes:
        segments: of all lines.
        starts: int64 [columns * rows + 1]; those near cell i, row by row, are ``near[starts[i] : starts[i + 1]]``.
        near: int32, segments.
        areas: int16 [columns, rows], row of `yards`.
    """

    segments: Segments
    starts: Ints
    near: npt.NDArray[np.int32]
    areas: npt.NDArray[np.int16]

    def nearest(self, points: Floats, *, square: bool) -> Nearest:
        """The two lines that each of [n, 2] lies deepest in, counted from their kerbs.

        Args:
            points: metres.
            square: whether roads end square where `Segments.flat` says so.
        """
        seg, n = self.segments, len(points)
        first, second = np.full(n, -1), np.full(n, -1)
        first_m, second_m = np.full(n, np.inf), np.full(n, np.inf)
        deep, deep_2 = np.full(n, np.inf), np.full(n, np.inf)
        cell, inside = self._cell(points)
        flat = cell[:, 0] * self.areas.shape[1] + cell[:, 1]
        start, end = self.starts[flat], np.where(inside, self.starts[flat + 1], 0)
        live = np.flatnonzero(start < end)
        for k in range(int((end - start).max(initial=0))):
            live = live[start[live] + k < end[live]]
            which = self.near[start[live] + k].astype(np.int64)
            off, line = self._away(points[live], which, square), seg.line[which]
            e = off - self.road_half[line]
            same = (first[live] >= 0) & (seg.line[first[live]] == line)
            better = e < deep[live]
            pushed, aside = better & ~same, ~better & ~same & (e < deep_2[live])
            to = live[pushed]
            second[to], second_m[to], deep_2[to] = first[to], first_m[to], deep[to]
            for mask, where, metres, depth in ((better, first, first_m, deep), (aside, second, second_m, deep_2)):
                to = live[mask]
                where[to], metres[to], depth[to] = which[mask], off[mask], e[mask]
        return Nearest(first, first_m, second, second_m)

    def _cell(self, points: Floats) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """[n, 2], [n]: the cell of each point, and whether there is one."""
        cell = np.floor(points / SIDE_M).astype(np.int64)
        inside = np.asarray(((cell >= 0) & (cell < self.areas.shape)).all(axis=1))
        cell[~inside] = 0
        return cell, inside

    def _away(self, points: Floats, which: Ints, square: bool) -> Floats:
        """[n] metres from segments; infinite beyond a square end."""
        seg = self.segments
        rel, along, length = points - seg.start[which], seg.along[which], seg.length[which]
        t = (rel * along).sum(axis=1)
        foot = np.clip(t, 0, length)
        beyond = ((t < 0) & seg.flat[which, 0]) | ((t > length) & seg.flat[which, 1])
        return np.where(beyond & square, np.inf, np.hypot(*(rel - foot[:, None] * along).T))

    def at(self, points: Floats) -> tuple[Ints, Ints]:
        """[n], [n]: what lies at [n, 2] metres, and the line whose colours it has (for a yard, the part of town)."""
        seg, found = self.segments, self.nearest(points, square=True)
        line, other = seg.line[found.first], seg.line[found.second]
        off, off_2 = found.first_m, found.second_m
        on, on_2 = off < self.half[line], off_2 < self.half[other]
        road, road_2 = off < self.road_half[line], off_2 < self.road_half[other]
        along = seg.chainage[found.first] + ((points - seg.start[found.first]) * seg.along[found.first]).sum(axis=1)
        code = self.profile_at(line, off, along)

        # Where two streets meet: road on road; a road over the other's pavement, with a zebra; pavement.
        (ax, ay), (bx, by) = seg.along[found.first].T, seg.along[found.second].T
        across = np.abs(ax * by - ay * bx) > _SQUARE
        bars = across & (off_2 < self.road_half[other] + _ZEBRA_M) & ((np.where(on, off, 0.0) / _ZEBRA_BAR_M) % 1 < 0.5)
        meeting = np.where(road & ~road_2, np.where(bars, ZEBRA, ROAD), np.where(road & road_2, ROAD, PAVEMENT))
        code = np.where(on & on_2, meeting, code)
        # A junction has one surface: that of the wider road, or the first of two.
        width, width_2 = self.road_half[line], self.road_half[other]
        line = np.where(road & road_2 & ((width_2 > width) | ((width_2 == width) & (other < line))), other, line)

        cell, inside = self._cell(points)
        code = np.where(on, code, np.where(inside, YARD, FIELD))
        return code, np.where(code == YARD, self.areas[cell[:, 0], cell[:, 1]], np.where(on, line, 0))


def cells_near(segments: Segments, half: Floats, shape: tuple[int, int]) -> tuple[Ints, npt.NDArray[np.int32]]:
    """`MapGround.starts` and `MapGround.near` of some segments.

    Args:
        segments: of all lines.
        half: [lines], metres from the centre line to the lots.
        shape: columns and rows of cells.
    """
    found_cells, found = [], []
    for i in range(len(segments)):
        start, along, length = segments.start[i], segments.along[i], segments.length[i]
        reach = half[segments.line[i]] + MARGIN_M + SIDE_M * np.sqrt(0.5)
        ends = np.stack([start, start + along * length])
        low = np.maximum(np.floor((ends.min(axis=0) - reach) / SIDE_M), 0).astype(np.int64)
        high = np.minimum(np.floor((ends.max(axis=0) + reach) / SIDE_M), np.array(shape) - 1).astype(np.int64)
        if (high < low).any():
            continue
        columns, rows = np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(low, high, strict=True)), indexing="ij")
        middles = (np.stack([columns.ravel(), rows.ravel()], axis=1) + 0.5) * SIDE_M - start
        t = np.clip(middles @ along, 0, length)
        near = np.hypot(*(middles - t[:, None] * along).T) <= reach
        numbers = (columns.ravel() * shape[1] + rows.ravel())[near]
        found_cells.append(numbers)
        found.append(np.full(len(numbers), i))
    flat, which = np.concatenate(found_cells), np.concatenate(found)
    counts = np.bincount(flat, minlength=shape[0] * shape[1])
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return starts, which[np.argsort(flat, kind="stable")].astype(np.int32)
