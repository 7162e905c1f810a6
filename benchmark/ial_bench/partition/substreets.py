"""The semantic address partition: a city's streets cut at their crossings into sub-streets.

A street is cut where it meets streets of other names. Pieces shorter than `MIN_LENGTH_M` are joined to a neighbour
along the street, so that the crossing between them counts no more; so are, once photos are matched, sub-streets with
too few places. Every metre of a named street is in exactly one sub-street.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ial_bench.addresses import Address
from ial_bench.geo.lines import Floats
from ial_bench.geo.points import Points, rolled
from ial_bench.partition.network import StreetNetwork, UnionFind
from ial_bench.partition.streets import BESIDE_M, Piece, Street, streets_of

MIN_LENGTH_M = 50.0
"""Five places, the fewest a sub-street has, ten metres apart: the usual step between panoramas."""

MIN_PLACES = 5
"""As in the paper."""

_ONE_WAY = np.cos(np.radians(60))


@dataclass(frozen=True)
class SubStreet:
    """A piece of a street between crossings.

    Attributes:
        street: the street it is of.
        parts: its pieces, as numbers of the street's.
    """

    street: Street
    parts: tuple[int, ...]

    @property
    def pieces(self) -> list[Piece]:
        """Its lines."""
        return [self.street.pieces[i] for i in self.parts]

    @cached_property
    def along_m(self) -> float:
        """Metres along the street; carriageways side by side count once, rings of roundabouts not at all."""
        return float(sum(p.along_m for p in self.pieces))

    @property
    def length_m(self) -> float:
        """The same, but the whole length of a street that is nothing but a ring of a roundabout."""
        return self.along_m or total_m(self.pieces)

    @property
    def lines(self) -> list[Points]:
        """Its lines, [n, 2] degrees each."""
        return [rolled(p.points) for p in self.pieces]

    @cached_property
    def junctions(self) -> frozenset[int]:
        """All junctions it touches."""
        return frozenset(j for p in self.pieces for j in p.junctions)

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """Junctions with other streets at its ends; of a ring that has no end, all on it."""
        crossed = sorted(j for j in self.junctions if j in self.street.crossings)
        ends = tuple(j for j in crossed if self._ends_at(j))
        return ends or tuple(crossed)

    def _ends_at(self, junction: int) -> bool:
        """Whether all its lines leave a junction the same way; carriageways do, however they part there."""
        found = ((i, self.street.pieces[i]) for i in self.parts)
        ways: list[tuple[int, Floats]] = [(i, d) for i, p in found if not p.inside for d in p.leaves(junction)]
        return all(
            float(a @ b) >= _ONE_WAY or self._abreast(i, j) for n, (i, a) in enumerate(ways) for j, b in ways[:n]
        )

    def _abreast(self, i: int, j: int) -> bool:
        return j in self.street.beside.get(i, ()) or i in self.street.beside.get(j, ())

    @cached_property
    def cross_keys(self) -> tuple[str, ...]:
        """A street at each end, by key: of several, one that is not at another end, then the one with most lines."""
        chosen: set[str] = set()
        ends = sorted(self.ends, key=lambda j: (len(self.street.crossings[j]), j))  # those without a choice first
        if not any(self._ends_at(j) for j in ends):
            ends = ends[:2]  # a ring
        for junction in ends:
            names = self.street.crossings[junction]
            chosen.add(min(names, key=lambda n: (n in chosen, -names[n], n)))
        return tuple(sorted(chosen))


@dataclass(frozen=True)
class Partition:
    """A city's sub-streets.

    Attributes:
        subs: every metre of a named street is in one of them.
        names: how each street's key is called.
        n_streets: streets: lines of one name that hang together.
        dropped_crossings: crossings that lie within a sub-street.
    """

    subs: Sequence[SubStreet]
    names: Mapping[str, str]
    n_streets: int
    dropped_crossings: int

    @classmethod
    def of(cls, network: StreetNetwork, min_length_m: float = MIN_LENGTH_M, beside_m: float = BESIDE_M) -> Partition:
        """Cut the streets of a network.

        Args:
            network: the streets.
            min_length_m: no sub-street is shorter, unless the whole street is.
            beside_m: see `BESIDE_M`.
        """
        subs, whole = [], 0
        for street in streets_of(network, beside_m):
            groups = _groups(street)
            whole += _n_parts(street)
            found = [SubStreet(street, g) for g in groups]
            subs += _merged(found, merge_small([s.along_m for s in found], _neighbours(found), min_length_m))
        return cls.made(subs, network.names, whole)

    @classmethod
    def made(cls, subs: Sequence[SubStreet], names: Mapping[str, str], n_streets: int) -> Partition:
        """A partition of given sub-streets."""
        dropped = sum(len(s.junctions & s.street.crossings.keys()) - len(s.ends) for s in subs)
        return cls(subs, names, n_streets, dropped)

    def with_places(self, counts: Sequence[int], min_places: int = MIN_PLACES) -> tuple[Partition, list[int]]:
        """Join sub-streets with too few places to the neighbour along the street that has the fewest.

        Neighbours without places are ignored, since joining with one gains nothing. A sub-street whose neighbours have
        none keeps too few.

        Args:
            counts: places of each sub-street.
            min_places: how many are enough.

        Returns:
            The new partition, and for each old sub-street the new one it is in.
        """
        with_places = [i for i, n in enumerate(counts) if n]
        groups = _neighbours([self.subs[i] for i in with_places])
        roots = merge_small([float(counts[i]) for i in with_places], groups, min_places)
        into = list(range(len(self.subs)))
        for i, root in zip(with_places, roots, strict=True):
            into[i] = with_places[root]
        kept = sorted(set(into))
        number = {old: new for new, old in enumerate(kept)}
        subs = _merged(self.subs, into)
        return Partition.made(subs, self.names, self.n_streets), [number[i] for i in into]

    def address(self, sub: SubStreet, neighbourhood: str) -> Address:
        """How a sub-street is called; cross streets in the order of their names."""
        return Address(self.names[sub.street.key], neighbourhood, tuple(sorted(self.names[k] for k in sub.cross_keys)))


def _groups(street: Street) -> list[tuple[int, ...]]:
    """Pieces that no crossing parts, carriageways between the same crossings together."""
    same: UnionFind[int] = UnionFind()
    at_junction: dict[int, list[int]] = defaultdict(list)
    for i, piece in enumerate(street.pieces):
        for junction in piece.junctions:
            at_junction[junction].append(i)
    for junction, here in at_junction.items():
        if junction not in street.crossings:
            same.join(here)
    between: dict[frozenset[int], list[tuple[int, ...]]] = defaultdict(list)
    for group in _sets(same, len(street.pieces)):
        junctions = frozenset(j for i in group for j in street.pieces[i].junctions if j in street.crossings)
        between[junctions].append(group)
    for groups in between.values():
        for n, group in enumerate(groups):
            for other in groups[:n]:
                if _mostly_beside(street, group, other) and _mostly_beside(street, other, group):
                    same.join([group[0], other[0]])
    return _sets(same, len(street.pieces))


def _mostly_beside(street: Street, some: Sequence[int], others: Sequence[int]) -> bool:
    """Whether others run beside at least half of the length of some pieces."""
    lengths = [(street.pieces[i].length_m, bool(street.beside.get(i, frozenset()) & set(others))) for i in some]
    return 2 * sum(length for length, beside in lengths if beside) >= sum(length for length, _ in lengths)


def _n_parts(street: Street) -> int:
    same: UnionFind[int] = UnionFind()
    for piece in street.pieces:
        same.join(piece.junctions)
    return len({same.find(p.junctions[0]) for p in street.pieces})


def _sets(same: UnionFind[int], n: int) -> list[tuple[int, ...]]:
    found: dict[int, list[int]] = defaultdict(list)
    for i in range(n):
        found[same.find(i)].append(i)
    return sorted(tuple(members) for members in found.values())


def _neighbours(subs: Sequence[SubStreet]) -> dict[int, set[int]]:
    """Sub-streets of one street that share a junction."""
    at_junction: dict[tuple[str, int], list[int]] = defaultdict(list)
    for i, sub in enumerate(subs):
        for junction in sub.junctions:
            at_junction[sub.street.key, junction].append(i)
    beside: dict[int, set[int]] = defaultdict(set)
    for here in at_junction.values():
        for i in here:
            beside[i].update(here)
    return beside


def _merged(subs: Sequence[SubStreet], into: Sequence[int]) -> list[SubStreet]:
    """One sub-street for each number in `into`, in its order."""
    members: dict[int, list[int]] = defaultdict(list)
    for sub, root in zip(subs, into, strict=True):
        members[root] += sub.parts
    return [SubStreet(subs[root].street, tuple(sorted(members[root]))) for root in sorted(members)]


def total_m(pieces: Iterable[Piece]) -> float:
    """Length of all lines, side by side or not."""
    return float(sum(p.length_m for p in pieces))


def merge_small(sizes: Sequence[float], neighbours: Mapping[int, Collection[int]], least: float) -> list[int]:
    """Join parts smaller than `least` to a neighbour until none is left that has one.

    The smallest part goes first, to the smallest of its neighbours, so that parts stay even; of equals, the first.

    Args:
        sizes: of the parts; a joined part has the sum.
        neighbours: of each part; it holds either way.
        least: the size that is large enough.

    Returns:
        For each part, the first of those it was joined with.
    """
    total = list(sizes)
    beside = {i: set(neighbours.get(i, ())) - {i} for i in range(len(total))}
    into = list(range(len(total)))
    heap = [(size, i) for i, size in enumerate(total) if size < least]
    heapq.heapify(heap)
    while heap:
        size, i = heapq.heappop(heap)
        if into[i] != i or size != total[i] or not beside[i]:
            continue
        j = min(beside[i], key=lambda n: (total[n], n))
        first, second = min(i, j), max(i, j)
        into[second] = first
        total[first] += total[second]
        for n in beside.pop(second):
            beside[n].discard(second)
            if n != first:
                beside[n].add(first)
                beside[first].add(n)
        if total[first] < least:
            heapq.heappush(heap, (total[first], first))
    return [_root(into, i) for i in range(len(into))]


def _root(into: list[int], i: int) -> int:
    while into[i] != i:
        i = into[i]
    return i
