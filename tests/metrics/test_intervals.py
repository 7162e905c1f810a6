"""The cluster bootstrap: against closed forms, a plain twin, scipy, and the truth in simulations."""

from __future__ import annotations

import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from ial_bench.metrics import intervals
from ial_bench.metrics.intervals import LEVEL, Estimate, clustered_means, place_weights

Floats = npt.NDArray[np.float64]


def some_city(seed: int = 0) -> tuple[Floats, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Values, places of 1 to 5 queries with numbers that are not 0 to n - 1, and classes across places."""
    rng = np.random.default_rng(seed)
    places = np.repeat(np.array([7, 3, 90, 41, 12, 5, 66, 8]), [1, 2, 3, 4, 5, 1, 2, 3])
    values = np.stack([rng.integers(0, 2, len(places)), rng.random(len(places))], axis=1).astype(np.float64)
    return values, places, rng.integers(0, 4, len(places)) * 10


def interval_of(estimate: Estimate) -> tuple[float, float]:
    assert estimate.ci95 is not None
    return estimate.ci95


def test_point_estimates_are_plain_means() -> None:
    values, places, classes = some_city()
    found = clustered_means(values, places, classes, class_columns=2, replicates=10)
    macro = [np.mean([values[classes == c, column].mean() for c in set(classes.tolist())]) for column in (0, 1)]
    assert [e.value for e in found] == pytest.approx([*values.mean(axis=0), *macro], rel=1e-12)


def percentile(values: list[float], q: float) -> float:
    """Linear between order statistics."""
    ordered, at = sorted(values), q * (len(values) - 1)
    low = int(at)
    high = min(low + 1, len(values) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def test_intervals_are_those_of_a_plain_twin_on_the_same_draws() -> None:
    values, places, classes = some_city(1)
    names = sorted(set(places.tolist()))
    replicates = 60
    drawn = np.concatenate(list(place_weights(len(names), replicates, seed=5)))
    assert drawn.shape == (replicates, len(names))
    plain: list[list[float]] = [[], []]
    macro: list[float] = []
    for weights in drawn:
        sample = [i for i, p in enumerate(places) for _ in range(int(weights[names.index(p)]))]
        for column in (0, 1):
            plain[column].append(sum(values[i, column] for i in sample) / len(sample))
        by_class: dict[int, list[float]] = {}
        for i in sample:
            by_class.setdefault(int(classes[i]), []).append(values[i, 0])
        macro.append(sum(sum(v) / len(v) for v in by_class.values()) / len(by_class))
    found = clustered_means(values, places, classes, class_columns=1, replicates=replicates, seed=5)
    tail = (1 - LEVEL) / 2
    expected = [(percentile(means, tail), percentile(means, 1 - tail)) for means in (*plain, macro)]
    assert [interval_of(e) for e in found] == [pytest.approx(e, rel=1e-12) for e in expected]


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_what_never_varies_has_an_interval_of_no_width(value: float) -> None:
    _, places, classes = some_city()
    found = clustered_means(np.full((len(places), 1), value), places, classes, class_columns=1, replicates=50)
    assert found == [Estimate(value, (value, value))] * 2


def test_one_query_a_place_is_the_ordinary_percentile_bootstrap() -> None:
    rng = np.random.default_rng(2)
    values = np.stack([rng.random(150) < 0.3, rng.gamma(2.0, size=150)], axis=1).astype(np.float64)
    found = clustered_means(values, np.arange(150), replicates=10_000)
    for column, estimate in enumerate(found):
        other = stats.bootstrap(
            (values[:, column],), np.mean, n_resamples=10_000, method="percentile", vectorized=True,
            rng=np.random.default_rng(3),
        )  # fmt: skip
        # A 2.5 % quantile of 10,000 draws has a standard error of 0.027 standard deviations of what is drawn;
        # the difference of two, 0.038. Five of those:
        tolerance = float(0.19 * other.standard_error)
        expected = (other.confidence_interval.low, other.confidence_interval.high)
        assert interval_of(estimate) == pytest.approx(expected, abs=tolerance)


def test_two_places_give_the_quantiles_of_a_known_distribution() -> None:
    # Both drawn once: 1/2. One twice: 1/4 each. Hence 2.5 % and 97.5 % are the extremes themselves.
    found = clustered_means(np.array([[0.0], [1.0], [1.0]]), np.array([1, 2, 2]), replicates=2000)
    assert found == [Estimate(2 / 3, (0.0, 1.0))]


def test_a_single_place_gives_no_interval() -> None:
    found = clustered_means(np.array([[0.0], [1.0]]), np.array([4, 4]), np.array([0, 1]), class_columns=1)
    assert found == [Estimate(0.5, None), Estimate(0.5, None)]


def test_no_queries_give_no_numbers() -> None:
    empty = np.zeros(0, dtype=np.int64)
    found = clustered_means(np.zeros((0, 2)), empty, empty, class_columns=1)
    assert len(found) == 3
    assert all(np.isnan(e.value) and e.ci95 is None for e in found)


def test_the_seed_alone_decides() -> None:
    values, places, classes = some_city()
    once = clustered_means(values, places, classes, class_columns=1, replicates=100)
    np.random.seed(99)  # noqa: NPY002 - the global generator, which must not matter
    assert clustered_means(values, places, classes, class_columns=1, replicates=100) == once
    other = clustered_means(values, places, classes, class_columns=1, replicates=100, seed=1)
    assert [e.value for e in other] == [e.value for e in once]
    assert [e.ci95 for e in other] != [e.ci95 for e in once]


def test_the_order_of_the_queries_does_not_matter() -> None:
    values, places, classes = some_city()
    order = np.random.default_rng(4).permutation(len(places))
    once = clustered_means(values, places, classes, class_columns=2, replicates=100)
    again = clustered_means(values[order], places[order], classes[order], class_columns=2, replicates=100)
    for a, b in zip(once, again, strict=True):
        assert (a.value, *interval_of(a)) == pytest.approx((b.value, *interval_of(b)), rel=1e-12)


def test_draws_are_those_of_whole_places_with_replacement() -> None:
    drawn = np.concatenate(list(place_weights(20, 4000, seed=0)))
    assert drawn.shape == (4000, 20)
    assert (drawn.sum(axis=1) == 20).all()
    # Each count is binomial (20, 1/20): mean 1, variance 0.95, covariance of two -1/20. Five standard errors.
    assert drawn.mean(axis=0) == pytest.approx(np.ones(20), abs=5 * np.sqrt(0.95 / 4000))
    covariance = np.cov(drawn.T)
    assert np.diag(covariance) == pytest.approx(np.full(20, 0.95), abs=0.15)
    assert covariance[~np.eye(20, dtype=bool)] == pytest.approx(np.full(380, -0.05), abs=0.08)


def test_draws_do_not_depend_on_the_size_of_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = list(place_weights(7, 101, seed=0))
    assert len(whole) == 1
    monkeypatch.setattr(intervals, "_BLOCK_CELLS", 50)
    parts = list(place_weights(7, 101, seed=0))
    assert {len(p) for p in parts} == {7, 101 % 7}
    assert (np.concatenate(parts) == whole[0]).all()
    assert {len(p) for p in place_weights(7, 101, seed=0, cells=1000)} == {1}


@pytest.mark.parametrize(("n_places", "n_classes"), [(12_000, 50), (4, 5_000)], ids=["many places", "many classes"])
def test_memory_does_not_grow_with_the_replicates(n_places: int, n_classes: int) -> None:
    n, replicates = 24_000, 6_000
    rng = np.random.default_rng(0)
    values, places = rng.random((n, 1)), np.arange(n) % n_places
    classes = rng.integers(0, n_classes, n)
    tracemalloc.start()
    try:
        clustered_means(values, places, classes, class_columns=1, replicates=replicates)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    at_once = replicates * max(n_places, n_classes) * 8
    assert peak < 80e6 < at_once / 2


def test_clustered_intervals_cover_the_truth_and_naive_ones_do_not() -> None:
    """Panoramas of 24 crops, intra-class correlation 0.3: what the protocol says of the two intervals.

    A place's chance of success is beta (a, b) with mean 1/2; the correlation of two of its crops is
    1 / (a + b + 1). A mean over crops has 1 + 23 * 0.3 = 7.9 times the variance that independent crops would
    have, so that the naive interval reaches 1.96 / sqrt(7.9) = 0.70 standard errors: it covers 51.4 %.
    """
    n_places, crops, correlation, trials = 120, 24, 0.3, 800
    rng = np.random.default_rng(6)
    a = (1 / correlation - 1) / 2
    places = np.repeat(np.arange(n_places), crops)
    clustered = naive = 0
    for _ in range(trials):
        right = (rng.random((n_places, crops)) < rng.beta(a, a, size=(n_places, 1))).astype(np.float64)
        mean = right.mean()
        reach = 1.96 * np.sqrt(mean * (1 - mean) / right.size)
        naive += bool(abs(mean - 0.5) <= reach)
        low, high = interval_of(clustered_means(right.reshape(-1, 1), places, replicates=800)[0])
        clustered += bool(low <= 0.5 <= high)
    # Four standard errors of a share of 800 trials: 0.071 at one half, 0.034 at 0.94.
    assert naive / trials == pytest.approx(2 * stats.norm.cdf(1.96 / np.sqrt(7.9)) - 1, abs=0.071)
    assert clustered / trials == pytest.approx(0.94, abs=0.034)
