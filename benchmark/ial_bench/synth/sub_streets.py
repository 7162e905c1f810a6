"""Sub-streets: pieces of streets between crossings, with their addresses, and where photos of them are taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ial_bench.addresses import Address
from ial_bench.seeds import generator
from ial_bench.synth.ground import Ground
from ial_bench.synth.scene import Floats, Ints
from ial_bench.synth.styles import line_names, neighbourhood_names

BLOCKS_PER_NEIGHBOURHOOD = 6


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


def neighbourhoods(seed: int, rows: int, columns: int, ground: Ground) -> tuple[Floats, list[str]]:
    """Voronoi sites, [n, 2] metres, and names."""
    n = max(1, round(rows * columns / BLOCKS_PER_NEIGHBOURHOOD))
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
