"""Streets drawn in metres, as segments in degrees, and what must hold of any partition of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely

from ial_bench.geo.lines import length_m
from ial_bench.geo.points import Points
from ial_bench.geo.projections import from_local_m
from ial_bench.partition.network import Segment, StreetNetwork, UnionFind
from ial_bench.partition.streets import BESIDE_M
from ial_bench.partition.substreets import Partition, SubStreet, total_m

ORIGIN = np.array([40.44, -79.99])


def degrees(*points: tuple[float, float]) -> Points:
    """[n, 2] degrees of points in metres east and north of `ORIGIN`."""
    return from_local_m(np.array(points, dtype=np.float64), ORIGIN)


def line(
    name: str, *points: tuple[float, float], ids: str | None = None, level: str = "", roundabout: bool = False
) -> Segment:
    """A segment; `ids` are the nodes' names, blank-separated, `-` for a point without one."""
    nodes = None if ids is None else tuple("" if n == "-" else n for n in ids.split())
    return Segment(name, degrees(*points), nodes, "", level, roundabout)


def partition_of(segments: Sequence[Segment], min_length_m: float = 50.0) -> Partition:
    return Partition.of(StreetNetwork.of(segments), min_length_m)


def texts(partition: Partition) -> list[str]:
    """Addresses without the neighbourhood, sorted: ``Main Street (Oak Street)``."""
    return sorted(partition.address(s, "N").text.replace(", N", "", 1) for s in partition.subs)


def shape(partition: Partition) -> list[tuple[str, list[list[tuple[float, ...]]]]]:
    """All there is to a partition: address and lines, to the nearest centimetre or so."""
    return sorted(
        (
            partition.address(s, "N").text,
            sorted(min(a, a[::-1]) for a in ([tuple(p) for p in (np.round(x, 7) + 0.0).tolist()] for x in s.lines)),
        )
        for s in partition.subs
    )


def check_invariants(network: StreetNetwork, partition: Partition, min_length_m: float) -> None:
    """What must hold of every partition.

    Every metre of a named street is in one sub-street; none is shorter than the minimum unless it is a whole street;
    cross streets touch the ends.
    """
    named = [e for e in network.edges if e.key]
    by_key: dict[str, list[SubStreet]] = {}
    for sub in partition.subs:
        by_key.setdefault(sub.street.key, []).append(sub)
    for key, subs in by_key.items():
        used = [i for s in subs for i in s.parts]
        assert sorted(used) == list(range(len(subs[0].street.pieces))), "a piece is in no sub-street, or in two"
        drawn = sum(length_m(e.metres) for e in named if e.key == key)
        assert abs(drawn - sum(total_m(s.pieces) for s in subs)) < 1e-3 + 1e-6 * drawn, "metres lost or doubled"
        _check_lengths(subs, min_length_m)
    assert set(by_key) == {e.key for e in named}
    drawn_lines: dict[str, list[np.ndarray]] = {}
    for edge in named:
        drawn_lines.setdefault(edge.key, []).append(edge.metres)
    lines = {key: shapely.MultiLineString(found) for key, found in drawn_lines.items()}
    for sub in partition.subs:
        _check_cross_streets(sub, lines)


def _check_lengths(subs: Sequence[SubStreet], min_length_m: float) -> None:
    whole: UnionFind[int] = UnionFind()
    for piece in subs[0].street.pieces:
        whole.join(piece.junctions)
    roots = [whole.find(s.pieces[0].junctions[0]) for s in subs]
    for sub, root in zip(subs, roots, strict=True):
        assert sub.length_m >= min_length_m or roots.count(root) == 1, f"{sub.length_m:.1f} m and not a whole street"


def _check_cross_streets(sub: SubStreet, lines: dict[str, shapely.MultiLineString]) -> None:
    ends = [point for p in sub.pieces for j, point in zip(p.junctions, (p.metres[0], p.metres[-1]), strict=True)
            if j in sub.ends]  # fmt: skip
    assert len(sub.cross_keys) <= len(sub.ends)
    for key in sub.cross_keys:
        assert key != sub.street.key
        away = min(shapely.distance(lines[key], shapely.Point(end)) for end in ends)
        assert away <= 3 * BESIDE_M, f"{key} is {away:.0f} m from the ends of a piece of {sub.street.key}"
