"""Power of the paired test: against the test itself on simulated answers, closed forms and published numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ial_bench.metrics.comparison import compare, least_p
from ial_bench.metrics.power import (
    Assumed,
    PlaceDifferences,
    Seen,
    Sizes,
    correlation_limits,
    fewest_places,
    least_difference,
    places_needed,
    power,
)
from support.paired_worlds import Pair

WORLDS = 400
SLACK = 3 * np.sqrt(0.25 / WORLDS)
"""Three standard errors of a share of so many worlds: 7.5 points."""
FEW_POINTS = 0.03


def equal_places(places: int, photos: int) -> np.ndarray:
    return np.repeat(np.arange(places), photos)


AGREE_LITTLE, AGREE_MUCH = (0.3, 0.2), (0.7, 0.5)  # shared by the methods, and of the place
GRID = [
    (places, photos, *agreement, difference)
    for places, photos, difference in (
        (15, 1, 0.35), (15, 3, 0.28), (15, 8, 0.2), (40, 1, 0.2), (40, 3, 0.15), (40, 8, 0.11),
    )
    for agreement in (AGREE_LITTLE, AGREE_MUCH)
] + [
    (120, 1, *AGREE_LITTLE, 0.12), (120, 8, *AGREE_MUCH, 0.07), (300, 1, *AGREE_MUCH, 0.07),
    (300, 3, *AGREE_LITTLE, 0.05), (300, 8, *AGREE_MUCH, 0.04),
]  # fmt: skip


def test_power_is_that_of_the_test_on_simulated_answers() -> None:
    off = {}
    for places, photos, shared, part, difference in GRID:
        pair = Pair(0.6, 0.6 + difference, shared, part)
        predicted = power(pair.as_assumed(Sizes(photos, 0))(difference), places, 0.05)
        seen = pair.told_apart(equal_places(places, photos), WORLDS)
        off[places, photos, shared] = predicted - seen
        assert 0.15 < predicted < 0.98  # where a wrong formula would show
    worst = max(off, key=lambda cell: abs(off[cell]))
    assert abs(off[worst]) < SLACK + FEW_POINTS, (worst, off[worst])
    assert abs(np.mean(list(off.values()))) < 0.02
    assert np.mean(np.abs(list(off.values()))) < 0.035


@pytest.mark.parametrize(
    ("photos", "difference", "accuracy", "wanted", "comparisons"),
    [(1, 0.12, 0.6, 0.8, 1), (4, 0.12, 0.6, 0.8, 1), (4, 0.05, 0.9, 0.9, 1), (2, 0.15, 0.3, 0.8, 6)],
)
def test_as_many_places_as_are_asked_for_have_the_power(
    photos: int, difference: float, accuracy: float, wanted: float, comparisons: int
) -> None:
    pair, level = Pair(accuracy, accuracy + difference, 0.5, 0.4), 0.05 / comparisons
    of = pair.as_assumed(Sizes(photos, 0))(difference)
    places = places_needed(of, wanted, level)
    assert places is not None
    assert power(of, places, level) >= wanted > power(of, places - 1, level)
    seen = pair.told_apart(equal_places(places, photos), WORLDS, level)
    assert seen == pytest.approx(wanted, abs=3 * np.sqrt(wanted * (1 - wanted) / WORLDS) + FEW_POINTS)


def test_the_smallest_difference_is_seen_as_often_as_asked() -> None:
    place = equal_places(80, 4)
    assumed = Pair(0.7, 0.8, 0.5, 0.3).as_assumed(Sizes.of(place))
    difference = least_difference(assumed, 80, 0.8, 0.05, 0.3)
    assert difference is not None
    seen = Pair(0.7, 0.7 + difference, 0.5, 0.3).told_apart(place, WORLDS)
    assert seen == pytest.approx(0.8, abs=3 * np.sqrt(0.16 / WORLDS) + FEW_POINTS)


def test_places_of_unequal_sizes() -> None:
    place = np.repeat(np.arange(60), np.random.default_rng(2).integers(1, 25, 60))
    pair = Pair(0.6, 0.68, 0.5, 0.4)
    sizes = Sizes.of(place)
    predicted = power(pair.as_assumed(sizes)(0.08), 60, 0.05)
    assert predicted == pytest.approx(pair.told_apart(place, WORLDS), abs=SLACK + FEW_POINTS)
    as_if_equal = power(pair.as_assumed(Sizes(sizes.mean, 0))(0.08), 60, 0.05)
    assert as_if_equal > predicted + 0.02  # unequal places tell less


def test_stored_answers_say_what_the_assumptions_behind_them_say() -> None:
    pair, place = Pair(0.6, 0.66, 0.5, 0.4), equal_places(150, 4)
    assumed = pair.as_assumed(Sizes.of(place))
    first, other = pair.draw(np.random.default_rng(3), place, 60)
    stored = [Seen.of(a, b, place) for a, b in zip(first.T, other.T, strict=True)]
    assert np.mean([s.within for s in stored if s.within is not None]) == pytest.approx(assumed.within, abs=0.02)
    assert np.mean([s.correlation for s in stored if s.correlation is not None]) == pytest.approx(
        assumed.correlation, abs=0.02
    )
    least = [least_difference(s, 150, 0.8, 0.05, 1.0) for s in stored]
    assert np.mean([d for d in least if d is not None]) == pytest.approx(
        least_difference(assumed, 150, 0.8, 0.05, 0.4), rel=0.04
    )
    needed = [places_needed(s(0.06), 0.8, 0.05) for s in stored]
    true = places_needed(assumed(0.06), 0.8, 0.05)
    assert true is not None
    inside = [n is not None and abs(n / true - 1) <= s.uncertainty for s, n in zip(stored, needed, strict=True)]
    assert np.mean(inside) > 0.8  # an interval at 95 %, of 60


def test_single_photos_have_the_power_of_the_sign_test() -> None:
    """Every number of places that differ, and of those ahead, one after another."""
    places, differing, difference, level = 18, 0.5, 0.4, 0.05
    ahead, total = (1 + difference / differing) / 2, 0.0
    for n in range(places + 1):
        for k in range(n + 1):
            tail = stats.binom.sf(max(k, n - k) - 1, n, 0.5) - stats.binom.pmf(max(k, n - k), n, 0.5) / 2
            if 2 * tail < level:
                total += stats.binom.pmf(n, places, differing) * stats.binom.pmf(k, n, ahead)
    of = PlaceDifferences(difference, differing - difference**2, differing, single=True)
    assert power(of, places, level) == pytest.approx(total)


def test_many_single_photos_have_the_power_of_the_t_test_too() -> None:
    single = PlaceDifferences(0.025, 0.2 - 0.025**2, 0.2, single=True)
    plain = PlaceDifferences(single.mean, single.variance, single.differing, single=False)
    assert power(single, 2500, 0.05) == pytest.approx(power(plain, 2500, 0.05), abs=0.003)


def test_power_of_the_t_test_as_published() -> None:
    """Half a standard deviation at 80 % takes 34 pairs, with 3 of 10 it takes 90 (Faul and others, G*Power)."""
    half, less = (PlaceDifferences(d, 1.0, 1.0, single=False) for d in (0.5, 0.3))
    assert places_needed(half, 0.8, 0.05) == 34
    assert places_needed(less, 0.8, 0.05) == 90
    assert power(half, 34, 0.05) == pytest.approx(0.808, abs=0.001)


@pytest.mark.parametrize("n", [2, 4, 5, 9, 13, 14, 20])
def test_the_least_p_is_that_of_places_which_all_differ_to_one_side(n: int) -> None:
    values = np.tile([0.0, 1.0], (n, 1))
    found = compare(values, np.arange(n))[0].p
    assert found is not None
    # Drawn signs have those seen once, and by chance once more.
    assert least_p(n) <= found <= (least_p(n) if n <= 13 else 4 / 10_000)


@pytest.mark.parametrize(("level", "places"), [(0.05, 5), (0.01, 7), (0.05 / 36, 10)])
def test_fewer_places_than_the_level_takes_show_nothing(level: float, places: int) -> None:
    assert fewest_places(level) == places
    sure = PlaceDifferences(1.0, 1e-9, 1.0, single=False)
    assert power(sure, places - 1, level) == 0
    assert power(sure, places, level) == pytest.approx(1)
    assert places_needed(sure, 0.8, level) == places
    assert least_difference(Assumed(0.5, 0.0, 0.4, Sizes(3, 0)), places - 1, 0.8, level, 0.5) is None
    certain = PlaceDifferences(1.0, 0.0, 1.0, single=True)
    assert power(certain, places - 1, level) == 0
    assert power(certain, places, level) == pytest.approx(1)


def test_power_without_a_difference_is_at_most_the_level() -> None:
    assert power(PlaceDifferences(0.0, 1.0, 1.0, single=False), 50, 0.05) == pytest.approx(0.05)
    assert power(PlaceDifferences(0.0, 0.3, 0.3, single=True), 20, 0.05) < 0.05


def test_more_of_everything_shows_more() -> None:
    base = Assumed(0.6, 0.5, 0.4, Sizes(3, 0))
    needed = places_needed(base(0.05), 0.8, 0.05)
    assert needed is not None
    easier = [
        Assumed(0.6, 0.7, 0.4, Sizes(3, 0)), Assumed(0.6, 0.5, 0.2, Sizes(3, 0)), Assumed(0.6, 0.5, 0.4, Sizes(6, 0)),
        Assumed(0.9, 0.5, 0.4, Sizes(3, 0)),
    ]  # fmt: skip
    for assumed in easier:
        fewer = places_needed(assumed(0.05), 0.8, 0.05)
        assert fewer is not None
        assert fewer < needed
    harder = (
        places_needed(base(0.05), 0.8, 0.01),
        places_needed(base(0.05), 0.95, 0.05),
        places_needed(base(0.03), 0.8, 0.05),
    )
    assert all(n is not None and n > needed for n in harder)


def test_correlation_limits_are_those_of_nested_answers() -> None:
    """Where all that the worse has right the better has too, and where they share as little as they can."""
    worse, better = np.arange(10) < 6, np.arange(10) < 8
    apart = np.arange(10) >= 2
    low, high = correlation_limits(0.6, 0.8)
    assert high == pytest.approx(np.corrcoef(worse, better)[0, 1])
    assert low == pytest.approx(np.corrcoef(worse, apart)[0, 1])
    assert correlation_limits(0.5, 1.0) == (0, 0)


def test_a_difference_beyond_what_differs_takes_more_that_differs() -> None:
    first = np.zeros(200)
    first[:2] = 1
    seen = Seen.of(first, np.zeros(200), np.arange(200))
    assert (seen.alone, seen.single) == (0.01, True)
    of = seen(0.04)
    assert of.differing == pytest.approx(0.04)  # all of them to one side
    same = Seen.of(first, first, np.arange(200))
    assert (same.alone, same.differing, same.uncertainty) == (0, 0, np.inf)
