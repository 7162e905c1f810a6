"""Sub-streets: pieces of streets between crossings, straight or bent, their addresses, and where photos are taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ial_bench.addresses import Address
from ial_bench.errors import DataError
from ial_bench.geo.lines import chainages, nearest
from ial_bench.seeds import generator
from ial_bench.synth.ground import MARGIN_M, Ground, MapGround
from ial_bench.synth.scene import Floats, Ints, left_of
from ial_bench.synth.styles import line_names, neighbourhood_names

if TYPE_CHECKING:
    from ial_bench.partition.substreets import SubStreet
    from ial_bench.synth.street_map import MappedStreets

BLOCKS_PER_NEIGHBOURHOOD = 6
_MIN_WALK_M = 20.0
"""A sub-street with less room clear of crossings is not photographed: its places would lie on one another."""
_STEP_M = 1.0
_MIN_SPAN_M = 4.0
_MEETING_M = 20.0
"""Sub-streets with ends no farther apart share a crossing."""


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
        across = left_of(along)
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


@dataclass(frozen=True)
class Course:
    """Where a sub-street runs.

    Attributes:
        lines: [n, 2] metres each.
        clear: [n, 3]: a line, and metres along it from and to which no other street is near.
        whole: the same for all there is.
    """

    lines: Sequence[Floats]
    clear: Floats
    whole: Floats

    @classmethod
    def of(cls, pieces: Sequence[SubStreet], line: int, ground: MapGround, corner: Floats) -> Course:
        """The course of one or more sub-streets of one address.

        Args:
            pieces: the sub-streets.
            line: of the street.
            ground: finds which other streets are near.
            corner: [2], local metres that become x = y = 0.
        """
        of = [p for sub in pieces for p in sub.pieces]
        lines = [p.metres - corner for p in of if not p.inside] or [p.metres - corner for p in of]
        spans = [span for i, metres in enumerate(lines) for span in _clear_spans(i, metres, line, ground)]
        whole = [(i, 0.0, float(chainages(metres)[-1])) for i, metres in enumerate(lines)]
        return cls(lines, np.array(spans).reshape(-1, 3), np.array(whole))

    @property
    def clear_m(self) -> float:
        """Metres clear of crossings."""
        return float((self.clear[:, 2] - self.clear[:, 1]).sum())


def _clear_spans(number: int, metres: Floats, line: int, ground: MapGround) -> list[tuple[int, float, float]]:
    length = float(chainages(metres)[-1])
    along = np.linspace(0.0, length, max(int(length / _STEP_M), 1) + 1)
    found = ground.nearest(on_line(metres, along)[0], square=False)
    lines = ground.segments.line
    alone = (found.first >= 0) & (lines[found.first] == line)
    alone &= (found.second < 0) | (found.second_m >= ground.half[lines[found.second]] + MARGIN_M)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], alone, [False]]).astype(np.int8)))
    spans = [(number, float(along[a]), float(along[b - 1])) for a, b in edges.reshape(-1, 2)]
    return [s for s in spans if s[2] - s[1] >= _MIN_SPAN_M]


def on_line(line: Floats, metres: Floats) -> tuple[Floats, Floats]:
    """[n, 2], [n, 2]: the points `metres` [n] along a line and its direction there; it runs straight on at its ends."""
    along = chainages(line)
    i = np.clip(np.searchsorted(along, metres, side="right") - 1, 0, len(line) - 2)
    steps = line[i + 1] - line[i]
    direction = steps / np.maximum(np.hypot(*steps.T), 1e-9)[:, None]
    return line[i] + (metres - along[i])[:, None] * direction, direction


@dataclass(frozen=True)
class MapSubStreets(SubStreets):
    """Sub-streets on a street map; `start` and `end` are those of their first line.

    Attributes:
        courses: of each.
    """

    courses: Sequence[Course]
    wander_m: ClassVar[float] = 0.9

    def walk(self, sub_street: int, clear: bool) -> Callable[[float, float], Floats]:
        """See `SubStreets.walk`."""
        course = self.courses[sub_street]
        spans = course.clear if clear else course.whole
        ends = np.cumsum(spans[:, 2] - spans[:, 1])

        def at(share: float, off: float) -> Floats:
            i = min(int(np.searchsorted(ends, share * ends[-1], side="right")), len(ends) - 1)
            along = np.array([spans[i, 2] - (ends[i] - share * ends[-1])])
            point, direction = on_line(course.lines[int(spans[i, 0])], along)
            return np.asarray((point + off * left_of(direction))[0])

        return at

    def beside(self, sub_street: int, place: Floats, far: Floats, off: Floats) -> tuple[Floats, Floats]:
        """See `SubStreets.beside`."""
        lines = self.courses[sub_street].lines
        feet = [nearest(line, place) for line in lines]
        i = min(range(len(lines)), key=lambda k: feet[k][1])
        points, direction = on_line(lines[i], feet[i][0] + far)
        across = left_of(direction)
        return points + off[:, None] * across, across


def sub_streets_of(
    mapped: MappedStreets, number: Mapping[str, int], ground: MapGround, corner: Floats, *, clear: bool,
    say: Callable[[str], object],
) -> tuple[MapSubStreets, list[int]]:  # fmt: skip
    """The sub-streets of a map that have room for photos, and which of `mapped.subs` they are.

    Args:
        mapped: what was found in the map.
        number: of each street, by its key.
        ground: finds which other streets are near.
        corner: [2], local metres that become x = y = 0.
        clear: whether photos are to keep clear of crossings.
        say: called with a line for the user where some have no room.

    Raises:
        DataError: fewer than two have room.
    """
    lines = [number[of[0].street.key] for of in mapped.subs]
    courses = [Course.of(of, line, ground, corner) for of, line in zip(mapped.subs, lines, strict=True)]
    kept = [i for i, c in enumerate(courses) if not clear or c.clear_m >= _MIN_WALK_M]
    if len(kept) < 2:
        raise DataError(
            f"{len(kept)} of {len(courses):,} sub-streets has room for photos clear of crossings",
            "give --crossings keep, or a map of longer streets",
        )
    if left := len(courses) - len(kept):
        say(f"note: {left:,} sub-streets have less than {_MIN_WALK_M:g} m clear of other streets and are left out")
    courses = [courses[i] for i in kept]
    firsts = [c.lines[0] for c in courses]
    subs = MapSubStreets(
        np.array([lines[i] for i in kept], dtype=np.int64), np.array([f[0] for f in firsts]),
        np.array([f[-1] for f in firsts]), np.zeros((len(kept), 2)), [mapped.addresses[i] for i in kept],
        _meeting(courses), courses,
    )  # fmt: skip
    return subs, kept


def _meeting(courses: Sequence[Course]) -> list[list[int]]:
    """For each course, the others that share a crossing with it."""
    from scipy.spatial import KDTree

    ends = np.array([line[k] for c in courses for line in c.lines for k in (0, -1)])
    owner = np.array([i for i, c in enumerate(courses) for _ in c.lines for _ in range(2)])
    found: list[set[int]] = [set() for _ in courses]
    for a, b in KDTree(ends).query_pairs(_MEETING_M):
        found[owner[a]].add(int(owner[b]))
        found[owner[b]].add(int(owner[a]))
    return [sorted(others - {i}) for i, others in enumerate(found)]
