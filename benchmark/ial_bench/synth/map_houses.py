"""Houses of a city on a street map: rows along both sides of each line, wherever neither a road nor a house is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ial_bench.datasets.synth_city import styles
from ial_bench.datasets.synth_city.houses import DEPTH_M, Quarter, build_landmark, cut_lots, dress_face
from ial_bench.datasets.synth_city.tables import EAST, NORTH, SOUTH, WEST, Boxes, Floats, in_frame, left_of
from ial_bench.geo.lines import shapely
from ial_bench.seeds import generator
from ial_bench.synth import styles
from ial_bench.synth.houses import DEPTH_M, Quarter, build_landmark, cut_lots, dress_face
from ial_bench.synth.scene import EAST, NORTH, SOUTH, WEST, Boxes, Floats, in_frame, left_of

if TYPE_CHECKING:
    from ial_bench.partition.network import Edge

_BEND_M = 0.75
"""A line is straight where it stays so near to its chord; rows of houses stand along chords."""
_SLACK_M = _BEND_M + 0.05
"""A house may reach so far into a pavement, at the inner side of a bend."""
_DEPTHS_M = (DEPTH_M, 0.5 * DEPTH_M)
_SHORTEST_M = 5.0
_CELL_M = 60.0
_LOT_SLIVER_M2 = 0.05


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
        there = [*self._roads[self._tree.query(shape, predicate="intersects")], *self._near(strip)]
        ends = strip @ along
        free = [(float(ends.min()), float(ends.max()))]
        if there:
            taken = lib.intersection(shape, np.array(there))
            for part in taken[lib.area(taken) > _LOT_SLIVER_M2]:
                reach = lib.get_coordinates(part) @ along
                free = list(_without(free, float(reach.min()), float(reach.max())))
        return [(a, b) for a, b in free if b - a >= _SHORTEST_M]

    def take(self, corners: Floats) -> None:
        """Note a house, or a row of them."""
        shape = shapely().Polygon(corners)
        for cell in _cells(corners):
            self._houses.setdefault(cell, []).append(shape)

    def _near(self, corners: Floats) -> list[Any]:
        found = {id(s): s for cell in _cells(corners) for s in self._houses.get(cell, ())}
        return list(found.values())


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
        front = float(half[row.line]) + styles.KINDS[quarter.kind].setback_m
        for k, (start, along, length) in enumerate(chords(row.metres)):
            for side in (SOUTH, NORTH):
                spans = _face(site, start, along, length, front, side)
                if not spans:
                    continue
                rng = generator("synth-city", seed, "map face", number, k, side)
                bounds, dressed = _lots(rng, spans, quarter, side)
                face = dress_face(
                    rng, bounds, dressed, quarter, downtown[row.sub_street], int(awnings[row.line]), variation,
                    row.sub_street,
                )  # fmt: skip
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


def _lots(rng: np.random.Generator, spans: Sequence[Floats], quarter: Quarter, side: int) -> tuple[Floats, Any]:
    """Bounds [n, 4] of the houses of a face, and which of their sides are dressed, bool [n, 4]."""
    bounds, dressed = [], []
    for span in spans:
        cuts = span[0] + cut_lots(rng, float(span[2] - span[0]), styles.KINDS[quarter.kind])
        n = len(cuts)
        bounds.append(np.stack([cuts[:, 0], np.full(n, span[1]), cuts[:, 1], np.full(n, span[3])], axis=1))
        sides = np.zeros((n, 4), dtype=bool)
        sides[:, side] = True
        sides[0, WEST] = sides[-1, EAST] = True  # houses at a corner, or at a gap
        dressed.append(sides)
    return np.concatenate(bounds), np.concatenate(dressed)


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
            if _whole(site.free(corners, along), 2 * reach):
                site.take(corners)
                tables.append(replace(build_landmark(which, float(u), float(v), row.sub_street), turn=along[None]))
                break
    return tables


def _whole(free: Sequence[tuple[float, float]], length: float) -> bool:
    return len(free) == 1 and free[0][1] - free[0][0] > length - 0.01
