"""Two methods on many simulated datasets at once, right or wrong as thresholds of normal numbers have it.

A photo's number has a part of its place and one of its own, and both methods share a part of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from ial_bench.metrics.comparison import compare
from ial_bench.metrics.power import Assumed, Sizes

Floats = npt.NDArray[np.float64]
_TO_MEASURE = 100_000  # places


@dataclass(frozen=True)
class Pair:
    """Two methods.

    Attributes:
        first: accuracy of the one.
        other: of the other.
        shared: how much of what decides an answer both share.
        place: how much of it is of the place.
    """

    first: float
    other: float
    shared: float
    place: float

    def draw(self, rng: np.random.Generator, place: npt.NDArray[np.int64], worlds: int) -> tuple[Floats, Floats]:
        """[n, worlds] each: right or wrong, of queries of these places [n]."""
        places = int(place.max()) + 1

        def number() -> Floats:
            of_place, own = rng.standard_normal((places, worlds))[place], rng.standard_normal((len(place), worlds))
            return np.asarray(np.sqrt(self.place) * of_place + np.sqrt(1 - self.place) * own)

        both = np.sqrt(self.shared) * number()
        alone = np.sqrt(1 - self.shared)
        first, other = (both + alone * number() < stats.norm.ppf(p) for p in (self.first, self.other))
        return first.astype(np.float64), other.astype(np.float64)

    def as_assumed(self, sizes: Sizes) -> Assumed:
        """What `bench power` would have to be told of them, measured on many places of two photos."""
        first, other = self.draw(np.random.default_rng(1), np.repeat(np.arange(_TO_MEASURE), 2), 1)
        difference = (other - first).reshape(-1, 2)
        within = np.corrcoef(difference.T)[0, 1]
        return Assumed(self.first, float(np.corrcoef(first[:, 0], other[:, 0])[0, 1]), float(within), sizes)

    def told_apart(self, place: npt.NDArray[np.int64], worlds: int, level: float = 0.05, seed: int = 0) -> float:
        """The share of worlds whose test has p below the level."""
        first, other = self.draw(np.random.default_rng([seed, len(place)]), place, worlds)
        pairs = [(i, worlds + i) for i in range(worlds)]
        found = compare(np.concatenate([first, other], axis=1), place, pairs)
        return float(np.mean([d.p is not None and d.p < level for d in found]))
