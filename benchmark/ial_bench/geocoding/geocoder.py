"""From coordinates to ranked addresses: the second stage of an Image-GPS-Address pipeline."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ial_bench.addresses import Address
from ial_bench.geo.points import FARTHEST_M, Cell, Points, cells_of
from ial_bench.geocoding.names import PlaceName, StreetMatcher
from ial_bench.geocoding.place_index import PlaceIndex
from ial_bench.topk import TopK


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


class Namer(Protocol):
    """Tells what a position is called."""

    def names(self, positions: Points) -> list[PlaceName | None]:
        """The name of each position [n, 2]; None where it has none."""
        ...

    def facts(self) -> Mapping[str, Any]:
        """What is worth keeping in a run's record. JSON values."""
        ...


class ByName(Geocoder):
    """Candidates on the street that a geocoder names.

    No geocoder names the crossings between which a position lies. Hence candidates on the named street stand in the
    order of the distance to their nearest labelled place, those in a named neighbourhood first. Candidates on other
    streets are not listed; where no street is named, or none that is a candidate's, nothing is.

    Args:
        namer: the geocoder.
        places: the labelled places.
        addresses: the candidates'.
        threshold: how alike two names must be, 0 to 1.
    """

    def __init__(self, namer: Namer, places: PlaceIndex, addresses: Sequence[Address], threshold: float) -> None:
        self.namer, self.places = namer, places
        self._matcher = StreetMatcher(addresses, threshold)
        self._outcomes: dict[Cell, str] = {}  # by position, so that latency runs do not count again

    def rank(self, positions: Points, k: int) -> TopK:
        """Scores count down: -0, -1, -2, ..."""
        n = len(positions)
        scores = np.zeros((n, self.places.n_candidates))
        named: npt.NDArray[np.bool_] = np.zeros(scores.shape, dtype=bool)
        found = zip(cells_of(positions), self.namer.names(positions), strict=True)
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
        """Of how many different positions it found candidates, and why not of the others; the geocoder's own facts."""
        outcomes = Counter(self._outcomes.values())
        counted = {o: outcomes[o] for o in ("answered", "without_street", "street_not_a_candidate")}
        return {"positions": len(self._outcomes), **counted, **self.namer.facts()}


def _minus(metres: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return -np.where(np.isfinite(metres), metres, FARTHEST_M)
