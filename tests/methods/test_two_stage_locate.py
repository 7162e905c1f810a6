"""Means and modes of positions on the sphere."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ial_bench.geo.points import Points, haversine_m, points_of, unit_vectors
from ial_methods.retrieval.votes import vote_weights
from ial_methods.two_stage.neighbours import mean_shift, weighted_mean

FIXED = settings(derandomize=True, deadline=None, max_examples=40)
M = 1 / 111_195.08  # degrees of latitude


def cloud(seed: int, n: int = 3, k: int = 12) -> tuple[Points, npt.NDArray[np.float64]]:
    """Positions about (0, 0), where degrees are as good as metres, and weights."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(k), n)
    return rng.normal(0, 60 * M, (n, k, 2)), weights


def density(metres: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], h: float) -> npt.NDArray[np.float64]:
    return np.asarray((weights * np.exp(-(metres**2) / (2 * h**2))).sum(axis=-1))


def test_weights_are_a_softmax() -> None:
    similarity = np.array([[0.9, 0.8, 0.1]], dtype=np.float32)
    wanted = np.exp(similarity.astype(float) / 0.05)
    np.testing.assert_allclose(vote_weights(similarity, 0.05), wanted / wanted.sum(), rtol=1e-5)
    assert np.isfinite(vote_weights(similarity, 1e-6)).all()


def test_in_a_city_the_mean_is_the_plain_one() -> None:
    positions, weights = cloud(0)
    plain = (weights[..., None] * positions).sum(axis=1)
    assert haversine_m(weighted_mean(positions, weights), plain).max() < 1e-3


@pytest.mark.parametrize(
    ("a", "b", "middle"),
    [
        ((0, 179), (0, -179), (0, 180)),
        ((89, 0), (89, 180), (90, 0)),
        ((-89, 10), (-89, -170), (-90, 0)),
        ((10, 0), (20, 0), (15, 0)),
    ],
)
def test_middle_of_two(a: tuple[float, float], b: tuple[float, float], middle: tuple[float, float]) -> None:
    found = weighted_mean(np.array([[a, b]], dtype=float), np.array([[0.5, 0.5]]))
    assert haversine_m(found[0], np.array(middle, dtype=float)) < 1e-3


def test_antipodes_have_no_middle_and_the_nearest_neighbour_is_taken() -> None:
    positions = np.array([[[10.0, 20.0], [-10.0, -160.0]]])
    assert haversine_m(weighted_mean(positions, np.array([[0.5, 0.5]]))[0], positions[0, 0]) < 1e-3


@FIXED
@given(st.integers(0, 10_000), st.sampled_from([5.0, 30.0, 120.0]))
def test_turning_the_earth_turns_the_answer(seed: int, bandwidth: float) -> None:
    """No place is special: neither pole nor antimeridian."""
    positions, weights = cloud(seed)
    turn = Rotation.random(random_state=seed)

    def turned(points: Points) -> Points:
        return points_of(turn.apply(unit_vectors(points).reshape(-1, 3)).reshape(*points.shape[:-1], 3))

    assert (
        haversine_m(weighted_mean(turned(positions), weights), turned(weighted_mean(positions, weights))).max() < 1e-3
    )
    here, there = (mean_shift(p, weights, bandwidth) for p in (positions, turned(positions)))
    assert haversine_m(there, turned(here)).max() < 0.1


@FIXED
@given(st.integers(0, 10_000), st.sampled_from([10.0, 40.0, 100.0]))
def test_mean_shift_ends_on_a_top_at_least_as_high_as_any_point(seed: int, h: float) -> None:
    positions, weights = cloud(seed)
    found = mean_shift(positions, weights, h)
    for row in range(len(positions)):
        at_points = density(haversine_m(positions[row][:, None], positions[row][None]), weights[row], h)
        here = density(haversine_m(found[row], positions[row]), weights[row], h)
        assert here >= at_points.max() - 1e-6
        steps = np.array([(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1)]) * M  # a metre in each direction
        nearby = density(haversine_m((found[row] + steps)[:, None], positions[row][None]), weights[row], h)
        assert (nearby <= here + 1e-6).all()


def test_mean_shift_is_not_drawn_by_outliers() -> None:
    near = np.array([[0, 0], [2, 0], [0, 2], [2, 2]]) * M
    positions = np.concatenate([near, np.array([[4000, 0], [0, -9000]]) * M])[None]
    found = mean_shift(positions, np.full((1, 6), 1 / 6), 20.0)
    assert haversine_m(found[0], np.array([M, M])) < 1e-2
    assert haversine_m(weighted_mean(positions, np.full((1, 6), 1 / 6))[0], np.array([M, M])) > 500


def test_mean_shift_between_its_limits() -> None:
    positions, weights = cloud(7)
    assert haversine_m(mean_shift(positions, weights, 1e6), weighted_mean(positions, weights)).max() < 0.1
    heaviest = positions[np.arange(3), weights.argmax(axis=1)]
    assert haversine_m(mean_shift(positions, weights, 1e-3), heaviest).max() < 1e-2


def test_one_neighbour_is_its_own_mean_and_mode_anywhere() -> None:
    for where in ([90.0, 0.0], [-90.0, 5.0], [12.0, 180.0], [12.0, -180.0]):
        one = np.array([[where]])
        assert haversine_m(weighted_mean(one, np.ones((1, 1)))[0], np.array(where)) < 1e-3
        assert haversine_m(mean_shift(one, np.ones((1, 1)), 25.0)[0], np.array(where)) < 1e-3
