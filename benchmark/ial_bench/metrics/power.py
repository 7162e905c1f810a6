"""What the paired test of `metrics.comparison` can show: its power, the places it needs, the least difference it shows.

The test flips the signs of whole places, so what counts is how a place's sum of differences varies. With P places, a
mean m of these sums and a standard deviation s, it has the power of Student's t test, which flips of signs follow:

    power = P(|t'| > t_{P - 1}),  t' noncentral with P - 1 degrees of freedom about sqrt(P) m / s

Where each place has one photo, sums are -1, 0 and 1, and the test is the mid-p sign test of the places that differ
(McNemar's): its power is added up from binomials. A simulation in the tests holds both to the real test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ial_bench.metrics.comparison import least_p
from ial_bench.metrics.intervals import Floats, Ints

MOST_PLACES = 1_000_000_000
"""The search stops here: no city has as many."""
ROUGH_BELOW = 12
"""Places that differ below which power is a rough number: by simulation, t is then up to 20 points off."""
_NORMAL_FROM = 2000  # degrees of freedom from which t is normal to four digits
_NODES = 400  # numbers of places that differ at which the sign test is looked at
_ONE_SIDED = 4.0  # standard deviations from zero at which the wrong side no longer counts
_CERTAIN = 30.0  # and the power is 1


@dataclass(frozen=True)
class PlaceDifferences:
    """A place's sum of differences between two methods, one draw a place.

    Attributes:
        mean: of the sum.
        variance: of the sum.
        differing: share of the places whose sum is not zero.
        single: a place has one photo, which is right or wrong: the sum is -1, 0 or 1.
    """

    mean: float
    variance: float
    differing: float
    single: bool


Model = Callable[[float], PlaceDifferences]
"""What places are like under a true difference, a fraction."""


@dataclass(frozen=True)
class Sizes:
    """Queries a place.

    Attributes:
        mean: 1 or more.
        variance: between places.
    """

    mean: float
    variance: float

    @classmethod
    def of(cls, places: Ints) -> Sizes:
        """The sizes of places, from the place of each query [n], at least one."""
        _, counts = np.unique(places, return_counts=True)
        return cls(float(counts.mean()), float(counts.var()))

    @property
    def single(self) -> bool:
        """Whether each place has one query."""
        return self.mean == 1 and self.variance == 0

    def spread(self, variance: float, within: float) -> float:
        """Variance of a place's sum of values of this variance, two of a place correlated by `within`."""
        squares = self.mean**2 + self.variance
        return variance * ((1 - within) * self.mean + within * squares)

    def effective(self, within: float) -> float:
        """Independent queries that are worth as much as those of a place."""
        return self.mean * self.mean / self.spread(1.0, within)


@dataclass(frozen=True)
class Assumed:
    """Two methods of assumed accuracies.

    Attributes:
        accuracy: of the one method, a fraction.
        correlation: of both being right on the same query; where the accuracies allow less, as much as they do.
        within: correlation of the differences on two photos of a place.
        sizes: of places.
    """

    accuracy: float
    correlation: float
    within: float
    sizes: Sizes

    def correlation_at(self, difference: float) -> float:
        """The correlation that holds under a difference."""
        low, high = correlation_limits(self.accuracy, self.accuracy + difference)
        return min(max(self.correlation, low), high)

    def __call__(self, difference: float) -> PlaceDifferences:
        """What places are like where the other's accuracy is `accuracy` + `difference`, from 0 to 1."""
        first = self.accuracy * (1 - self.accuracy)
        other = (self.accuracy + difference) * (1 - self.accuracy - difference)
        shared = 2 * self.correlation_at(difference) * np.sqrt(max(0.0, first * other))
        # Rounding may leave no variance where the methods agree as far as they can: it is that of one right alone.
        variance = max(float(first + other - shared), abs(difference) - difference**2)
        alone = min(1.0, variance + difference**2)
        return PlaceDifferences(
            difference * self.sizes.mean,
            self.sizes.spread(variance, self.within) + difference**2 * self.sizes.variance,
            alone if self.sizes.single else 1 - (1 - alone) ** self.sizes.effective(self.within),
            self.sizes.single,
        )


@dataclass(frozen=True)
class Seen:
    """Two methods whose answers are stored.

    Attributes:
        alone: share of the queries that one alone has right; of means over seeds, the mean distance.
        variance: of a place's sum about its share of the difference that was seen.
        differing: share of the places whose sum is not zero.
        correlation: of both being right on the same query; None where one is right on all or none.
        within: correlation of the differences on two photos of a place; None with a photo a place.
        sizes: of places.
        single: a photo a place, right or wrong.
        uncertainty: half a 95 % interval of `variance`, over it: estimated from fourth moments over places.
    """

    alone: float
    variance: float
    differing: float
    correlation: float | None
    within: float | None
    sizes: Sizes
    single: bool
    uncertainty: float

    @classmethod
    def of(cls, first: Floats, other: Floats, places: Ints) -> Seen:
        """What answers show.

        Args:
            first: [n], 0 to 1, of the one method.
            other: [n], of the other.
            places: [n], of two places or more.
        """
        difference = other - first
        _, place = np.unique(places, return_inverse=True)
        sums, counts = np.bincount(place, difference), np.bincount(place)
        sizes = Sizes.of(places)
        residuals = sums - difference.mean() * counts
        variance = float(residuals @ residuals / (len(sums) - 1))
        of_query = float(difference.var())
        correlation = float(np.corrcoef(first, other)[0, 1]) if first.std() and other.std() else None
        more = sizes.spread(1.0, 1.0) - sizes.mean
        within = (variance / of_query - sizes.mean) / more if of_query and more else None
        single = sizes.single and bool(np.isin(difference, (-1, 0, 1)).all())
        return cls(
            float(np.abs(difference).mean()), variance, float(np.mean(sums != 0)), correlation, within, sizes, single,
            _uncertainty(residuals),
        )  # fmt: skip

    def __call__(self, difference: float) -> PlaceDifferences:
        """What places are like under another true difference, with the same variance.

        A difference above the share that one method alone has right takes more such queries, and varies more by the
        same factor.
        """
        more = max(1.0, abs(difference) / self.alone) if self.alone else 1.0
        return PlaceDifferences(
            difference * self.sizes.mean,
            self.variance * more + difference**2 * self.sizes.variance,
            min(1.0, self.differing * more),
            self.single,
        )


def _uncertainty(residuals: Floats) -> float:
    """Half a 95 % interval of the variance of [P] residuals, over it; infinite without variance."""
    squares = residuals**2
    return float(1.96 * squares.std() / squares.mean() / np.sqrt(len(squares))) if squares.any() else float("inf")


def correlation_limits(first: float, other: float) -> tuple[float, float]:
    """The least and the largest correlation that two methods of these accuracies can have on the same query."""
    product = first * (1 - first) * other * (1 - other)
    if product <= 0:
        return 0.0, 0.0
    both = max(0.0, first + other - 1), min(first, other)
    low, high = ((b - first * other) / np.sqrt(product) for b in both)
    return float(low), float(high)


def power(of: PlaceDifferences, places: int, level: float) -> float:
    """The chance that the test separates two methods, on either side.

    Args:
        of: what places are like.
        places: how many.
        level: below which p must be.
    """
    if least_p(places) >= level:
        return 0.0
    if of.single and places * of.differing < _NORMAL_FROM:
        return _power_of_signs(places, of.differing, abs(of.mean), level)
    if of.variance <= 0:
        return float(of.mean != 0)
    return _power_of_t(places - 1, float(np.sqrt(places / of.variance)) * abs(of.mean), level)


def places_needed(of: PlaceDifferences, wanted: float, level: float) -> int | None:
    """The least number of places with this power; None where `MOST_PLACES` have less."""
    low, high = 1, 2
    while power(of, high, level) < wanted:
        if high >= MOST_PLACES:
            return None
        low, high = high, min(2 * high, MOST_PLACES)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(of, middle, level) >= wanted else (middle, high)
    return high


def least_difference(model: Model, places: int, wanted: float, level: float, most: float) -> float | None:
    """The least difference that these places show with this power; None where `most`, a fraction, is not shown."""
    if most <= 0 or power(model(most), places, level) < wanted:
        return None
    low, high = 0.0, most
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if power(model(middle), places, level) >= wanted else (middle, high)
    return high


def fewest_places(level: float) -> int:
    """How many places must differ, all to one side, before p can be below the level.

    Args:
        level: more than the p that no number of places goes below.
    """
    n = 1
    while least_p(n) >= level:
        n += 1
    return n


def _power_of_t(freedom: float, centre: float, level: float) -> float:
    from scipy.special import nctdtr, ndtr, ndtri, stdtrit

    if centre > _CERTAIN:
        return 1.0
    if freedom > _NORMAL_FROM:
        least = -ndtri(level / 2)
        return float(ndtr(centre - least) + ndtr(-centre - least))
    least = -stdtrit(freedom, level / 2)
    other_side = nctdtr(freedom, centre, -least) if centre < _ONE_SIDED else 0.0
    return float(np.clip(1 - nctdtr(freedom, centre, least) + other_side, 0.0, 1.0))


def _power_of_signs(places: int, differing: float, difference: float, level: float) -> float:
    """Power of the mid-p sign test, summed over how many places differ and to which side."""
    mean, spread = places * differing, np.sqrt(places * differing * (1 - differing))
    low, high = max(0, int(mean - 8 * spread - 1)), min(places, int(mean + 8 * spread + 2))
    n = np.unique(np.linspace(low, high, min(_NODES, high - low + 1)).round())
    weight = _binomial(n, places, differing)
    ahead = min(1.0, (1 + difference / differing) / 2) if differing else 0.5
    least = _least_ahead(n, level)
    shown = _at_least(least, n, ahead) + _at_least(least, n, 1 - ahead)
    return float(weight @ shown / weight.sum())


def _least_ahead(n: Floats, level: float) -> Floats:
    """[m]: how many of n differing places must be to one side for p below the level; more than n: it cannot be."""
    from scipy.special import ndtri

    found = np.maximum(np.floor(n / 2 - ndtri(level / 2) * np.sqrt(n) / 2) - 4, np.floor(n / 2) + 1)
    while True:
        p = 2 * _at_least(found, n, 0.5) - _binomial(np.minimum(found, n), n, 0.5)
        more = (found <= n) & (p >= level)
        if not more.any():
            return np.asarray(found)
        found = found + more


def _at_least(k: Floats, n: Floats, p: float) -> Floats:
    """Chances of [m] successes or more in n; 0 where that is more than n."""
    from scipy.special import betainc

    return np.asarray(np.where(k > n, 0.0, betainc(np.minimum(k, np.maximum(n, 1)), np.maximum(n - k, 0) + 1, p)))


def _binomial(k: Floats, n: Floats | int, p: float) -> Floats:
    """Chances of [m] successes in n."""
    from scipy.special import gammaln, xlog1py, xlogy

    ways = gammaln(np.add(n, 1)) - gammaln(k + 1) - gammaln(np.subtract(n, k) + 1)
    return np.asarray(np.exp(ways + xlogy(k, p) + xlog1py(np.subtract(n, k), -p)))
