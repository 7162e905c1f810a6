"""Comparing methods on the same queries: the paired cluster bootstrap, and Holm's correction.

Two methods often fail on the same photos, so the difference of their accuracies is known better than either accuracy.
Whole places are drawn, as for intervals, and each draw gives the accuracy of all methods at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from ial_bench.metrics.intervals import LEVEL, REPLICATES, place_weights

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """One pair of methods.

    Attributes:
        first: column of the one.
        second: column of the other.
        value: mean of the first minus mean of the second.
        ci95: percentile interval of a bootstrap over places, None with a single place.
        only_first: queries that the first has right and the second wrong; of values that are means over seeds, the
            number expected of a seed each, drawn at random.
        only_second: the other way round.
        p: two-sided, of no difference; None with a single place.
        p_holm: corrected for all pairs compared together.
    """

    first: int
    second: int
    value: float
    ci95: tuple[float, float] | None
    only_first: float
    only_second: float
    p: float | None
    p_holm: float | None

    @property
    def separable(self) -> bool:
        """Whether they differ at the 5 % level, after the correction."""
        return self.p_holm is not None and self.p_holm < 1 - LEVEL


def compare(
    values: Floats,
    places: npt.NDArray[np.integer],
    pairs: Sequence[tuple[int, int]] | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> list[Difference]:
    """Differences between columns.

    The p-value is the smallest level at which the percentile interval leaves out 0: twice the share of draws on the
    far side of it, a draw of exactly 0 counting on both sides.

    Args:
        values: [n, m], one row a query and one column a method, 0 to 1: right or wrong, or the mean of that over seeds.
        places: [n], any numbers; equal ones are one place.
        pairs: of columns; None: all.
        replicates: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        One a pair, in their order.
    """
    n, m = values.shape
    pairs = list(combinations(range(m), 2)) if pairs is None else pairs
    drawn = _drawn_means(values, places, replicates, seed)
    points = values.mean(axis=0) if n else np.full(m, np.nan)
    tail = (1 - LEVEL) / 2
    found: list[tuple[tuple[float, float] | None, float | None]] = []
    for a, b in pairs:
        if drawn is None:
            found.append((None, None))
            continue
        differences = drawn[:, a] - drawn[:, b]
        low, high = np.quantile(differences, [tail, 1 - tail])
        # One is added to both: as many draws as there are cannot tell smaller chances.
        sides = (np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
        p = 2 * (1 + min(sides)) / (1 + replicates)
        found.append(((float(low), float(high)), min(1.0, float(p))))
    corrected = holm([p for _, p in found if p is not None])
    return [
        Difference(
            a, b, float(points[a] - points[b]), ci95, float(np.sum(values[:, a] * (1 - values[:, b]))),
            float(np.sum(values[:, b] * (1 - values[:, a]))), p, None if p is None else corrected[i],
        )
        for i, ((a, b), (ci95, p)) in enumerate(zip(pairs, found, strict=True))
    ]  # fmt: skip


def not_separable(values: Floats, places: npt.NDArray[np.integer], replicates: int = REPLICATES) -> list[int]:
    """The columns that the data cannot tell from the one of largest mean, and that one itself.

    Each is compared with it, with Holm's correction over all of them.
    """
    if values.shape[1] == 0 or len(values) == 0:
        return []
    best = int(values.mean(axis=0).argmax())
    others = [(best, i) for i in range(values.shape[1]) if i != best]
    return sorted([best, *(d.second for d in compare(values, places, others, replicates) if not d.separable)])


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm, Scand. J. Stat. 1979).

    The chance that any true hypothesis gets one below a level is at most that level, whichever the true ones are.
    """
    order = sorted(range(len(p)), key=lambda i: p[i])
    corrected = [1.0] * len(p)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = largest
    return corrected


def _drawn_means(values: Floats, places: npt.NDArray[np.integer], replicates: int, seed: int) -> Floats | None:
    """[replicates, m]: means of the columns in each draw of places; None of fewer than two places."""
    n = len(values)
    if n == 0:
        return None
    _, place = np.unique(places, return_inverse=True)
    n_places = int(place.max()) + 1
    if n_places < 2:
        return None
    sums = np.stack([np.bincount(place, column, minlength=n_places) for column in [*values.T, np.ones(n)]], axis=1)
    totals = np.concatenate([weights @ sums for weights in place_weights(n_places, replicates, seed)])
    return np.asarray(totals[:, :-1] / totals[:, -1:])
