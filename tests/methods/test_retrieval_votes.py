"""How votes become scores, against loops over photos."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ial_bench import Features
from ial_methods.retrieval.votes import nearest_scores, place_codes, pooling, vote_weights
from support.retrieval_lab import clustered, fitted, held, unit

N_ADDRESSES = 5


def by_loop(rerank: str, weights: Any, labels: Any, places: Any, top_m: int) -> Any:
    """Scores of one query, photo by photo."""
    scores = np.zeros(N_ADDRESSES)
    for address in range(N_ADDRESSES):
        own = [(w, p) for w, a, p in zip(weights, labels, places, strict=True) if a == address]
        if rerank == "vote":
            scores[address] = sum(w for w, _ in own)
        elif rerank == "address":
            scores[address] = sum(sorted((w for w, _ in own), reverse=True)[:top_m]) / top_m
        else:
            of_place: dict[int, float] = defaultdict(float)
            for w, p in own:
                of_place[p] += w
            scores[address] = max(of_place.values(), default=0.0)
    return scores


@given(seed=st.integers(0, 10_000), k=st.integers(1, 30), top_m=st.integers(1, 4), n_places=st.integers(1, 9))
@pytest.mark.parametrize("rerank", ["vote", "place", "address"])
def test_pooling_by_loop(rerank: Any, seed: int, k: int, top_m: int, n_places: int) -> None:
    rng = np.random.default_rng(seed)
    similarity = -np.sort(-rng.uniform(-1, 1, (3, k)).astype(np.float32), axis=1)
    missing = rng.integers(0, k + 1)  # neighbours that were not found stand last
    similarity[1, missing:] = -np.inf
    labels = rng.integers(0, N_ADDRESSES, (3, k)).astype(np.int32)
    within = rng.integers(0, n_places, (3, k)).astype(np.int32)
    places = labels * n_places + within  # a place number belongs to one address
    labels[1, missing:], places[1, missing:] = 2, 2 * n_places
    weights = vote_weights(similarity, 0.1)
    scores = pooling(rerank, labels, places, N_ADDRESSES, top_m)(weights)
    for i in range(3):
        found = similarity[i] > -np.inf
        plain = np.exp(similarity[i][found].astype(np.float64) / 0.1)
        plain /= plain.sum() if len(plain) else 1.0
        expected = by_loop(rerank, plain, labels[i][found], places[i][found], top_m)
        np.testing.assert_allclose(scores[i], expected, rtol=1e-4, atol=1e-7)


def test_weights_of_a_low_temperature_do_not_overflow() -> None:
    weights = vote_weights(np.array([[0.9, 0.1, -np.inf]], np.float32), 1e-4)
    np.testing.assert_array_equal(weights, [[1.0, 0.0, 0.0]])


def test_addresses_without_a_vote_follow_by_their_nearest_photo() -> None:
    similarity = np.array([[0.9, 0.5, 0.2, -np.inf]], np.float32)
    scores = nearest_scores(similarity, np.array([[3, 1, 3, 0]], np.int32), N_ADDRESSES)
    np.testing.assert_allclose(scores, [[-4.0, -1.5, -4.0, -1.1, -4.0]], rtol=1e-6)


def test_a_place_of_two_addresses_is_two_places() -> None:
    part = held(np.zeros((6, 2), np.float32), [0, 0, 1, -1, 1, 0], 2, places=[7, 7, 7, 7, 9, 8])
    codes = place_codes([part])
    assert len(codes) == 5  # a photo whose address is no candidate has none
    assert [codes[0] == c for c in codes] == [True, True, False, False, False]
    assert sorted(set(codes.tolist())) == [0, 1, 2, 3]


def city(n: int, seed: int) -> Features:
    x, labels = clustered(n, 8, N_ADDRESSES, seed, spread=1.5)
    labels[::13] = -1
    places = np.random.default_rng(seed).integers(0, 4, n) + 4 * labels + 100 * seed
    return held(x, labels, N_ADDRESSES, places, f"city {seed}")


@pytest.mark.parametrize("rerank", ["vote", "place", "address"])
def test_the_method_scores_and_chooses_as_a_loop_does(tmp_path: Path, rerank: str) -> None:
    train, val, grid = city(150, 0), city(60, 1), [(k, t) for k in (1, 6, 30) for t in (0.02, 0.3)]
    settings = {"rerank": rerank, "top_m": 2, "k_grid": [1, 6, 30], "temperature_grid": [0.02, 0.3]}
    method = fitted(tmp_path, train, val, **settings)

    def scores(parts: list[Features], query: Any, k: int, temperature: float) -> Any:
        known = [p.labels >= 0 for p in parts]
        gallery = np.concatenate([unit(p.x)[keep] for p, keep in zip(parts, known, strict=True)])
        labels = np.concatenate([p.labels[keep] for p, keep in zip(parts, known, strict=True)])
        places = np.concatenate([p.photos.places[keep] for p, keep in zip(parts, known, strict=True)])
        nearest = np.argsort(-(gallery @ query))[:k]
        weights = np.exp(gallery[nearest] @ query / temperature)
        return by_loop(rerank, weights / weights.sum(), labels[nearest], places[nearest], 2)

    right = [
        sum(scores([train], q, *kt).argmax() == y for q, y in zip(unit(val.x), val.labels, strict=True)) for kt in grid
    ]
    assert (method.k, method.temperature) == grid[int(np.argmax(right))]
    assert method.facts["val_ssa1"] == pytest.approx(max(right) / len(val))

    new = clustered(20, 8, N_ADDRESSES, 5, spread=1.5)[0]
    found = method.score_features(new)
    for i, query in enumerate(unit(new)):
        expected = scores([train, val], query, method.k, method.temperature)
        np.testing.assert_allclose(np.where(found[i] > 0, found[i], 0), expected, rtol=1e-3, atol=1e-6)


def test_places_are_kept_and_counted(tmp_path: Path) -> None:
    fixed = {"k_grid": [5], "temperature_grid": [0.1]}
    usual = fitted(tmp_path, city(150, 0), city(60, 1), **fixed)
    method = fitted(tmp_path, city(150, 0), city(60, 1), rerank="place", **fixed)
    assert method.storage_bytes() - usual.storage_bytes() == 4 * len(method.gallery)
    (tmp_path / "state").mkdir()
    method.save(tmp_path / "state")
    loaded = fitted(tmp_path, city(80, 2), city(0, 1), rerank="place", **fixed)
    loaded.load(tmp_path / "state")
    new = clustered(20, 8, N_ADDRESSES, 5, spread=1.5)[0]
    np.testing.assert_array_equal(loaded.score_features(new), method.score_features(new))
