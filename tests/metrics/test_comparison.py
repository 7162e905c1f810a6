"""Comparisons of methods: against plain loops, public libraries, and simulations whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ial_bench.metrics.comparison import compare, holm, not_separable
from ial_bench.metrics.intervals import clustered_means, place_weights


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


def test_against_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    values, places = simulated(rng, 12, 3, (0.5, 0.6), 0.3)
    found = compare(values, places, replicates=400)[0]
    drawn = []
    for weights in place_weights(12, 400, 0):
        for row in weights:
            picked = np.concatenate([np.tile(np.flatnonzero(places == p), int(w)) for p, w in enumerate(row)])
            drawn.append(values[picked, 0].mean() - values[picked, 1].mean())
    assert found.value == pytest.approx(values[:, 0].mean() - values[:, 1].mean())
    assert found.ci95 == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))
    below, above = sum(d <= 1e-12 for d in drawn), sum(d >= -1e-12 for d in drawn)
    assert found.p == pytest.approx(min(1, 2 * (1 + min(below, above)) / 401))
    assert found.only_first == np.sum((values[:, 0] == 1) & (values[:, 1] == 0))
    assert found.only_second == np.sum((values[:, 0] == 0) & (values[:, 1] == 1))


def test_discordant_counts_of_seeds_are_the_mean_over_pairs_of_seeds() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random((3, 50)) < 0.5, rng.random((2, 50)) < 0.7
    values = np.stack([a.mean(axis=0), b.mean(axis=0)], axis=1)
    found = compare(values, np.arange(50), replicates=50)[0]
    assert found.only_first == pytest.approx(np.mean([np.sum(x & ~y) for x in a for y in b]))
    assert found.only_second == pytest.approx(np.mean([np.sum(y & ~x) for x in a for y in b]))


def test_equal_answers_are_no_difference() -> None:
    values = np.repeat((np.arange(40) % 3 == 0)[:, None], 2, axis=1).astype(np.float64)
    found = compare(values, np.arange(40) // 2, replicates=200)[0]
    assert (found.value, found.ci95, found.p, found.separable) == (0.0, (0.0, 0.0), 1.0, False)


@pytest.mark.parametrize("places", [np.zeros(5, np.int64), np.zeros(0, np.int64)])
def test_a_single_place_or_none_tells_nothing(places: np.ndarray) -> None:
    found = compare(np.ones((len(places), 2)), places, replicates=10)[0]
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


def test_error_rate_of_no_difference_and_power_against_the_unpaired_test() -> None:
    """Two equal methods are told apart in about 5 % of worlds; two that differ, more often than by their intervals."""
    rng = np.random.default_rng(2)
    worlds, wrong, paired, unpaired, naive = 200, 0, 0, 0, 0
    for world in range(worlds):
        equal, places = simulated(rng, 100, 12, (0.6, 0.6), 0.5)
        wrong += compare(equal, places, replicates=400, seed=world)[0].p < 0.05  # type: ignore[operator]
        table = equal[:, 0] - equal[:, 1]
        naive += abs(table.mean()) > 1.96 * table.std() / np.sqrt(len(table))  # as if photos were independent
        better, places = simulated(rng, 100, 12, (0.6, 0.66), 0.7)
        paired += compare(better, places, replicates=400, seed=world)[0].p < 0.05  # type: ignore[operator]
        first, second = (e.ci95 for e in clustered_means(better, places, replicates=400, seed=world))
        assert first is not None
        assert second is not None
        spread = np.hypot(first[1] - first[0], second[1] - second[0]) / 3.92
        unpaired += abs(better[:, 0].mean() - better[:, 1].mean()) > 1.96 * spread
    assert 0.015 <= wrong / worlds <= 0.10
    assert naive / worlds > 2 * wrong / worlds
    assert paired / worlds > unpaired / worlds + 0.1


def test_the_best_is_never_alone_unless_it_is_told_from_all() -> None:
    rng = np.random.default_rng(3)
    values, places = simulated(rng, 150, 8, (0.5, 0.9, 0.895, 0.6), 0.5)
    assert not_separable(values, places, 1000) == [1, 2]
    assert not_separable(values[:, :1], places) == [0]
    assert not_separable(values[:, :0], places) == []


def test_separable_columns_are_those_whose_corrected_p_is_small() -> None:
    rng = np.random.default_rng(4)
    values, places = simulated(rng, 60, 6, (0.5, 0.56, 0.6), 0.5)
    together = compare(values, places, replicates=1000)
    alone = [compare(values[:, [d.first, d.second]], places, replicates=1000)[0] for d in together]
    assert [d.p for d in together] == [d.p for d in alone]
    assert [d.p_holm for d in together] == pytest.approx(holm([d.p for d in alone if d.p is not None]))
