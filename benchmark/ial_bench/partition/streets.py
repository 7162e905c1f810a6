"""One street's lines between its junctions: where it meets other streets, and where its own lines meet.

Lines of one name that run side by side, such as the carriageways of a boulevard, are one street. A side street that
ends at one carriageway is a junction of the other too, which is cut opposite it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ial_bench.geo.lines import Floats, at, away, length_m, nearest, shapely
from ial_bench.geo.points import Points
from ial_bench.partition.network import Edge, StreetNetwork, UnionFind, cut_at_nodes

BESIDE_M = 30.0
"""Lines of one name no farther apart are carriageways of one street, and its crossings with one other street no farther
apart are one: the width of a boulevard with a planted middle."""

_SAME_DIRECTION = np.cos(np.radians(30))
_ABREAST, _SQUARE = np.cos(np.radians(60)), np.cos(np.radians(80))  # how much beside, and not ahead
_ONE_CUT_M = 1e-3
_NEAR_END_M = 10.0  # a junction so near the end of the other carriageway's line is that end
_HEADING_M = 25.0  # far enough from a junction to see where a line goes: carriageways part there


@dataclass(frozen=True)
class Piece:
    """A line between two junctions of a street.

    Attributes:
        points: [n, 2] degrees.
        metres: [n, 2], the same, local.
        length_m: of the line.
        lines: how many lines of the street run side by side here, itself included.
        junctions: at its first and last point.
        neighbourhood: as the source has it.
        inside: whether it lies within a junction, as the ring of a roundabout does, or the stretch between the two
            carriageways of a street that is crossed.
    """

    points: Points
    metres: Floats
    length_m: float
    lines: int
    junctions: tuple[int, int]
    neighbourhood: str
    inside: bool

    @property
    def along_m(self) -> float:
        """Its share in the street's length."""
        return 0.0 if self.inside else self.length_m / self.lines

    def leaves(self, junction: int) -> list[Floats]:
        """Unit directions [2] in which it leaves a junction."""
        lines = [
            line for j, line in zip(self.junctions, (self.metres, self.metres[::-1]), strict=True) if j == junction
        ]
        return [away(line, _HEADING_M) for line in lines]


@dataclass(frozen=True)
class Street:
    """All lines of one name.

    Attributes:
        key: of the name.
        pieces: its lines.
        crossings: the other streets at each junction, by key, with the number of their lines there; junctions without
            any are not listed.
        beside: pieces that run beside each piece at its middle, by number.
    """

    key: str
    pieces: Sequence[Piece]
    crossings: Mapping[int, Mapping[str, int]]
    beside: Mapping[int, frozenset[int]]


def streets_of(network: StreetNetwork, beside_m: float = BESIDE_M) -> list[Street]:
    """The streets of a network, by key."""
    by_key: dict[str, list[Edge]] = defaultdict(list)
    others: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for edge in network.edges:
        if edge.key:
            by_key[edge.key].append(edge)
            for end in edge.ends:
                others[end][edge.key] += 1
    return [_street(key, by_key[key], network, others, beside_m) for key in sorted(by_key)]


def _street(
    key: str, edges: Sequence[Edge], network: StreetNetwork, at_node: Mapping[int, Mapping[str, int]], beside_m: float
) -> Street:
    nodes = sorted({end for edge in edges for end in edge.ends})
    crossed = {n: {k: c for k, c in at_node[n].items() if k != key} for n in nodes}
    crossed = {n: names for n, names in crossed.items() if names}
    joined: UnionFind[int] = UnionFind()
    cuts = _opposite(edges, nodes, crossed, network.nodes, joined, beside_m) if len(edges) > 1 else {}
    _join_crossings(network.nodes, crossed, joined, beside_m)
    pieces = _cut_pieces(edges, cuts, joined)
    crossings: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for node, names in crossed.items():
        for name, count in names.items():
            crossings[joined.find(node)][name] += count
    pieces = [replace(p, inside=p.inside or _within(p, crossings, 2 * beside_m)) for p in pieces]
    pieces, beside = _side_by_side(pieces, beside_m)
    return Street(key, pieces, {j: dict(names) for j, names in crossings.items()}, beside)


def _within(piece: Piece, crossings: Container[int], most_m: float) -> bool:
    """Whether a piece lies within a crossing, such as one between the carriageways of the other street."""
    first, last = piece.junctions
    return first == last and first in crossings and piece.length_m <= most_m


def _opposite(
    edges: Sequence[Edge],
    nodes: Sequence[int],
    crossed: Mapping[int, object],
    positions: Floats,
    joined: UnionFind[int],
    beside_m: float,
) -> dict[int, list[tuple[float, int]]]:
    """Where junctions of one line lie on others of the same street: by edge, metres along and node.

    A crossing lies on a line beside it that runs the same way. A loose end lies on the nearest line of another part
    of the street, which may have a gap there.
    """
    lib = shapely()
    at_node: dict[int, list[int]] = defaultdict(list)
    parts: UnionFind[int] = UnionFind()
    for i, edge in enumerate(edges):
        parts.join(edge.ends)
        for end in edge.ends:
            at_node[end].append(i)
    tree = lib.STRtree([lib.LineString(e.metres) for e in edges])
    cuts: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for node in nodes:
        loose = len(at_node[node]) == 1 and node not in crossed
        if node not in crossed and not loose:
            continue
        point = positions[node]
        near = sorted(tree.query(lib.Point(point), predicate="dwithin", distance=beside_m).tolist())
        found = [(i, *nearest(edges[i].metres, point)) for i in near if node not in edges[i].ends]
        if loose:
            found = [f for f in found if parts.find(edges[f[0]].ends[0]) != parts.find(node)]
            found = sorted(found, key=lambda f: (f[2], f[0]))[:1]
        elif found:
            mine = [d for i in at_node[node] for d in _directions(edges[i], node)]
            found = [f for f in found if _runs_beside(point, edges[f[0]].metres, f[1], f[3], mine, _ABREAST)]
        for i, along, _, _ in found:
            length = length_m(edges[i].metres)
            if min(along, length - along) <= _NEAR_END_M:
                joined.join([node, edges[i].ends[along > length / 2]])
            else:
                cuts[i].append((along, node))
    return cuts


def _directions(edge: Edge, node: int) -> list[Floats]:
    lines = [line for end, line in zip(edge.ends, (edge.metres, edge.metres[::-1]), strict=True) if end == node]
    return [away(line, _HEADING_M) for line in lines]


def _runs_beside(
    point: Floats, line: Floats, along: float, direction: Floats, mine: Iterable[Floats], most: float
) -> bool:
    """Whether a line runs, at its nearest point, the way that one at `point` does, and beside it, not before it."""
    offset = at(line, along) - point
    far = float(np.hypot(*offset))
    if far < 1e-6 or abs(float(offset @ direction)) > most * far:
        return False
    return any(abs(float(d @ direction)) >= _SAME_DIRECTION for d in mine)


def _join_crossings(
    positions: Floats, crossed: Mapping[int, Mapping[str, int]], joined: UnionFind[int], beside_m: float
) -> None:
    """Make one of crossings with one other street that are near each other: with both its carriageways, say."""
    from scipy.spatial import KDTree

    nodes = sorted(crossed)
    if len(nodes) > 1:
        for a, b in sorted(KDTree(positions[nodes]).query_pairs(beside_m)):
            if crossed[nodes[a]].keys() & crossed[nodes[b]].keys():
                joined.join([nodes[a], nodes[b]])


def _cut_pieces(
    edges: Sequence[Edge], cuts: Mapping[int, list[tuple[float, int]]], joined: UnionFind[int]
) -> list[Piece]:
    found = [
        (*piece, edge)
        for i, edge in enumerate(edges)
        for piece in cut_at_nodes(edge.points, edge.metres, cuts.get(i, ()), edge.ends, joined, _ONE_CUT_M)
    ]
    pieces = []
    for points, metres, ends, edge in found:
        a, b = (joined.find(e) for e in ends)
        inside = a == b and edge.roundabout
        pieces.append(Piece(points, metres, length_m(metres), 1, (a, b), edge.neighbourhood, inside))
    return pieces


def _side_by_side(pieces: Sequence[Piece], beside_m: float) -> tuple[list[Piece], dict[int, frozenset[int]]]:
    """The pieces with the number of lines at the middle of each, and which those are."""
    if len(pieces) < 2:
        return list(pieces), {}
    lib = shapely()
    tree = lib.STRtree([lib.LineString(p.metres) for p in pieces])
    middles = [at(p.metres, p.length_m / 2) for p in pieces]
    some, near = tree.query(lib.points(np.array(middles)), predicate="dwithin", distance=beside_m)
    beside: dict[int, set[int]] = defaultdict(set)
    for i, j in zip(some.tolist(), near.tolist(), strict=True):
        if i != j and not pieces[i].inside and not pieces[j].inside:
            _, _, mine = nearest(pieces[i].metres, middles[i])
            along, _, direction = nearest(pieces[j].metres, middles[i])
            if _runs_beside(middles[i], pieces[j].metres, along, direction, [mine], _SQUARE):
                beside[i].add(j)
    counted = [replace(p, lines=1 + len(beside[i])) for i, p in enumerate(pieces)]
    return counted, {i: frozenset(found) for i, found in beside.items() if found}
