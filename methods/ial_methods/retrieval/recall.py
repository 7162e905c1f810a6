"""How many of the true nearest photos an index finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ial_bench import Features
from ial_bench.seeds import generator
from ial_methods.retrieval.search import Rows, Transform, search

NEIGHBOURS = 10
_QUERIES = 1000


@dataclass(frozen=True)
class Probe:
    """Photos whose nearest train photos are known: val photos, or train photos where there is no val.

    Attributes:
        x: [q, d], their vectors.
        own: int64 [q], the row of each in the gallery, -1 for val photos: no photo counts as its own neighbour.
        nearest: int64 [q, 10], rows of its nearest among the train photos; fewer columns where there are fewer.
    """

    x: Rows
    own: npt.NDArray[np.int64]
    nearest: npt.NDArray[np.int64]

    @classmethod
    def sample(cls, train: Features, val: Features, exact: Any, transform: Transform) -> Probe:
        """At most 1,000 photos, the same ones each time.

        Args:
            train: what is searched.
            val: what searches; may be empty.
            exact: an exact index of the train photos that have a candidate address.
            transform: features to vectors.
        """
        part, known = (val, np.arange(len(val))) if len(val) else (train, np.flatnonzero(train.labels >= 0))
        rng = generator("retrieval", "recall")
        chosen = np.sort(rng.choice(len(known), min(_QUERIES, len(known)), replace=False)).astype(np.int64)
        own = np.full(len(chosen), -1, np.int64) if len(val) else chosen
        x = transform(np.asarray(part.x[known[chosen]]))
        return cls(x, own, _others(exact, x, own))

    def recall(self, index: Any) -> float:
        """Recall@10 of an index of the train photos: the share of the nearest that it finds among as many.

        1 where there is nothing to find.
        """
        found = _others(index, self.x, self.own)
        hits = (found[:, :, None] == self.nearest[:, None, :]).any(axis=2)
        return float(hits.sum() / self.nearest.size) if self.nearest.size else 1.0


def _others(index: Any, x: Rows, own: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Rows of the 10 nearest, [q, 10], the queries themselves left out."""
    itself = int((own >= 0).any())
    _, rows = search(index, x, NEIGHBOURS + itself)
    if not itself:
        return rows
    others_first = np.argsort(rows == own[:, None], axis=1, kind="stable")
    return np.take_along_axis(rows, others_first, axis=1)[:, :-1]
