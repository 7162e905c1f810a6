"""The k best of scores, and the faults that an answer is held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import logsumexp

from ial_bench.errors import PredictionError
from ial_bench.topk import NO_ANSWER, TopK

# Few values, so that nearly every row has ties, at the edge of the k best too; both zeros, which are equal.
TIED = st.sampled_from([-1.5, -0.0, 0.0, 0.5, 2.0])


def test_log_sum_is_that_of_all_scores() -> None:
    scores = np.random.default_rng(0).normal(size=(7, 30), scale=20).astype(np.float32)
    scores[0] = 3e38 * np.sign(scores[0])  # nothing overflows
    found = TopK.from_scores(scores, 3).log_sum
    assert found is not None
    np.testing.assert_allclose(found, logsumexp(scores.astype(np.float64), axis=1), rtol=1e-6)
    assert TopK.from_scores(scores, 3, named=scores > 0).log_sum is None


def test_a_log_sum_of_another_form_is_refused() -> None:
    top = TopK.from_scores(np.random.default_rng(0).normal(size=(2, 5)), 3)
    top.check(2, 3, 5, "some")
    with pytest.raises(PredictionError, match=r"log_sum of shape \(1,\)"):
        replace(top, log_sum=np.zeros(1, np.float32)).check(2, 3, 5, "some")
    with pytest.raises(PredictionError, match=r"log_sum that is NaN.*query 1"):
        replace(top, log_sum=np.array([0, np.nan], np.float32)).check(2, 3, 5, "some")


def best(row: list[float], k: int) -> list[int]:
    return sorted(range(len(row)), key=lambda i: (-row[i], i))[:k]


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    scores=hnp.arrays(
        st.sampled_from([np.float16, np.float32, np.float64]),
        st.tuples(st.integers(0, 4), st.integers(0, 9)),
        elements=TIED,
    ),
    k=st.integers(0, 12),
)
def test_from_scores_is_a_sort_by_score_and_then_index(scores: npt.NDArray[np.floating], k: int) -> None:
    top = TopK.from_scores(scores, k)
    width = min(k, scores.shape[1])
    assert top.indices.shape == top.scores.shape == (len(scores), width)
    assert top.indices.dtype == np.int32
    assert top.scores.dtype == np.float32
    assert top.indices.tolist() == [best(row, k) for row in scores.tolist()]
    assert top.scores.tolist() == [[row[i] for i in best(row, k)] for row in scores.tolist()]
    top.check(len(scores), k, scores.shape[1], "m")


@pytest.mark.parametrize("k", [1, 10, 2999, 3000])
def test_from_scores_on_wide_rows_with_many_ties(k: int) -> None:
    scores = np.random.default_rng(3).integers(0, 40, size=(20, 3000)).astype(np.float32)
    scores[0] = 7.0  # nothing but ties
    assert TopK.from_scores(scores, k).indices.tolist() == [best(row, k) for row in scores.tolist()]


def test_scores_that_float32_cannot_tell_apart_are_ties() -> None:
    top = TopK.from_scores(np.array([[1.0, 1.0 + 1e-12, 2.0]]), 3)
    assert top.indices.tolist() == [[2, 0, 1]]
    top.check(1, 3, 3, "m")


def test_positions_are_handed_through() -> None:
    positions = np.array([[40.0, -80.0]])
    assert TopK.from_scores(np.zeros((1, 3)), 2, positions).positions is positions


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_a_score_that_is_not_finite_in_float32_is_an_error_naming_the_photo(bad: float) -> None:
    scores = np.zeros((3, 4))
    scores[2, 1] = bad
    with pytest.raises(PredictionError, match=r"photo 2 is NaN or infinite"):
        TopK.from_scores(scores, 2)


def test_scores_must_be_a_matrix() -> None:
    with pytest.raises(PredictionError, match=r"not of shape \(3,\)"):
        TopK.from_scores(np.zeros(3), 2)


@pytest.mark.parametrize("k", [2, 5])
def test_scores_may_be_read_only_and_are_not_changed(k: int) -> None:
    row = np.array([0.5, 2.0, 0.5, 2.0, 1.0], dtype=np.float32)
    kept = row.copy()
    spread = TopK.from_scores(np.broadcast_to(row, (4, 5)), k)
    assert spread.indices.tolist() == [[1, 3, 4, 0, 2][:k]] * 4
    row.setflags(write=False)
    assert TopK.from_scores(row[None], k).indices.tolist() == [[1, 3, 4, 0, 2][:k]]
    assert (row == kept).all()


def good() -> TopK:
    return TopK(
        np.array([[0, 1], [2, 3], [4, 0]], dtype=np.int32),
        np.array([[2, 1], [2, 2], [3, 1]], dtype=np.float32),
        np.array([[40.0, -80.0], [-90.0, 180.0], [90.0, -180.0]]),
    )


def test_a_valid_answer_passes() -> None:
    good().check(3, 2, 5, "m")
    replace(good(), positions=None).check(3, 2, 5, "m")


def test_fewer_candidates_than_k_give_shorter_lists() -> None:
    TopK.from_scores(np.zeros((2, 3)), 10).check(2, 10, 3, "m")
    with pytest.raises(PredictionError, match=r"indices of shape \(2, 2\) instead of \(2, 3\)"):
        TopK.from_scores(np.zeros((2, 2)), 10).check(2, 10, 3, "m")


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    data=st.integers(0, 4).flatmap(
        lambda n: st.tuples(
            hnp.arrays(np.float32, (n, 6), elements=TIED), hnp.arrays(np.bool_, (n, 6), elements=st.booleans())
        )
    ),
    k=st.integers(0, 8),
)
def test_candidates_that_are_not_named_are_not_listed(
    data: tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]], k: int
) -> None:
    scores, named = data
    top = TopK.from_scores(scores, k, named=named)
    top.check(len(scores), k, 6, "m")
    width = min(k, 6)
    for row in range(len(scores)):
        wanted = [i for i in best(scores[row].tolist(), 6) if named[row, i]][:k]
        assert top.indices[row].tolist() == wanted + [NO_ANSWER] * (width - len(wanted))
        filler = scores[row, wanted[-1]] if wanted else 0
        assert top.scores[row].tolist() == [*scores[row, wanted].tolist(), *[filler] * (width - len(wanted))]


def test_all_named_is_as_without_names() -> None:
    scores = np.random.default_rng(1).integers(0, 5, (20, 9)).astype(np.float32)
    plain, named = TopK.from_scores(scores, 4), TopK.from_scores(scores, 4, named=np.ones(scores.shape, bool))
    np.testing.assert_array_equal(plain.indices, named.indices)
    np.testing.assert_array_equal(plain.scores, named.scores)


def test_no_photos_are_answered_with_no_rows() -> None:
    TopK.from_scores(np.zeros((0, 5)), 2, np.zeros((0, 2))).check(0, 2, 5, "m")


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("indices", np.zeros((3, 1), np.int32), r"indices of shape \(3, 1\) instead of \(3, 2\)"),
        ("indices", np.zeros(3, np.int32), r"indices of shape \(3,\) instead of \(3, 2\)"),
        ("scores", np.zeros((2, 2), np.float32), r"scores of shape \(2, 2\) instead of \(3, 2\)"),
        ("indices", good().indices.astype(np.float32), "indices of type float32 instead of int32"),
        ("scores", good().scores.astype(np.int64), "scores of type int64 instead of float32"),
        ("positions", np.zeros((3, 3)), r"positions of shape \(3, 3\) instead of \(3, 2\)"),
    ],
)
def test_a_wrong_shape_or_type_names_the_method(field: str, value: npt.NDArray[Any], says: str) -> None:
    with pytest.raises(PredictionError, match=f"^method 'my-method' answered with {says}\n"):
        replace(good(), **{field: value}).check(3, 2, 5, "my-method", first_query=100)


@pytest.mark.parametrize(
    ("field", "row", "says"),
    [
        ("indices", [0, 5], r"a candidate outside 0\.\.4"),
        ("indices", [-2, 0], r"a candidate outside 0\.\.4"),
        ("indices", [-1, 0], "a candidate behind a place without one"),
        ("indices", [3, 3], "one candidate twice"),
        ("scores", [np.nan, 1], "a score that is NaN or infinite"),
        ("scores", [np.inf, np.inf], "a score that is NaN or infinite"),
        ("scores", [1, -np.inf], "a score that is NaN or infinite"),
        ("scores", [1, 1.5], "scores that rise along the list"),
        ("scores", [1, 1], "equal scores not ordered by candidate index"),
        ("positions", [np.nan, 0], "a position that is not a latitude and longitude"),
        ("positions", [90.1, 0], "a position that is not a latitude and longitude"),
        ("positions", [0, -180.1], "a position that is not a latitude and longitude"),
    ],
)
def test_a_wrong_value_names_method_and_query(field: str, row: list[float], says: str) -> None:
    top = good()
    getattr(top, field)[2] = row
    with pytest.raises(PredictionError, match=f"^method 'my-method' answered with {says} for query 102\n") as caught:
        top.check(3, 2, 5, "my-method", first_query=100)
    assert "bench check my-method" in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: replace(t, indices=t.indices.astype(np.uint32)),
        lambda t: replace(t, indices=t.indices.astype(np.int64)),
        lambda t: replace(t, scores=t.scores.astype(np.float64) + np.array([[1e-12, 0]])),
    ],
    ids=["unsigned indices", "wide indices", "equal once they are stored as float32"],
)
def test_the_order_of_ties_is_checked_whatever_the_type(change: Callable[[TopK], TopK]) -> None:
    top = change(good())
    top.check(3, 2, 5, "m")
    top.scores[0] = top.scores[0, 1] = 1.0
    if top.scores.dtype == np.float64:
        top.scores[0, 0] += 1e-12
    top.indices[0] = [1, 0]
    with pytest.raises(PredictionError, match="equal scores not ordered by candidate index for query 0"):
        top.check(3, 2, 5, "m")
