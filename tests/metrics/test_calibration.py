"""Calibration and risk against closed forms, brute force and scikit-learn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from ial_bench.metrics.calibration import aurc, best_aurc, reliability, risks, thinned


@pytest.mark.parametrize("bins", [1, 5, 15])
@pytest.mark.parametrize("ties", [False, True])
def test_reliability_is_that_of_scikit_learn(bins: int, ties: bool) -> None:
    rng = np.random.default_rng(1)
    confidence = rng.random(500)
    if ties:
        confidence = np.round(confidence, 1)
    right = (rng.random(500) < confidence**2).astype(float)
    found = reliability(confidence, right, bins)
    accuracy, mean = calibration_curve(right, confidence, n_bins=bins, strategy="quantile")
    np.testing.assert_allclose(found.accuracy, accuracy)
    np.testing.assert_allclose(found.confidence, mean)
    assert found.counts.sum() == 500


def test_bins_have_equal_mass() -> None:
    confidence = np.random.default_rng(2).random(100)
    assert reliability(confidence, np.ones(100), 10).counts.tolist() == [10] * 10


def test_ece_of_known_confidence() -> None:
    """One that is 0.2 too sure everywhere has an ECE of 0.2; one that tells the truth goes to 0."""
    rng = np.random.default_rng(3)
    true = rng.random(200_000) * 0.8
    right = (rng.random(len(true)) < true).astype(float)
    assert reliability(true + 0.2, right).ece == pytest.approx(0.2, abs=0.005)
    assert reliability(true, right).ece < 0.01
    # All at 0.9 and half of them right: a single bin.
    assert reliability(np.full(10, 0.9), np.repeat([0.0, 1.0], 5)).ece == pytest.approx(0.4)
    assert np.isnan(reliability(np.zeros(0), np.zeros(0)).ece)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6))
def test_risks_are_means_over_all_orders_of_ties(answers: list[tuple[int, bool]]) -> None:
    confidence = np.array([float(c) for c, _ in answers])
    right = np.array([float(r) for _, r in answers])
    curves = [
        [np.mean([1 - right[i] for i in order[: j + 1]]) for j in range(len(order))]
        for order in itertools.permutations(range(len(answers)))
        if all(confidence[a] >= confidence[b] for a, b in itertools.pairwise(order))
    ]
    np.testing.assert_allclose(risks(confidence, right), np.mean(curves, axis=0), atol=1e-12)


def test_aurc_of_closed_forms() -> None:
    assert aurc(risks(np.zeros(7), np.array([1.0, 0, 0, 1, 1, 1, 1]))) == pytest.approx(2 / 7)  # knows nothing
    assert aurc(risks(np.arange(4.0), np.ones(4))) == 0
    # Two right answers before two wrong ones: risks 0, 0, 1/3, 1/2.
    right = np.array([0.0, 1, 0, 1])
    assert best_aurc(right) == pytest.approx((1 / 3 + 1 / 2) / 4)
    assert aurc(risks(right, right)) == best_aurc(right)
    # In the limit, at accuracy a: 1 - a - a ln(1/a) (Geifman, Uziel and El-Yaniv, ICLR 2019).
    n, a = 100_000, 0.7
    many = (np.arange(n) < a * n).astype(float)
    assert best_aurc(many) == pytest.approx((1 - a) + a * np.log(a), abs=1e-4)


def test_thinned() -> None:
    assert thinned(3, 10).tolist() == [0, 1, 2]
    assert thinned(101, 5).tolist() == [0, 25, 50, 75, 100]
    assert thinned(0, 5).tolist() == []


def test_no_order_is_better_than_the_best() -> None:
    rng = np.random.default_rng(4)
    right = (rng.random(50) < 0.6).astype(float)
    for _ in range(50):
        assert aurc(risks(rng.random(50), right)) >= best_aurc(right) - 1e-12


def test_what_has_no_answer_comes_last() -> None:
    confidence = np.array([-np.inf, 3.0, -np.inf, -5.0])
    np.testing.assert_allclose(risks(confidence, np.array([0.0, 1, 0, 1])), [0, 0, 1 / 3, 1 / 2])
