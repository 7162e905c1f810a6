"""Where lines meet: at the nodes that a source names, or where their geometry touches."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ial_bench.errors import ConfigError
from ial_bench.geo.lines import Floats, cut, length_m, nearest
from ial_bench.geo.points import Points
from ial_bench.partition.union import UnionFind

if TYPE_CHECKING:
    from ial_bench.partition.network import Segment

Piece = tuple[int, Points, tuple[str, str]]
"""The line it is of, its points, its nodes."""


def shapely() -> Any:
    """The library of geometry.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import shapely as library
    except ImportError as error:
        raise ConfigError("shapely is not installed", "pip install 'ial-bench[build]'") from error
    return library


def cut_at_shared_nodes(segments: Sequence[Segment]) -> list[Piece]:
    """Lines cut where they share a node with another line, or with themselves. Nothing meets without one."""
    uses = Counter(node for s in segments for node in s.nodes or () if node)
    found: list[Piece] = []
    for i, segment in enumerate(segments):
        nodes = segment.nodes or ()
        last = len(nodes) - 1
        stops = [k for k, node in enumerate(nodes) if k in {0, last} or (node and uses[node] > 1)]
        for a, b in pairwise(stops):
            found.append((i, segment.points[a : b + 1], (nodes[a], nodes[b])))
    return found


def cut_at_crossings(segments: Sequence[Segment], metres: Sequence[Floats], tolerance_m: float) -> list[Piece]:
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
    pieces = [p for i, s in enumerate(segments) for p in _cut(i, s.points, metres[i], cuts[i], nodes, tolerance_m)]
    return [(line, points, (nodes.find(a), nodes.find(b))) for line, points, (a, b) in pieces]


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


def _cut(
    line: int, points: Points, metres: Floats, at: list[tuple[float, str]], nodes: UnionFind[str], tolerance_m: float
) -> list[Piece]:
    stops: list[tuple[float, str]] = []
    for along, node in sorted(at):
        if stops and along - stops[-1][0] <= tolerance_m:  # one crossing, met twice
            nodes.join([node, stops[-1][1]])
        else:
            stops.append((along, node))
    names = [_end(line, last=False), *(node for _, node in stops), _end(line, last=True)]
    pieces = cut(points, metres, [along for along, _ in stops])
    return [(line, piece, (a, b)) for (piece, _), a, b in zip(pieces, names[:-1], names[1:], strict=True)]
