"""The ground of a city on a street map: lines in any direction, each with one cross-section all along."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ial_bench.synth.scene import Floats, Ints
from ial_bench.synth.streets import (
    CELL_M,
    DASH,
    DASH_M,
    DASH_SHARE,
    FIELD,
    MARK,
    PAVEMENT,
    ROAD,
    YARD,
    ZEBRA,
    ZEBRA_BAR_M,
    ZEBRA_M,
    Ground,
)

if TYPE_CHECKING:
    from ial_bench.partition.network import Edge

SIDE_M = 16.0
"""Side of the cells in which segments are looked for."""
MARGIN_M = 1.0
"""Lines are found so far beyond their pavements, for photos that are to keep clear of them."""
_SQUARE = 0.7  # sine of the angle at which a road crosses another, rather than running beside it


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
    """The ground plane under a street map.

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
        last = self.profile.shape[1] - 1
        code = self.profile[line, (np.minimum(off, last * CELL_M) / CELL_M).astype(np.int64)].astype(np.int64)
        along = seg.chainage[found.first] + ((points - seg.start[found.first]) * seg.along[found.first]).sum(axis=1)
        code = np.where(code == DASH, np.where((along / DASH_M) % 1 < DASH_SHARE, MARK, ROAD), code)

        # Where two streets meet: road on road; a road over the other's pavement, with a zebra; pavement.
        (ax, ay), (bx, by) = seg.along[found.first].T, seg.along[found.second].T
        across = np.abs(ax * by - ay * bx) > _SQUARE
        bars = across & (off_2 < self.road_half[other] + ZEBRA_M) & ((np.where(on, off, 0.0) / ZEBRA_BAR_M) % 1 < 0.5)
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
