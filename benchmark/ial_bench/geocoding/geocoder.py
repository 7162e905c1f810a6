"""Geocoders: from coordinates to ranked addresses, as an Image-GPS-Address pipeline looks them up.

Those that search the labelled places of a city share an index of them, `PlaceIndex`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from ial_bench.addresses import Address
from ial_bench.errors import SkipMethod
from ial_bench.geo.lines import LineIndex, StreetLines
from ial_bench.geo.points import EARTH_RADIUS_M, FARTHEST_M, Cell, Points, cells_of, unit_vectors
from ial_bench.geocoding.reverse import ReverseGeocoder
from ial_bench.geocoding.street_names import StreetMatcher
from ial_bench.topk import NO_ANSWER, TopK

if TYPE_CHECKING:
    from ial_bench.datasets.photos import Photos

_FIRST_NEIGHBOURS = 32


class PlaceIndex:
    """Where each address was photographed.

    Distances are great-circle metres on the sphere of the Earth's mean radius, as in `haversine_m`. The search goes
    by chords through it, which grow with the distance: neither a pole nor the antimeridian is special.

    Args:
        positions: [n, 2], latitude and longitude in degrees.
        labels: int32 [n], candidate index of each.
        n_candidates: how many candidates there are; some may have no place.

    Raises:
        SkipMethod: there is no place at all.
    """

    def __init__(self, positions: Points, labels: npt.NDArray[np.int32], n_candidates: int) -> None:
        from scipy.spatial import KDTree

        if len(labels) == 0:
            raise SkipMethod("there are no labelled train photos whose places could be searched")
        self.positions, self.labels, self.n_candidates = positions, labels, n_candidates
        self._vectors = unit_vectors(positions)
        self._tree = KDTree(self._vectors)

    @classmethod
    def of(cls, *parts: Photos) -> PlaceIndex:
        """The places of photos whose address is a candidate; the views of a place share its position and count once.

        Raises:
            SkipMethod: there is none.
        """
        positions = np.concatenate([p.positions for p in parts])
        labels = np.concatenate([p.labels for p in parts])
        points = np.concatenate([positions, labels[:, None]], axis=1)[labels >= 0]
        points = np.unique(points, axis=0)
        return cls(points[:, :2], points[:, 2].astype(np.int32), len(parts[0].candidates))

    def nearest_m(self, queries: Points, k: int) -> npt.NDArray[np.float64]:
        """float64 [n, n_candidates]: metres to the nearest place of each address, for at least the k nearest.

        Infinite for addresses without a place, and for those that are not among the k nearest nor tie with the last.

        Args:
            queries: [n, 2].
            k: addresses wanted.
        """
        vectors = unit_vectors(queries)
        chords = np.full((len(queries), self.n_candidates), np.inf)
        # One more than asked for, so that an address that ties with the last one is not missed.
        wanted = min(k + 1, len(np.unique(self.labels)))
        open_rows, neighbours = np.arange(len(queries)), min(_FIRST_NEIGHBOURS, len(self.labels))
        while len(open_rows):  # ever more neighbours, until enough addresses are among them
            # A list of ranks keeps the answer two-dimensional for a single neighbour as well.
            found_chords, found = self._tree.query(vectors[open_rows], np.arange(1, neighbours + 1))
            rows = np.repeat(open_rows, neighbours)
            np.minimum.at(chords, (rows, self.labels[found].ravel()), np.asarray(found_chords).ravel())
            enough = np.isfinite(chords[open_rows]).sum(axis=1) >= wanted
            if neighbours == len(self.labels):
                break
            open_rows, neighbours = open_rows[~enough], min(4 * neighbours, len(self.labels))
        return _metres(chords)

    def metres_to(self, query: Points, candidates: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """float64 [m]: metres from one point [2] to the nearest place of each of m candidates; infinite without one."""
        chords = np.full(self.n_candidates, np.inf)
        there = np.isin(self.labels, candidates)
        between = np.linalg.norm(self._vectors[there] - unit_vectors(query), axis=1)
        np.minimum.at(chords, self.labels[there], between)
        return _metres(chords[candidates])

    def votes(self, queries: Points, radius_m: float) -> npt.NDArray[np.float64]:
        """float64 [n, n_candidates]: sum over each address's places within the radius of ``1 - distance / radius``.

        Args:
            queries: [n, 2].
            radius_m: in metres, at most half way round the Earth.
        """
        votes = np.zeros((len(queries), self.n_candidates))
        if len(queries) == 0:
            return votes
        vectors = unit_vectors(queries)
        chord = 2 * np.sin(min(radius_m / EARTH_RADIUS_M, np.pi) / 2)
        found = self._tree.query_ball_point(vectors, chord, return_sorted=True)
        rows = np.repeat(np.arange(len(queries)), [len(f) for f in found])
        places = np.concatenate([np.asarray(f, dtype=np.int64) for f in found])
        metres = _metres(np.linalg.norm(vectors[rows] - self._vectors[places], axis=1))
        np.add.at(votes, (rows, self.labels[places]), np.clip(1 - metres / radius_m, 0, None))
        return votes

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays from which `restored` makes the index again."""
        return {"positions": self.positions, "labels": self.labels, "n_candidates": np.array(self.n_candidates)}

    @classmethod
    def restored(cls, state: Any) -> PlaceIndex:
        """The index whose arrays `state` holds."""
        return cls(state["positions"], state["labels"], int(state["n_candidates"]))


def _metres(chords: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Great-circle metres of chords of the unit sphere; infinite ones stay infinite."""
    metres = 2 * EARTH_RADIUS_M * np.arcsin(np.clip(chords / 2, 0, 1))
    return np.where(np.isfinite(chords), metres, np.inf)


class Geocoder(ABC):
    """Ranks the candidates for a position."""

    @abstractmethod
    def rank(self, positions: Points, k: int) -> TopK:
        """The k best candidates of each position [n, 2]; `NO_ANSWER` where it knows no (more) address."""

    def facts(self) -> Mapping[str, Any]:
        """What is worth keeping in a run's record. JSON values."""
        return {}


class NearestPlace(Geocoder):
    """Candidates by the distance to their nearest labelled place.

    The score is minus that distance in metres; an address without a place comes last.
    """

    def __init__(self, places: PlaceIndex) -> None:
        self.places = places

    def rank(self, positions: Points, k: int) -> TopK:
        """Every candidate is listed, however far away."""
        return TopK.from_scores(_minus(self.places.nearest_m(positions, k)), k)


class RadiusVote(Geocoder):
    """The labelled places within a radius vote, each with ``1 - distance / radius``.

    Candidates without a vote follow by the distance to their nearest place, as in `NearestPlace`. A position farther
    than the radius from every place is answered as there.
    """

    def __init__(self, places: PlaceIndex, radius_m: float) -> None:
        self.places, self.radius_m = places, radius_m

    def rank(self, positions: Points, k: int) -> TopK:
        """Votes are above 0, distances below."""
        votes = self.places.votes(positions, self.radius_m)
        return TopK.from_scores(np.where(votes > 0, votes, _minus(self.places.nearest_m(positions, k))), k)


class _Counting(Geocoder):
    """A geocoder that counts what became of each position."""

    outcomes: ClassVar[tuple[str, ...]]

    def __init__(self) -> None:
        self._outcomes: dict[Cell, str] = {}  # by position, so that latency runs do not count again

    def facts(self) -> Mapping[str, Any]:
        """How many different positions it was asked about, and how many had each outcome."""
        counts = Counter(self._outcomes.values())
        return {"positions": len(self._outcomes), **{outcome: counts[outcome] for outcome in self.outcomes}}


class ByName(_Counting):
    """Candidates on the street that a reverse geocoder names.

    No reverse geocoder reports which crossings a position lies between. Candidates on the named street are therefore
    sorted by the distance to their nearest labelled place, those in a named neighbourhood first. Candidates on other
    streets are not listed. If no street is named, or none of the candidates', nothing is.

    Args:
        reverse: the reverse geocoder.
        places: the labelled places.
        addresses: the candidates'.
        threshold: how alike two names must be, 0 to 1.
    """

    outcomes = ("answered", "without_street", "street_not_a_candidate")

    def __init__(
        self, reverse: ReverseGeocoder, places: PlaceIndex, addresses: Sequence[Address], threshold: float
    ) -> None:
        super().__init__()
        self.reverse, self.places = reverse, places
        self._matcher = StreetMatcher(addresses, threshold)

    def rank(self, positions: Points, k: int) -> TopK:
        """Scores count down: -0, -1, -2, ..."""
        n = len(positions)
        scores = np.zeros((n, self.places.n_candidates))
        named: npt.NDArray[np.bool_] = np.zeros(scores.shape, dtype=bool)
        found = zip(cells_of(positions), self.reverse.names(positions), strict=True)
        for row, (cell, name) in enumerate(found):
            listed, in_area = self._matcher.match(name)
            unknown = "without_street" if name is None or not name.streets else "street_not_a_candidate"
            self._outcomes[cell] = "answered" if len(listed) else unknown
            metres = self.places.metres_to(positions[row], listed)
            order = np.lexsort((listed, metres, ~in_area))
            scores[row, listed[order]] = -np.arange(len(listed))
            named[row, listed] = True
        return TopK.from_scores(scores, k, named=named)

    def facts(self) -> Mapping[str, Any]:
        """Those, and the reverse geocoder's own."""
        return {**super().facts(), **self.reverse.facts()}


class NearestStreet(_Counting):
    """Candidates by the distance to their nearest line, as far as it is in range; the score is minus metres.

    The answer is "unknown" where no line is in range, and where the nearest is of a street that is no candidate.

    Args:
        lines: of candidate indices; -1 for streets that are no candidate's.
        n_candidates: how many candidates there are; some may have no line.
        range_m: metres.
    """

    outcomes = ("answered", "out_of_range", "street_not_a_candidate")

    def __init__(self, lines: StreetLines, n_candidates: int, range_m: float) -> None:
        super().__init__()
        self._index = LineIndex(lines.points, lines.starts, lines.addresses)
        self._n_candidates, self._range_m = n_candidates, range_m

    def rank(self, positions: Points, k: int) -> TopK:
        """Sparse: no score per candidate, so that a city of many streets is answered at once."""
        n, k = len(positions), min(k, self._n_candidates)
        rows, labels, metres = self._index.within(positions, self._range_m)
        scores = (-metres).astype(np.float32)  # ties are those of the numbers that are stored
        order = np.lexsort((labels, labels < 0, -scores, rows))  # of a tie, candidates stand first
        rows, labels, scores = rows[order], labels[order], scores[order]
        firsts = np.flatnonzero(np.diff(rows, prepend=-1))
        outcomes = np.ones(n, dtype=np.int64)
        outcomes[rows[firsts]] = np.where(labels[firsts] >= 0, 0, 2)
        self._outcomes.update(zip(cells_of(positions), (self.outcomes[i] for i in outcomes.tolist()), strict=True))
        listed = (labels >= 0) & (outcomes[rows] == 0)
        rows, labels, scores = rows[listed], labels[listed], scores[listed]
        place = np.arange(len(rows)) - np.searchsorted(rows, rows)
        top = place < k
        indices, best = np.full((n, k), NO_ANSWER, dtype=np.int32), np.full((n, k), np.inf, dtype=np.float32)
        indices[rows[top], place[top]], best[rows[top], place[top]] = labels[top], scores[top]
        best = np.minimum.accumulate(best, axis=1)  # behind the last candidate, its score; 0 where there is none
        return TopK(indices, np.where(np.isinf(best), np.float32(0), best))


def _minus(metres: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return -np.where(np.isfinite(metres), metres, FARTHEST_M)
