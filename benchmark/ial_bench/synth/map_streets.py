"""The sub-streets of a city on a street map: lines that bend, and where on them photos can be taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ial_bench.datasets.synth_city.map_ground import MARGIN_M, MapGround
from ial_bench.datasets.synth_city.sub_streets import SubStreets
from ial_bench.datasets.synth_city.tables import Floats, left_of
from ial_bench.geo.lines import chainages, nearest

if TYPE_CHECKING:
    from ial_bench.partition.substreets import SubStreet

MIN_WALK_M = 20.0
"""A sub-street with less room clear of crossings is not photographed: its places would lie on one another."""
_STEP_M = 1.0
_MIN_SPAN_M = 4.0
_MEETING_M = 20.0
"""Sub-streets with ends no farther apart share a crossing."""


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
            ground: tells which other streets are near.
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
    """[n, 2], [n, 2]: points so many metres along a line and its direction there; it runs straight on at its ends."""
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


def meeting(courses: Sequence[Course]) -> list[list[int]]:
    """For each course, the others that share a crossing with it."""
    from scipy.spatial import KDTree

    ends = np.array([line[k] for c in courses for line in c.lines for k in (0, -1)])
    owner = np.array([i for i, c in enumerate(courses) for _ in c.lines for _ in range(2)])
    found: list[set[int]] = [set() for _ in courses]
    for a, b in KDTree(ends).query_pairs(_MEETING_M):
        found[owner[a]].add(int(owner[b]))
        found[owner[b]].add(int(owner[a]))
    return [sorted(others - {i}) for i, others in enumerate(found)]
