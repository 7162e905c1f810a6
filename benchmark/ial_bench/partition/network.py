"""Streets of any source as one network: edges between nodes, in an order and direction independent of the source.

Where a source names the nodes of its lines, lines meet where they share one. Where it does not, they meet where their
geometry touches.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Generic, TypeVar

import numpy as np

from ial_bench.errors import DataError
from ial_bench.geo.lines import Floats, cut, length_m, nearest, shapely
from ial_bench.geo.points import Points, beside, box_middle
from ial_bench.geo.projections import to_local_m
from ial_bench.geocoding.street_names import NameNormalizer

DIGITS = 7
"""Decimals of a degree that count: a centimetre, as in OpenStreetMap."""

TOLERANCE_M = 1.0
"""Ends of lines no farther apart are one node where a source names none: above the rounding of any source, below the
width of a kerb."""

T = TypeVar("T", int, str)


class UnionFind(Generic[T]):
    """Disjoint sets; an item not met before is a set of its own.

    In SciPy's `DisjointSet` an item of the larger set stands for a union. Here it is always one of the first set, since
    numbers of nodes and junctions follow from it, and decide between equals.
    """

    def __init__(self) -> None:
        self._parent: dict[T, T] = {}

    def find(self, item: T) -> T:
        """The item that stands for `item`'s set."""
        parent = self._parent
        root = item
        while (above := parent.setdefault(root, root)) != root:
            root = above
        while (above := parent[item]) != root:
            parent[item], item = root, above
        return root

    def join(self, items: Iterable[T]) -> None:
        """Make one set of the sets of `items`."""
        roots = [self.find(i) for i in items]
        for root in roots[1:]:
            self._parent[self.find(root)] = self.find(roots[0])


@dataclass(frozen=True)
class Segment:
    """A line of a source.

    Attributes:
        name: as the source has it; empty where it has none.
        points: [n, 2] degrees.
        nodes: a name for each point, empty where a point has none but never at the ends; None: the source names none.
        neighbourhood: as the source has it.
        level: lines of different levels do not meet where they only cross: bridges, tunnels, layers.
        roundabout: whether it is part of one.
    """

    name: str
    points: Points
    nodes: tuple[str, ...] | None = None
    neighbourhood: str = ""
    level: str = ""
    roundabout: bool = False


@dataclass(frozen=True)
class StreetSource:
    """What a reader found.

    Attributes:
        segments: the lines.
        skipped: how many features were not used, by reason.
        places: named places, such as suburbs, with their positions: (name, lat, lon).
        notes: what is worth knowing of the lines that are used.
    """

    segments: Sequence[Segment]
    skipped: Counter[str] = field(default_factory=Counter)
    places: Sequence[tuple[str, float, float]] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Edge:
    """A line between two nodes, with none between.

    Attributes:
        key: of its name; empty for an unnamed one.
        points: [n, 2] degrees, longitudes running on over the antimeridian.
        metres: [n, 2], the same, local.
        ends: nodes of its first and last point.
        neighbourhood: as the source has it.
        roundabout: whether it is part of one.
    """

    key: str
    points: Points
    metres: Floats
    ends: tuple[int, int]
    neighbourhood: str = ""
    roundabout: bool = False


@dataclass(frozen=True)
class StreetNetwork:
    """A city's streets.

    Attributes:
        edges: sorted by their points; each runs from its smaller end to its larger.
        names: how each key's street is called.
        nodes: float64 [n, 2], local metres.
        origin: [2], degrees; where local metres start.
        unnamed_m: length of the ways without a name, which are no streets.
        noded: "ids" where the source names nodes, "geometry" where they were found.
    """

    edges: Sequence[Edge]
    names: dict[str, str]
    nodes: Floats
    origin: Points
    unnamed_m: float
    noded: str

    @classmethod
    def of(
        cls,
        segments: Sequence[Segment],
        normalizer: NameNormalizer | None = None,
        tolerance_m: float = TOLERANCE_M,
        origin: Points | None = None,
    ) -> StreetNetwork:
        """The network of some lines; it does not depend on their order or directions.

        Coordinates count to `DIGITS` decimals. A line that stands twice counts once.

        Args:
            segments: the lines.
            normalizer: spells names out.
            tolerance_m: see `TOLERANCE_M`.
            origin: [2], degrees; where local metres start. Lengths across the way to it are too long by a few parts in
                a million at 30 km, and by four in a thousand at 1,000 km. None: the middle of the lines' box.

        Raises:
            DataError: there is no line with a name.
        """
        normalizer = normalizer or NameNormalizer()
        found = _rounded(segments)
        if origin is None and found:
            origin = box_middle(np.concatenate([s.points for s in found]))
        lines = [] if origin is None else _canonical(found, normalizer, origin)
        if origin is None or not any(key for key, _ in lines):
            raise DataError("no line of the street map has a name", "is the names' property another? give --name-key")
        named = all(s.nodes is not None for _, s in lines)
        if named:
            pieces = _cut_at_shared_nodes([s for _, s in lines])
        else:
            metres = [to_local_m(s.points, origin) for _, s in lines]
            pieces = _cut_at_crossings([s for _, s in lines], metres, tolerance_m)
        edges = _edges([(*lines[i], points, ends) for i, points, ends in pieces], origin)
        unnamed = sum(length_m(to_local_m(s.points, origin)) for key, s in lines if not key)
        nodes = _node_positions(edges)
        return cls(edges, _spellings(lines, normalizer), nodes, origin, unnamed, "ids" if named else "geometry")


def _rounded(segments: Sequence[Segment]) -> list[Segment]:
    """Lines with `DIGITS` decimals, without those that are points."""
    found = []
    for segment in segments:
        points, nodes = _thinned(np.round(segment.points, DIGITS) + 0.0, segment.nodes)  # no minus zero
        if len(points) >= 2:
            found.append(replace(segment, points=points, nodes=nodes))
    return found


def _canonical(segments: Sequence[Segment], normalizer: NameNormalizer, origin: Points) -> list[tuple[str, Segment]]:
    """Lines with their keys, each once, in an order and direction of their own.

    Longitudes run on over the antimeridian, so that order and cuts there are as elsewhere.
    """
    found = []
    for segment in segments:
        points, nodes = _thinned(beside(segment.points, origin), segment.nodes)  # 180 and -180 may have been two
        if len(points) < 2:
            continue
        backward = points[::-1].tolist(), (nodes or ())[::-1]
        if backward < (points.tolist(), nodes or ()):
            points, nodes = points[::-1], None if nodes is None else nodes[::-1]
        found.append((normalizer.key(segment.name), replace(segment, points=points, nodes=nodes)))
    found.sort(key=lambda f: (f[1].points.tolist(), f[0], f[1].nodes or (), f[1].level, *_rest(f[1])))
    lines: list[tuple[str, Segment]] = []
    for key, one in found:
        last = lines[-1] if lines else None
        same = last is not None and (key, one.nodes, one.level) == (last[0], last[1].nodes, last[1].level)
        if last is None or not same or not np.array_equal(one.points, last[1].points):
            lines.append((key, one))
    return lines


def _rest(segment: Segment) -> tuple[bool, str, str]:
    return segment.roundabout, segment.neighbourhood, segment.name


def _thinned(points: Points, nodes: tuple[str, ...] | None) -> tuple[Points, tuple[str, ...] | None]:
    """The points without those that repeat the one before, unless they are another node."""
    keep = np.ones(len(points), dtype=bool)
    keep[1:] = (points[1:] != points[:-1]).any(axis=1)
    if nodes is None:
        return points[keep], None
    for i in np.flatnonzero(~keep):
        keep[i] = nodes[i] not in {"", nodes[i - 1]} or (i == len(points) - 1 and nodes[i - 1] == "")
    return points[keep], tuple(n for n, k in zip(nodes, keep, strict=True) if k)


def _edges(pieces: Sequence[tuple[str, Segment, Points, tuple[str, str]]], origin: Points) -> list[Edge]:
    """Edges with numbered nodes: those of a roundabout are one, and so are those that a line of no length joins."""
    same: UnionFind[str] = UnionFind()
    for _, segment, points, ends in pieces:
        if segment.roundabout or not np.ptp(points, axis=0).any():
            same.join(ends)
    place: dict[str, tuple[float, float, str]] = {}  # of a node: its first point in any order of the lines
    for _, _, points, ends in pieces:
        for point, end in zip((points[0].tolist(), points[-1].tolist()), ends, strict=True):
            mine = (point[0], point[1], end)
            place[same.find(end)] = min(mine, place.get(same.find(end), mine))
    number = {root: i for i, root in enumerate(sorted(place, key=lambda r: place[r]))}
    found = []
    for key, segment, points, ends in pieces:
        a, b = (number[same.find(e)] for e in ends)
        if np.ptp(points, axis=0).any():
            metres = to_local_m(points, origin)
            found.append(Edge(key, points, metres, (a, b), segment.neighbourhood, segment.roundabout))
    return sorted(found, key=lambda e: (e.points.tolist(), e.key, e.ends))


def _spellings(lines: Sequence[tuple[str, Segment]], normalizer: NameNormalizer) -> dict[str, str]:
    """How each key is called: as most of its lines are."""
    tally: dict[str, Counter[str]] = defaultdict(Counter)
    for key, segment in lines:
        if key:
            tally[key][normalizer.display(segment.name)] += 1
    return {key: min(names, key=lambda n: (-names[n], n)) for key, names in tally.items()}


def _node_positions(edges: Sequence[Edge]) -> Floats:
    """[n, 2]: the mean of the ends of edges there; over the ring, for a roundabout."""
    n = max(max(e.ends) for e in edges) + 1
    sums, counts = np.zeros((n, 2)), np.zeros(n)
    for edge in edges:
        for end, point in zip(edge.ends, (edge.metres[0], edge.metres[-1]), strict=True):
            sums[end] += point
            counts[end] += 1
    return sums / np.maximum(counts, 1)[:, None]


_Piece = tuple[int, Points, tuple[str, str]]
"""The line it is of, its points, its nodes."""


def _cut_at_shared_nodes(segments: Sequence[Segment]) -> list[_Piece]:
    """Lines cut where they share a node with another line, or with themselves. Nothing meets without one."""
    uses = Counter(node for s in segments for node in s.nodes or () if node)
    found: list[_Piece] = []
    for i, segment in enumerate(segments):
        nodes = segment.nodes or ()
        last = len(nodes) - 1
        stops = [k for k, node in enumerate(nodes) if k in {0, last} or (node and uses[node] > 1)]
        for a, b in pairwise(stops):
            found.append((i, segment.points[a : b + 1], (nodes[a], nodes[b])))
    return found


def _cut_at_crossings(segments: Sequence[Segment], metres: Sequence[Floats], tolerance_m: float) -> list[_Piece]:
    """Lines cut where they cross or touch.

    Ends within the tolerance of each other are one node, and an end within it of another line cuts that line. Lines
    that cross between their ends are cut there. The latter two hold for lines of one level: a bridge ends where the
    road goes on, and crosses what lies below without meeting it.

    Args:
        segments: the lines.
        metres: the same, in local metres.
        tolerance_m: see above.
    """
    lib = shapely()
    nodes: UnionFind[str] = UnionFind()
    ends = np.array([end for line in metres for end in (line[0], line[-1])])
    _join_near(nodes, ends, tolerance_m)
    lines = [lib.LineString(line) for line in metres]
    tree = lib.STRtree(lines)
    lengths = [length_m(line) for line in metres]
    cuts: dict[int, list[tuple[float, str]]] = defaultdict(list)  # of a line: metres along, node

    def touch(line: int, point: Floats, node: str) -> None:
        """Let `node`, at `point`, lie on a line."""
        along, _, _ = nearest(metres[line], point)
        if along <= tolerance_m or along >= lengths[line] - tolerance_m:
            nodes.join([node, _end(line, along > lengths[line] / 2)])
        else:
            cuts[line].append((along, node))

    points, near = tree.query(lib.points(ends), predicate="dwithin", distance=tolerance_m)
    for k, line in sorted(zip(points.tolist(), near.tolist(), strict=True)):
        if k // 2 != line and segments[k // 2].level == segments[line].level:
            touch(line, ends[k], _end(k // 2, bool(k % 2)))
    some, others = tree.query(lines, predicate="intersects")
    for i, j in sorted((a, b) for a, b in zip(some.tolist(), others.tolist(), strict=True) if a < b):
        if segments[i].level != segments[j].level:
            continue
        for n, point in enumerate(_points(lib, lib.intersection(lines[i], lines[j]))):
            node = f"{i} x {j} {n}"
            touch(i, point, node)
            touch(j, point, node)
    found: list[_Piece] = []
    for i, s in enumerate(segments):
        both = (_end(i, last=False), _end(i, last=True))
        for piece, _, pair in cut_at_nodes(s.points, metres[i], cuts[i], both, nodes, tolerance_m):
            found.append((i, piece, pair))
    return [(i, piece, (nodes.find(a), nodes.find(b))) for i, piece, (a, b) in found]


def _end(line: int, last: bool) -> str:
    return f"{line} {'end' if last else 'start'}"


def _join_near(nodes: UnionFind[str], ends: Floats, tolerance_m: float) -> None:
    from scipy.spatial import KDTree

    for a, b in sorted(KDTree(ends).query_pairs(tolerance_m)):
        nodes.join([_end(a // 2, bool(a % 2)), _end(b // 2, bool(b % 2))])


def _points(lib: Any, crossing: Any) -> list[Floats]:
    """Where two lines cross; of a stretch that they share, its ends."""
    found: list[Floats] = []
    for part in lib.get_parts(crossing):
        found += [
            np.asarray(c) for c in (part.coords if part.geom_type == "Point" else (part.coords[0], part.coords[-1]))
        ]
    return found


def cut_at_nodes(
    points: Points,
    metres: Floats,
    at: Iterable[tuple[float, T]],
    ends: tuple[T, T],
    same: UnionFind[T],
    within_m: float,
) -> list[tuple[Points, Floats, tuple[T, T]]]:
    """Pieces of a line that is cut where nodes lie on it, in degrees and in metres, each with the nodes at its ends.

    Args:
        points: [n, 2] degrees.
        metres: [n, 2], the same line.
        at: nodes, each with metres along the line.
        ends: nodes of its first and last point.
        same: nodes no farther apart than `within_m` are joined here, and cut the line once.
        within_m: see there.
    """
    stops: list[tuple[float, T]] = []
    for along, node in sorted(at):
        if stops and along - stops[-1][0] <= within_m:
            same.join([node, stops[-1][1]])
        else:
            stops.append((along, node))
    pieces = cut(points, metres, [along for along, _ in stops])
    names = [node for _, node in stops]
    names.insert(0, ends[0])
    names.append(ends[1])
    return [(p, m, (a, b)) for (p, m), a, b in zip(pieces, names[:-1], names[1:], strict=True)]
