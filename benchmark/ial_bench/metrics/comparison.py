"""Comparing methods on the same queries: sign flips of whole places, and Holm's correction.

Two methods often fail on the same photos, so the difference of their accuracies is known better than either accuracy.
If two methods were equal, each place could equally have gone the other way. So the differences of places get random
signs, one sign for all photos of a place, and the observed difference is compared with those.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ial_bench.metrics.intervals import LEVEL, Floats, Ints, means
from ial_bench.seeds import generator

FLIPS = 10_000
_ALL_FLIPS_OF = 13
"""Places up to which all signs are tried: 2^13 are fewer than `FLIPS`."""
_BLOCK_CELLS = 1 << 20  # signs drawn at once: they stay in the processor's cache
_ROUNDING = 1e-9  # of sums that are equal but for the order in which they were added


@dataclass(frozen=True)
class Difference:
    """One pair of methods.

    Attributes:
        first: column of the one method.
        second: column of the other method.
        value: mean of the first minus mean of the second.
        ci95: interval over places, None with a single place.
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
    places: Ints,
    pairs: Sequence[tuple[int, int]] | None = None,
    strata: Ints | None = None,
    seed: int = 0,
) -> list[Difference]:
    """Differences between columns.

    p is the share of signs whose difference is larger than the one seen, half of those that are as large counting (the
    mid-p value: whole places take few values, and the plain share would then stay far below its level). All signs are
    tried where few places differ, else 10,000 drawn ones.

    The interval joins those of the shares of queries that either method alone has right (MOVER: Zou and Donner,
    Statistics in Medicine 2008). It is made for its coverage, p for its level: close to 5 % they may disagree.

    Args:
        values: [n, m], one row a query and one column a method, 0 to 1: right or wrong, or the mean of that over seeds.
        places: [n], any numbers; equal ones are one place.
        pairs: of columns; None: all.
        strata: [n], such as the dataset of each query. Each stratum has the same weight, whatever its size; None: a
            single one. A place belongs to one stratum.
        seed: of the signs.

    Returns:
        One a pair, in their order.
    """
    pairs = list(combinations(range(values.shape[1]), 2)) if pairs is None else pairs
    mean = means(values, places, strata).values
    intervals = [_interval(values[:, a] - values[:, b], places, strata) for a, b in pairs]
    p = _p_values(_place_sums(values, places, strata), pairs, seed)
    corrected = holm([q for q in p if q is not None])
    return [
        Difference(
            a, b, float(mean[a] - mean[b]), ci95, float(np.sum(values[:, a] * (1 - values[:, b]))),
            float(np.sum(values[:, b] * (1 - values[:, a]))), p[i], None if p[i] is None else corrected[i],
        )
        for i, ((a, b), ci95) in enumerate(zip(pairs, intervals, strict=True))
    ]  # fmt: skip


def not_separable(values: Floats, places: Ints, seed: int = 0) -> list[int]:
    """The columns that the data cannot separate from the one of largest mean, and that one itself.

    Which one is best was seen in the same data: of twelve equal methods one always leads, and the last is far behind it
    by chance alone. So a row is held against the largest difference between any two of the rows still in question,
    each in units of its own spread. The row that is farthest behind is tested first. Where it is separable it is
    dropped, and the next is held against the largest difference of those that remain.
    """
    n, m = values.shape
    if m == 0 or n == 0:
        return []
    best = int(values.mean(axis=0).argmax())
    sums = _place_sums(values, places, None)
    if len(sums) < 2:
        return list(range(m))
    spread = np.sqrt(((sums[:, :, None] - sums[:, None, :]) ** 2).sum(axis=0))
    spread[spread == 0] = np.inf  # equal answers everywhere: no difference
    behind = (sums[:, best] - sums.T).sum(axis=1) / spread[best]
    order = [best, *(i for i in np.argsort(behind, kind="stable") if i != best)]
    # Of each number of rows, from the best on: signs whose largest difference is at least that of the last of them.
    reached, flips = np.zeros(m), 0
    for signs in _signs(len(sums), seed):
        flipped = signs @ sums
        largest = np.zeros(len(signs))
        for j in range(1, m):
            a, others = order[j], order[:j]
            differences = np.abs(flipped[:, [a]] - flipped[:, others]) / spread[a, others]
            largest = np.maximum(largest, differences.max(axis=1))
            reached[j] += np.count_nonzero(largest >= behind[a] - _ROUNDING)
        flips += len(signs)
    kept = m
    while kept > 1 and reached[kept - 1] / flips < 1 - LEVEL:
        kept -= 1
    return sorted(order[:kept])


def least_p(places: int) -> float:
    """The smallest p that this number of places can give: all of them differ, and to one side.

    Of their 2^n signs, two give a difference as large as the one seen, and half of these count. Drawn signs always
    include those seen.
    """
    return max(0.5**places, 0.5 / (FLIPS + 1))


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


def _interval(difference: Floats, places: Ints, strata: Ints | None) -> tuple[float, float] | None:
    """The interval of the mean of differences [n] between -1 and 1."""
    sides = means(np.stack([np.maximum(difference, 0), np.maximum(-difference, 0)], axis=1), places, strata)
    if np.isnan(sides.low).any():
        return None
    squares = (sides.residuals**2).sum(axis=0)
    both = float(sides.residuals[:, 0] @ sides.residuals[:, 1])
    together = both / float(np.sqrt(squares.prod())) if squares.all() else 0.0
    value = sides.values[0] - sides.values[1]
    down, up = sides.values - sides.low, sides.high - sides.values

    def reach(x: float, y: float) -> float:
        return float(np.sqrt(max(0.0, x * x + y * y - 2 * together * x * y)))

    return max(-1.0, float(value - reach(down[0], up[1]))), min(1.0, float(value + reach(up[0], down[1])))


def _place_sums(values: Floats, places: Ints, strata: Ints | None) -> Floats:
    """[P, m]: sums of the columns over each place's queries; with strata, as shares of the stratum's queries."""
    if not len(values):
        return np.zeros((0, values.shape[1]))
    weights = np.ones(len(values))
    if strata is not None:
        _, stratum, counts = np.unique(strata, return_inverse=True, return_counts=True)
        weights = 1 / counts[stratum]
    _, place = np.unique(places, return_inverse=True)
    return np.stack([np.bincount(place, column * weights) for column in values.T], axis=1)


def _p_values(sums: Floats, pairs: Sequence[tuple[int, int]], seed: int) -> list[float | None]:
    """The p-value of each pair of columns of sums [P, m]."""
    if len(sums) < 2:
        return [None] * len(pairs)
    first, second = (np.array([pair[i] for pair in pairs], dtype=np.int64) for i in (0, 1))
    differences = sums[:, first] - sums[:, second]
    differing = differences != 0
    few = differing.sum(axis=0) <= _ALL_FLIPS_OF
    found = np.ones(len(pairs))
    for i in np.flatnonzero(few):
        found[i] = _exact_p(differences[differing[:, i], i])
    many = np.flatnonzero(~few)
    if len(many):
        seen = np.abs(differences[:, many].sum(axis=0))
        above, flips = np.zeros(len(many)), 0
        for signs in _signs(len(sums), seed):
            flipped = signs @ sums
            above += _at_least(np.abs(flipped[:, first[many]] - flipped[:, second[many]]), seen)
            flips += len(signs)
        found[many] = above / flips
    return [min(1.0, float(p)) for p in found]


def _exact_p(differences: Floats) -> float:
    """The p-value over all signs of the places that differ."""
    if not len(differences):
        return 1.0
    flipped = np.abs(_all_signs(len(differences)) @ differences)
    return float(_at_least(flipped[:, None], np.abs(differences.sum(keepdims=True)))[0] / len(flipped))


def _at_least(flipped: Floats, seen: Floats) -> Floats:
    """[m]: how many of [f, m] are above [m], and half of those that are equal."""
    slack = _ROUNDING * np.maximum(seen, 1.0)
    return np.asarray((flipped > seen + slack).sum(axis=0) / 2 + (flipped >= seen - slack).sum(axis=0) / 2)


def _all_signs(n: int) -> Floats:
    """[2^n, n]: all signs of n places."""
    return np.asarray((np.arange(2**n)[:, None] >> np.arange(n) & 1) * 2.0 - 1)


def _signs(n: int, seed: int) -> Iterator[Floats]:
    """Blocks [b, n] of signs: all signs of few places, else those seen and `FLIPS` drawn ones."""
    if n <= _ALL_FLIPS_OF:
        yield _all_signs(n)
        return
    yield np.ones((1, n))
    rng = generator("sign flips", seed)
    block = max(1, _BLOCK_CELLS // n)
    for start in range(0, FLIPS, block):
        size = min(block, FLIPS - start)
        bits = np.unpackbits(np.frombuffer(rng.bytes(size * (-(-n // 8))), np.uint8).reshape(size, -1), axis=1)
        yield np.asarray(bits[:, :n] * 2.0 - 1, dtype=np.float64)
