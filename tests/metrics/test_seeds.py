"""Variances of places and seeds told apart: simulations whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from ial_bench.metrics.intervals import clustered_means, seed_spread


def world(
    rng: np.random.Generator, n_places: int, n_seeds: int, of_seed: float, photos: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Right or wrong by place, seed, and both together; the accuracy over places and seeds is 0.6."""
    place = rng.normal(0, 0.2, (n_places, 1))
    seed = rng.normal(0, of_seed, (1, n_seeds))
    both = rng.normal(0, 0.1, (n_places, n_seeds))
    chance = np.clip(0.6 + place + seed + both, 0, 1)
    places = np.repeat(np.arange(n_places), photos)
    return (rng.random((len(places), n_seeds)) < chance[places]).astype(np.float64), places


@pytest.mark.parametrize("of_seed", [0.0, 0.02, 0.06])
def test_the_interval_with_seeds_covers_the_method(of_seed: float) -> None:
    rng = np.random.default_rng(round(1000 * of_seed))
    trials, with_seeds, one_run = 500, 0, 0
    for _ in range(trials):
        values, places = world(rng, 77, 3, of_seed)
        found = seed_spread(values, places)
        assert found.with_seeds is not None
        assert found.one_run is not None
        with_seeds += found.with_seeds[0] <= 0.6 <= found.with_seeds[1]
        one_run += found.one_run[0] <= 0.6 <= found.one_run[1]
    assert with_seeds / trials > 0.93 - 0.03
    if of_seed == 0.06:
        assert one_run / trials < with_seeds / trials - 0.03  # what leaves seeds out


def test_both_standard_deviations_are_found() -> None:
    rng = np.random.default_rng(2)
    found = [seed_spread(*world(rng, 200, 8, 0.05)) for _ in range(150)]
    squares = np.array([(s.place_sd or 0.0, s.seed_sd or 0.0) for s in found]) ** 2
    # Places: 0.2^2 of chance, an eighth of 0.1^2 and of what a photo adds; 200 of them.
    photo = 0.24 - 0.2**2 - 0.1**2 - 0.05**2
    expected = (0.2**2 + (0.1**2 + photo / 4) / 8) / 200
    assert squares[:, 0].mean() == pytest.approx(expected, rel=0.1)
    assert squares[:, 1].mean() == pytest.approx(0.05**2, rel=0.15)


def test_one_seed_is_a_run_and_equal_seeds_add_nothing() -> None:
    values, places = world(np.random.default_rng(3), 40, 1, 0.0)
    alone = seed_spread(values, places)
    assert (alone.with_seeds, alone.seed_sd) == (None, None)
    assert alone.one_run == clustered_means(values, places)[0].ci95
    same = seed_spread(np.repeat(values, 3, axis=1), places)
    assert same.seed_sd == 0
    assert same.with_seeds == pytest.approx(alone.one_run)


def test_a_single_place_tells_nothing() -> None:
    found = seed_spread(np.ones((4, 2)), np.zeros(4, np.int64))
    assert (found.value, found.one_run, found.with_seeds, found.place_sd) == (1.0, None, None, None)
