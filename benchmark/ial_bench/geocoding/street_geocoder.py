"""From coordinates to addresses by the street network: the nearest named street and its cross streets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ial_bench.geo.points import Cell, Points, cells_of
from ial_bench.geo.street_index import StreetIndex
from ial_bench.geocoding.geocoder import Geocoder
from ial_bench.topk import NO_ANSWER, TopK

if TYPE_CHECKING:
    from ial_bench.datasets.streets import StreetLines

_OUTCOMES = ("answered", "out_of_range", "street_not_a_candidate")


class NearestStreet(Geocoder):
    """Candidates by the distance to their nearest line, as far as it is in range; the score is minus metres.

    The answer is "unknown" where no line is in range, and where the nearest is of a street that is no candidate.

    Args:
        lines: of candidate indices; -1 for streets that are no candidate's.
        n_candidates: how many candidates there are; some may have no line.
        range_m: metres.
    """

    def __init__(self, lines: StreetLines, n_candidates: int, range_m: float) -> None:
        self._index, self._n_candidates, self._range_m = StreetIndex(lines), n_candidates, range_m
        self._outcomes: dict[Cell, int] = {}  # by position, so that latency runs do not count again

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
        self._outcomes.update(zip(cells_of(positions), outcomes.tolist(), strict=True))
        listed = (labels >= 0) & (outcomes[rows] == 0)
        rows, labels, scores = rows[listed], labels[listed], scores[listed]
        place = np.arange(len(rows)) - np.searchsorted(rows, rows)
        top = place < k
        indices, best = np.full((n, k), NO_ANSWER, dtype=np.int32), np.full((n, k), np.inf, dtype=np.float32)
        indices[rows[top], place[top]], best[rows[top], place[top]] = labels[top], scores[top]
        best = np.minimum.accumulate(best, axis=1)  # behind the last candidate, its score; 0 where there is none
        return TopK(indices, np.where(np.isinf(best), np.float32(0), best))

    def facts(self) -> Mapping[str, Any]:
        """Of how many different positions it found candidates, and why not of the others."""
        counts = Counter(self._outcomes.values())
        return {"positions": len(self._outcomes), **{name: counts[i] for i, name in enumerate(_OUTCOMES)}}
