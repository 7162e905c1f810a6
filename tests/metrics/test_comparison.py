"""Comparisons of methods: against plain loops, public libraries, and simulations whose truth is known."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ial_bench.metrics.comparison import compare, holm, not_separable
from ial_bench.metrics.intervals import clustered_means


def simulated(
    rng: np.random.Generator, places: int, views: int, accuracies: tuple[float, ...], shared: float
) -> tuple[np.ndarray, np.ndarray]:
    """Queries right or wrong, correlated within a place and, by the share `shared`, between methods.

    A photo is right where a normal number is below the accuracy's quantile; the numbers share a part by place.
    """
    place = np.repeat(np.arange(places), views)
    common = rng.standard_normal(places)[place]
    columns = []
    joint = np.sqrt(0.4) * common + np.sqrt(0.6) * rng.standard_normal(places * views)
    for accuracy in accuracies:
        own = np.sqrt(0.4) * rng.standard_normal(places)[place] + np.sqrt(0.6) * rng.standard_normal(places * views)
        mixed = np.sqrt(shared) * joint + np.sqrt(1 - shared) * own
        columns.append(mixed < stats.norm.ppf(accuracy))
    return np.stack(columns, axis=1).astype(np.float64), place


def mid_p(differences: np.ndarray) -> float:
    """Of all signs, one after another."""
    seen, above = abs(differences.sum()), 0.0
    every = list(product((-1, 1), repeat=len(differences)))
    for signs in every:
        flipped = abs(np.dot(signs, differences))
        above += 1 if flipped > seen + 1e-9 else 0.5 if flipped > seen - 1e-9 else 0
    return above / len(every)


@pytest.mark.parametrize("n_places", [2, 8, 12])
def test_of_few_places_all_signs_are_tried(n_places: int) -> None:
    rng = np.random.default_rng(n_places)
    values, places = simulated(rng, n_places, 3, (0.5, 0.6), 0.3)
    found = compare(values, places)[0]
    assert found.value == pytest.approx(values[:, 0].mean() - values[:, 1].mean())
    differences = np.array([(values[places == p, 0] - values[places == p, 1]).sum() for p in range(n_places)])
    assert found.p == pytest.approx(mid_p(differences) if differences.any() else 1.0)
    assert found.only_first == np.sum((values[:, 0] == 1) & (values[:, 1] == 0))
    assert found.only_second == np.sum((values[:, 0] == 0) & (values[:, 1] == 1))


def test_drawn_signs_give_the_p_of_a_library() -> None:
    rng = np.random.default_rng(5)
    values, places = simulated(rng, 40, 3, (0.5, 0.62), 0.3)
    found = compare(values, places)[0]
    differences = np.array([(values[places == p, 0] - values[places == p, 1]).sum() for p in range(40)])
    other = stats.permutation_test(
        (differences,), lambda d, axis: np.abs(d.sum(axis=axis)), vectorized=True, permutation_type="samples",
        n_resamples=20_000, alternative="greater", rng=np.random.default_rng(1),
    )  # fmt: skip
    ties = np.mean(np.abs(np.abs(other.null_distribution) - abs(differences.sum())) < 1e-9)
    # Shares of 10,000 and 20,000 draws: five standard errors of their difference at 0.1 are 0.018.
    assert found.p == pytest.approx(other.pvalue - ties / 2, abs=0.018)


def test_single_photos_have_the_p_of_the_mid_p_mcnemar_test() -> None:
    """Of 30 queries that one method alone has right, 10 are the first's: binomial (30, 1/2) in closed form."""
    values = np.zeros((400, 2))
    values[:10, 0] = values[10:30, 1] = values[30:250] = 1
    found = compare(values, np.arange(400))[0]
    expected = 2 * stats.binom.cdf(10, 30, 0.5) - stats.binom.pmf(10, 30, 0.5)
    assert found.p == pytest.approx(expected, abs=5 * np.sqrt(expected / 10_000))
    few = compare(values[:, ::-1][5:250], np.arange(245))[0]  # 5 and 20: as few as are drawn
    assert few.p == pytest.approx(2 * stats.binom.cdf(5, 25, 0.5) - stats.binom.pmf(5, 25, 0.5), abs=0.003)
    exact = compare(values[4:16], np.arange(12))[0]  # 6 and 6 of 12: all signs
    assert exact.p == pytest.approx(1 - stats.binom.pmf(6, 12, 0.5) / 2)


def test_discordant_counts_of_seeds_are_the_mean_over_pairs_of_seeds() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random((3, 50)) < 0.5, rng.random((2, 50)) < 0.7
    values = np.stack([a.mean(axis=0), b.mean(axis=0)], axis=1)
    found = compare(values, np.arange(50))[0]
    assert found.only_first == pytest.approx(np.mean([np.sum(x & ~y) for x in a for y in b]))
    assert found.only_second == pytest.approx(np.mean([np.sum(y & ~x) for x in a for y in b]))


def test_equal_answers_are_no_difference_but_of_some_width() -> None:
    values = np.repeat((np.arange(40) % 3 == 0)[:, None], 2, axis=1).astype(np.float64)
    found = compare(values, np.arange(40) // 2)[0]
    assert (found.value, found.p, found.separable) == (0.0, 1.0, False)
    assert found.ci95 is not None
    # No place of 20 differs: each method might yet be ahead in 1 - 0.025^(1 / 20) of them, or a little more.
    reach = 1 - 0.025 ** (1 / (20 * (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 19)) ** 2))
    assert found.ci95 == pytest.approx((-reach, reach))


@pytest.mark.parametrize("places", [np.zeros(5, np.int64), np.zeros(0, np.int64)])
def test_a_single_place_or_none_tells_nothing(places: np.ndarray) -> None:
    found = compare(np.ones((len(places), 2)), places)[0]
    assert (found.ci95, found.p, found.p_holm, found.separable) == (None, None, None, False)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_the_closed_test_of_bonferroni(p: list[float]) -> None:
    """A hypothesis is rejected at a level if Bonferroni rejects every set of hypotheses that holds it."""
    found = holm(p)
    for i, mine in enumerate(p):
        # Of all sets with i, only those with the largest p-values beside it matter: one a size.
        others = sorted((q for j, q in enumerate(p) if j != i), reverse=True)
        worst = max(min(1.0, (size + 1) * min([mine, *others[:size]])) for size in range(len(p)))
        assert found[i] == pytest.approx(worst)


@pytest.mark.parametrize(("n_places", "views", "accuracy"), [(8, 4, 0.5), (8, 4, 0.9), (15, 4, 0.8), (77, 4, 0.8)])
def test_equal_methods_are_told_apart_in_one_world_of_twenty(n_places: int, views: int, accuracy: float) -> None:
    rng = np.random.default_rng([2, n_places, round(10 * accuracy)])
    worlds, wrong, covered = 400, 0, 0
    for world in range(worlds):
        values, places = simulated(rng, n_places, views, (accuracy, accuracy), 0.5)
        found = compare(values, places, seed=world)[0]
        assert found.p is not None
        assert found.ci95 is not None
        wrong += found.p < 0.05
        covered += found.ci95[0] <= 0 <= found.ci95[1]
        assert found.ci95[0] < found.ci95[1]
    # Three standard errors of a share of 400 worlds: 0.033 at 0.05, 0.038 at 0.93.
    assert wrong / worlds < 0.05 + 0.033
    assert covered / worlds > 0.93 - 0.038


def test_pairing_tells_more_than_two_intervals() -> None:
    rng = np.random.default_rng(3)
    worlds, paired, unpaired, covered = 200, 0, 0, 0
    for world in range(worlds):
        values, places = simulated(rng, 100, 12, (0.6, 0.66), 0.7)
        found = compare(values, places, seed=world)[0]
        paired += found.p is not None and found.p < 0.05
        first, second = (e.ci95 for e in clustered_means(values, places))
        assert first is not None
        assert second is not None
        spread = np.hypot(first[1] - first[0], second[1] - second[0]) / 3.92
        unpaired += abs(found.value) > 1.96 * spread
        covered += found.ci95 is not None and found.ci95[0] <= -0.06 <= found.ci95[1]
    assert paired / worlds > unpaired / worlds + 0.1
    assert covered / worlds > 0.93 - 0.054


def test_the_best_is_never_alone_unless_it_is_told_from_all() -> None:
    rng = np.random.default_rng(3)
    values, places = simulated(rng, 150, 8, (0.5, 0.9, 0.895, 0.6), 0.5)
    assert not_separable(values, places) == [1, 2]
    assert not_separable(values[:, :1], places) == [0]
    assert not_separable(values[:, :0], places) == []
    assert not_separable(values[:8], places[:8]) == [0, 1, 2, 3]  # a single place


def test_of_twelve_equal_methods_one_is_told_from_the_best_in_one_world_of_twenty() -> None:
    """Held against the best alone, as if that had not been chosen from the same answers, they are twice as often."""
    rng = np.random.default_rng(4)
    worlds, wrong, naive = 200, 0, 0
    for world in range(worlds):
        values, places = simulated(rng, 60, 4, (0.6,) * 12, 0.5)
        wrong += len(not_separable(values, places, seed=world)) < 12
        best = int(values.mean(axis=0).argmax())
        pairs = [(best, i) for i in range(12) if i != best]
        naive += any(d.separable for d in compare(values, places, pairs, seed=world))
    # Three standard errors of a share of 200 worlds at 0.05: 0.046.
    assert wrong / worlds < 0.05 + 0.046
    assert naive / worlds > 2 * wrong / worlds


def test_methods_with_the_same_answers_stand_together() -> None:
    rng = np.random.default_rng(5)
    values, places = simulated(rng, 80, 4, (0.8, 0.3), 0.5)
    assert not_separable(values[:, [0, 1, 0]], places) == [0, 2]


def test_separable_columns_are_those_whose_corrected_p_is_small() -> None:
    rng = np.random.default_rng(4)
    values, places = simulated(rng, 60, 6, (0.5, 0.56, 0.6), 0.5)
    together = compare(values, places)
    alone = [compare(values[:, [d.first, d.second]], places)[0] for d in together]
    assert [d.p for d in together] == [d.p for d in alone]
    assert [d.p_holm for d in together] == pytest.approx(holm([d.p for d in alone if d.p is not None]))


def test_strata_count_alike_whatever_their_size() -> None:
    rng = np.random.default_rng(6)
    small, few = simulated(rng, 20, 2, (0.5, 0.8), 0.3)
    large, many = simulated(rng, 200, 5, (0.6, 0.6), 0.3)
    stratum = np.repeat([0, 1], [len(small), len(large)])
    found = compare(np.concatenate([small, large]), np.concatenate([few, many + 1000]), strata=stratum)[0]
    own = [float(v[:, 0].mean() - v[:, 1].mean()) for v in (small, large)]
    assert found.value == pytest.approx(np.mean(own))
    assert found.ci95 is not None
    # The closed form of two independent halves: a quarter of the sum of their variances.
    spreads = [
        np.var([(v[p == i, 0] - v[p == i, 1]).mean() for i in np.unique(p)], ddof=1) / len(np.unique(p))
        for v, p in ((small, few), (large, many))
    ]
    normal = 2 * 1.96 * np.sqrt(sum(spreads) / 4)
    assert normal < found.ci95[1] - found.ci95[0] < 1.25 * normal


def test_one_stratum_is_none() -> None:
    values, places = simulated(np.random.default_rng(7), 30, 3, (0.5, 0.6), 0.4)
    plain, one = compare(values, places)[0], compare(values, places, strata=np.zeros(len(values), np.int64))[0]
    assert one.value == pytest.approx(plain.value)
    assert one.p == pytest.approx(plain.p)
    assert one.ci95 == pytest.approx(plain.ci95, abs=5e-3)
