"""Where wrong answers lie: on the next piece of the street, on the street, in the neighbourhood, or elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from ial_bench.addresses import Address
from ial_bench.metrics.accuracy import Areas, group_numbers
from ial_bench.metrics.intervals import Ints
from ial_bench.topk import NO_ANSWER


class Miss(IntEnum):
    """What became of a first answer. Each answer is the first of these that holds."""

    RIGHT = 0
    NEXT = 1
    """One sub-street away: the same main street, with a cross street in common; across the border of a neighbourhood
    too."""
    STREET = 2
    """Farther along the same street, as SA-k counts streets: main street and neighbourhood."""
    NEIGHBOURHOOD = 3
    ELSEWHERE = 4
    NONE = 5
    """No answer."""


WORDS = {
    Miss.NEXT: "next sub-street of the street",
    Miss.STREET: "farther along the street",
    Miss.NEIGHBOURHOOD: "another street of the neighbourhood",
    Miss.ELSEWHERE: "another neighbourhood",
    Miss.NONE: "no answer",
}


@dataclass(frozen=True)
class Nearness:
    """How near addresses are to one another, by their names alone.

    Attributes:
        names: int64 [a], main street.
        streets: int64 [a], main street and neighbourhood.
        areas: int64 [a], neighbourhood.
        crossings: int64 [a, most], cross streets, -1 behind the last.
    """

    names: Ints
    streets: Ints
    areas: Ints
    crossings: Ints

    @classmethod
    def of(cls, addresses: Sequence[Address]) -> Nearness:
        """The nearness of these addresses."""
        names, _ = group_numbers([a.street_name_key for a in addresses], [])
        areas = Areas.of(addresses)
        crossing = [(i, c) for i, a in enumerate(addresses) for c in a.key[2]]
        numbers, _ = group_numbers([c for _, c in crossing], [])
        most = max((len(a.cross_streets) for a in addresses), default=0)
        table = np.full((len(addresses), most), -1, dtype=np.int64)
        filled = [0] * len(addresses)
        for (i, _), number in zip(crossing, numbers, strict=True):
            table[i, filled[i]] = number
            filled[i] += 1
        return cls(names, areas.street_of, areas.neighbourhood_of[areas.street_of], table)

    def misses(self, answered: Ints, truth: Ints) -> npt.NDArray[np.int64]:
        """[n]: the `Miss` of each answer.

        Args:
            answered: [n] rows of the addresses, `NO_ANSWER` for none.
            truth: [n] rows of the addresses.
        """
        a, b = self.crossings[answered], self.crossings[truth]
        shared = ((a[:, :, None] == b[:, None, :]) & (a[:, :, None] >= 0)).any(axis=(1, 2))
        return np.select(
            [
                answered == NO_ANSWER,
                answered == truth,
                (self.names[answered] == self.names[truth]) & shared,
                self.streets[answered] == self.streets[truth],
                self.areas[answered] == self.areas[truth],
            ],
            [Miss.NONE, Miss.RIGHT, Miss.NEXT, Miss.STREET, Miss.NEIGHBOURHOOD],
            Miss.ELSEWHERE,
        ).astype(np.int64)


@dataclass(frozen=True)
class Confused:
    """Queries of one address that were answered with another.

    Attributes:
        truth: row of the addresses.
        answered: row of the addresses.
        queries: how many; with several seeds, the mean.
        places: of these queries.
        share: of all queries of the true address.
    """

    truth: int
    answered: int
    queries: float
    places: int
    share: float


def most_confused(answered: Ints, truth: Ints, places: Ints, seeds: int, most: int) -> list[Confused]:
    """The pairs that were confused most often, those of most queries first.

    Args:
        answered: [n] rows of the addresses, `NO_ANSWER` for none, of all seeds.
        truth: [n] rows of the addresses.
        places: [n].
        seeds: how often each query occurs.
        most: pairs.
    """
    asked = np.bincount(truth) if len(truth) else np.zeros(0, np.int64)
    wrong = np.flatnonzero((answered != truth) & (answered != NO_ANSWER))
    pairs, which, counts = np.unique(
        np.stack([truth[wrong], answered[wrong]], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    which = which.ravel()  # numpy 2.0 gave it another shape
    found = []
    for i in np.argsort(-counts, kind="stable")[:most]:
        t, a = (int(v) for v in pairs[i])
        seen = len(np.unique(places[wrong[which == i]]))
        found.append(Confused(t, a, float(counts[i] / seeds), seen, float(counts[i] / asked[t])))
    return found
