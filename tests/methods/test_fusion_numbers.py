"""The formulas of fusion and what is chosen on val, against closed forms and loops over everything."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ial_bench.engine.answering import softmax
from ial_bench.geo.points import EARTH_RADIUS_M, haversine_m
from ial_methods.fusion.probabilities import (
    Evidence,
    FusionParameters,
    Grids,
    Spread,
    choose,
    choose_spread,
    fuse,
    log_scores,
    neighbour_shares,
    spread,
    tally,
    text_probabilities,
)

DEGREE_M = np.radians(1) * EARTH_RADIUS_M


def on_equator(*metres: float) -> npt.NDArray[np.float64]:
    return np.stack([np.zeros(len(metres)), np.array(metres) / DEGREE_M], axis=1)


def test_text_probabilities_are_the_softmax_at_a_temperature() -> None:
    logits = np.log(np.array([[1.0, 2.0, 5.0]], dtype=np.float32))
    np.testing.assert_allclose(text_probabilities(logits, 1.0), [[1 / 8, 2 / 8, 5 / 8]], rtol=1e-6)
    np.testing.assert_allclose(text_probabilities(2 * logits, 2.0), [[1 / 8, 2 / 8, 5 / 8]], rtol=1e-6)
    np.testing.assert_allclose(text_probabilities(logits, 0.5), [[1 / 30, 4 / 30, 25 / 30]], rtol=1e-6)


def test_fusion_is_the_weighted_mean() -> None:
    text, votes = np.array([[0.2, 0.3, 0.5]]), np.array([[0.0, 1.0, 0.0]], np.float32)
    np.testing.assert_allclose(fuse(text, votes, 0.25), [[0.15, 0.475, 0.375]])
    np.testing.assert_array_equal(fuse(text, votes, 0.0), text)
    np.testing.assert_array_equal(fuse(text, votes, 1.0), votes)


def test_shares_fall_with_the_distance_and_end_at_three_bandwidths() -> None:
    shares = neighbour_shares(on_equator(0, 100, 320, 2000), 100).toarray()
    near, far = np.exp(-0.5), np.exp(-0.5 * 2.2**2)
    expected = [[0, 1, 0, 0], [near / (near + far), 0, far / (near + far), 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(shares, expected, rtol=1e-6)  # nobody is near the last: it keeps what it has


def test_shares_are_those_of_all_pairs() -> None:
    rng = np.random.default_rng(3)
    positions = np.array([52.0, 179.999]) + rng.normal(0, 3e-3, (80, 2))
    positions[:, 1] = (positions[:, 1] + 180) % 360 - 180  # on both sides of the antimeridian
    positions[7] = positions[8]  # two addresses in one spot
    metres = haversine_m(positions[:, None], positions[None])
    dense = np.where((metres <= 300) & ~np.eye(80, dtype=bool), np.exp(-(metres**2) / (2 * 100.0**2)), 0)
    alone = dense.sum(axis=1) == 0
    dense[alone, alone] = 1
    shares = neighbour_shares(positions, 100).toarray()
    np.testing.assert_allclose(shares, dense / dense.sum(axis=1, keepdims=True), atol=1e-6)
    assert shares[7, 8] > 0


@pytest.mark.parametrize("n", [1, 2, 5, 4000])
def test_spreading_moves_probability_and_makes_none(n: int) -> None:
    rng = np.random.default_rng(n)
    positions = on_equator(*np.sort(rng.uniform(0, 60 * n, n)))
    shares = neighbour_shares(positions, 100)
    assert shares.nnz <= 40 * n  # what is far off costs nothing
    p = rng.dirichlet(np.full(n, 0.1), 3)
    for part in (0.0, 0.3, 1.0):
        out = spread(p, shares, part)
        np.testing.assert_allclose(out.sum(axis=1), 1)
        assert (out >= 0).all()
    np.testing.assert_array_equal(spread(p, shares, 0.0), p)


def test_each_address_hands_its_part_to_its_neighbours() -> None:
    shares = neighbour_shares(on_equator(0, 100, 200, 5000), 60)  # 180 m reach: the middle one has two neighbours
    out = spread(np.array([[0.0, 1.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.5]]), shares, 0.2)
    np.testing.assert_allclose(out, [[0.1, 0.8, 0.1, 0.0], [0.4, 0.1, 0.0, 0.5]])


def test_the_softmax_of_the_scores_is_the_probabilities() -> None:
    p = np.array([[0.7, 0.0, 0.3, 0.0, 0.0], [1.0 - 1e-40, 1e-40, 0.0, 0.0, 0.0]])
    below = np.array([[-1.0, -1.5, -1.0, -1.25, -4.0], [-1, -2, -4, -1.0000001, -1]], np.float32)
    scores = log_scores(p, below)
    np.testing.assert_allclose(softmax(scores), p, rtol=1e-5, atol=1e-60)
    assert list(np.argsort(-scores, axis=1, kind="stable")[0]) == [0, 2, 3, 1, 4]
    assert list(np.argsort(-scores, axis=1, kind="stable")[1]) == [0, 1, 4, 3, 2]


def evidence(n: int, n_candidates: int, m: int, seed: int) -> tuple[Evidence, npt.NDArray[np.int32]]:
    """Both sides know something of the truth; some photos have few neighbours, and some no candidate address."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, n_candidates, n).astype(np.int32)
    logits = rng.normal(0, 2, (n, n_candidates)).astype(np.float32)
    logits[np.arange(n), truth] += 3
    labels = np.where(rng.random((n, m)) < 0.3, truth[:, None], rng.integers(0, n_candidates, (n, m)))
    similarity = -np.sort(-rng.uniform(0, 1, (n, m)).astype(np.float32), axis=1)
    similarity[: n // 8, m // 2 :] = -np.inf
    truth[::9] = -1
    return Evidence(logits, similarity, labels.astype(np.int32)), truth


def looped(one: Evidence, choice: FusionParameters) -> npt.NDArray[np.float64]:
    """Fused probabilities, photo by photo and neighbour by neighbour."""
    rows = []
    for logits, similarity, labels in zip(one.logits, one.similarity, one.labels, strict=True):
        text = np.exp(logits.astype(float) / choice.text_temperature)
        votes = np.zeros(len(logits))
        for s, label in list(zip(similarity, labels, strict=True))[: choice.k]:
            votes[label] += np.exp(float(s) / choice.temperature)
        rows.append(choice.weight * votes / votes.sum() + (1 - choice.weight) * text / text.sum())
    return np.array(rows)


GRIDS = Grids((0.0, 0.3, 0.6, 1.0), (1, 4, 12), (0.05, 0.5), (0.5, 2.0))


def in_parts(one: Evidence, truth: Any, *cuts: int) -> list[tuple[Evidence, Any]]:
    edges = [0, *cuts, len(truth)]
    parts = [slice(a, b) for a, b in pairwise(edges)]
    return [(Evidence(one.logits[p], one.similarity[p], one.labels[p]), truth[p]) for p in parts]


def test_the_choice_is_that_of_loops_over_all_candidates() -> None:
    one, truth = evidence(150, 20, 12, seed=5)
    counted = tally(in_parts(one, truth, 40, 41), GRIDS)
    known = truth >= 0
    right, likelihood = [], []
    for k, t, tau, w in product(GRIDS.ks, GRIDS.temperatures, GRIDS.text_temperatures, GRIDS.weights):
        p = looped(one, FusionParameters(w, k, t, tau))
        right.append(int((p.argmax(axis=1) == truth).sum()))
        likelihood.append(np.log(np.maximum(p[known, truth[known]], 1e-12)).sum())
    np.testing.assert_array_equal(counted.right, right)
    np.testing.assert_allclose(counted.likelihood, likelihood, rtol=1e-5)

    chosen, told = choose(in_parts(one, truth, 100), GRIDS, len(truth))
    best = max(range(len(right)), key=lambda i: (right[i], likelihood[i]))
    assert chosen == list(GRIDS)[best]
    assert 0 < chosen.weight < 1  # each side knows what the other does not
    assert told["fused"] == max(right) / len(truth)
    weights = [c.weight for c in GRIDS]
    for name, weight in (("text", 0.0), ("retrieval", 1.0)):
        alone = max(r for r, w in zip(right, weights, strict=True) if w == weight)
        assert told[name] == alone / len(truth) < told["fused"]


def test_both_sides_alone_are_told_whatever_is_asked_for() -> None:
    one, truth = evidence(150, 20, 12, seed=5)
    fixed = Grids((0.3,), GRIDS.ks, GRIDS.temperatures, GRIDS.text_temperatures)
    chosen, told = choose([(one, truth)], fixed, len(truth))
    assert chosen.weight == 0.3
    _, of_all = choose([(one, truth)], GRIDS, len(truth))
    assert (told["text"], told["retrieval"]) == (of_all["text"], of_all["retrieval"])


def test_of_equals_the_likeliest_and_then_the_first_is_chosen() -> None:
    """Both sides are right of every photo; retrieval is certain, so that the likeliest has weight 1."""
    truth = np.arange(4, dtype=np.int32)
    logits = np.eye(4, dtype=np.float32)
    near = Evidence(logits, np.ones((4, 2), np.float32), np.stack([truth, truth], axis=1))
    chosen, told = choose([(near, truth)], Grids((0.0, 0.5, 1.0), (1, 2), (0.1, 1.0), (1.0, 2.0)), 4)
    assert chosen == FusionParameters(1.0, 1, 0.1, 1.0)
    assert set(told.values()) == {1.0}


def test_the_spread_is_chosen_by_loops() -> None:
    rng = np.random.default_rng(8)
    positions = on_equator(*np.arange(0, 1200, 60))
    n = len(positions)
    truth = rng.integers(0, n, 200).astype(np.int32)
    p = rng.dirichlet(np.full(n, 0.3), 200)
    beside = np.clip(truth + rng.choice([-1, 1], 200), 0, n - 1)  # what is seen is often next door
    p[np.arange(200), beside] += 0.3
    p[np.arange(200), np.clip(2 * beside - truth, 0, n - 1)] += 0.1
    p /= p.sum(axis=1, keepdims=True)
    truth[::11] = -1
    spreads = [Spread(part, b) for part in (0.0, 0.2, 0.6) for b in (40.0, 200.0)]
    chosen, right = choose_spread([(p[:70], truth[:70]), (p[70:], truth[70:])], positions, spreads)
    metres = haversine_m(positions[:, None], positions[None])
    scored = []
    for one in spreads:
        weights = np.where(
            (metres <= 3 * one.bandwidth_m) & (metres > 0), np.exp(-0.5 * (metres / one.bandwidth_m) ** 2), 0
        )
        out = (1 - one.part) * p + one.part * p @ (weights / weights.sum(axis=1, keepdims=True))
        known = np.flatnonzero(truth >= 0)
        scored.append((int((out.argmax(axis=1) == truth).sum()), np.log(out[known, truth[known]]).sum()))
    best = max(range(len(spreads)), key=lambda i: scored[i])
    assert (chosen, right) == (spreads[best], scored[best][0])
    assert chosen.part > 0
