"""The linear probe, and the solver under it, against scikit-learn and against themselves done another way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.linear_model import LogisticRegression as TheirRegression

from ial_bench import Features, RunContext, TopK
from ial_bench.engine.features import FeatureStore
from ial_bench.progress import NoReport
from ial_bench.settings import config_from_text
from ial_bench.testing import CHECK_BACKBONE
from ial_methods.clip import logistic
from ial_methods.clip.linear_probe import LinearProbe
from ial_methods.clip.logistic import LogisticRegression, Solution
from support.retrieval_lab import held


class Told(NoReport):
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, message: str) -> None:
        self.lines.append(message)


def make(folder: Path, report: NoReport | None = None, **settings: str) -> LinearProbe:
    report = report or NoReport()
    store = FeatureStore(folder, "cpu", 8, 0, report)
    config = config_from_text(LinearProbe, {"backbone": CHECK_BACKBONE} | settings)
    return LinearProbe(config, RunContext(0, "cpu", store, report, 8))


def of(x: Any, y: Any, n_candidates: int | None = None) -> Features:
    return held(x, y, n_candidates or int(y.max()) + 1)


def blobs(n: int, dim: int, classes: int, seed: int, offset: float = 3.0, noise: float = 1.5) -> tuple[Any, Any]:
    """Features around a centre a class, off-centre as real features are, and labels."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(0, 1, (classes, dim))
    labels = rng.integers(0, classes, n).astype(np.int32)
    x = centres[labels] + rng.normal(0, noise, (n, dim)) + offset
    return x.astype(np.float32), labels


def uneven() -> tuple[Any, Any]:
    """One class with half of the photos, one with two."""
    x, y = blobs(400, 10, 6, seed=3)
    keep = (y < 2) | (np.arange(400) % 20 == 0)
    return x[keep], y[keep]


def scaled() -> tuple[Any, Any]:
    """Features whose spreads differ a thousandfold."""
    x, y = blobs(300, 8, 5, seed=4)
    return (x * np.geomspace(0.03, 30, 8)).astype(np.float32), y


PROBLEMS: dict[str, tuple[Callable[[], tuple[Any, Any]], float]] = {
    "strong penalty": (lambda: blobs(400, 12, 5, seed=0), 1e-5),
    "plain": (lambda: blobs(400, 12, 5, seed=0), 0.316),
    "weak penalty": (lambda: blobs(400, 12, 5, seed=0), 100.0),
    "separable": (lambda: blobs(300, 20, 6, seed=1, noise=0.3), 1e4),
    "fewer photos than features": (lambda: blobs(40, 60, 4, seed=2), 1e3),
    "two classes": (lambda: blobs(100, 5, 2, seed=5), 1.0),
    "far off centre": (lambda: blobs(300, 8, 4, seed=6, offset=1000.0), 1.0),
    "badly scaled": (scaled, 10.0),
    "uneven classes": (uneven, 3.0),
}


def solved(x: Any, y: Any, c: float, start: Solution | None = None, tolerance: float = 1e-9) -> Solution:
    return LogisticRegression([of(x, y)], "cpu").solve(c, start, tolerance, 200)


def logits_of(found: Solution, x: Any) -> npt.NDArray[np.float64]:
    """float64 [n, k], zero in the mean of each photo: softmax does not see it."""
    logits = x.astype(np.float64) @ found.weights.T + found.bias
    return np.asarray(logits - logits.mean(axis=1, keepdims=True))


def objective(weights: Any, bias: Any, x: Any, y: Any, c: float) -> float:
    """As the method's documentation has it."""
    logits = x.astype(np.float64) @ weights.T + bias
    logits -= logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), y]
    return float(0.5 * (weights**2).sum() + c * losses.sum())


def theirs(x: Any, y: Any, c: float) -> tuple[Any, Any]:
    """scikit-learn's exact Newton steps, on centred features: its intercepts follow the centre."""
    centre = x.astype(np.float64).mean(axis=0)
    pair = len(np.unique(y)) == 2  # of two classes, they fit the difference
    fit = TheirRegression(C=2 * c if pair else c, tol=1e-12, max_iter=1000, solver="newton-cholesky")
    fit.fit(x - centre, y)
    weights, bias = fit.coef_, fit.intercept_
    if pair:
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    return weights, bias - weights @ centre


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.filterwarnings("ignore:Line search of Newton solver:sklearn.exceptions.ConvergenceWarning")
def test_the_solver_agrees_with_scikit_learn(name: str) -> None:
    draw, c = PROBLEMS[name]
    x, y = draw()
    weights, bias = theirs(x, y, c)
    found = solved(x, y, c)
    least = objective(weights, bias, x, y, c)
    assert objective(found.weights, found.bias, x, y, c) == pytest.approx(least, rel=1e-6)
    assert found.loss * c * len(x) == pytest.approx(least, rel=1e-6)
    expected = x.astype(np.float64) @ weights.T + bias
    expected -= expected.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(logits_of(found, x), expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_default_tolerance_answers_as_the_minimum_does(name: str) -> None:
    """Up to photos whose two best logits are next to equal."""
    draw, c = PROBLEMS[name]
    x, y = draw()
    exact, usual = logits_of(solved(x, y, c), x), logits_of(solved(x, y, c, tolerance=1e-4), x)
    best = np.sort(exact, axis=1)
    clear = best[:, -1] - best[:, -2] > 2e-2 * np.abs(exact).max()
    assert clear.mean() > 0.5
    np.testing.assert_array_equal(exact.argmax(axis=1)[clear], usual.argmax(axis=1)[clear])


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("_KEPT_BYTES", 0),  # features are read anew
        ("_WIDEST_BLOCK", 3),  # the preconditioner is diagonal beyond
        ("_WIDEST_TURN", 0),  # features as they are
        ("_BLOCK_NUMBERS", 512),  # many blocks of rows and of classes
        ("_BLOCKS_BYTES", 100),
    ],
)
def test_other_ways_lead_to_the_same_minimum(monkeypatch: pytest.MonkeyPatch, setting: str, value: int) -> None:
    x, y = scaled()
    usual = solved(x, y, 10.0)
    monkeypatch.setattr(logistic, setting, value)
    other = solved(x, y, 10.0)
    assert other.loss == pytest.approx(usual.loss, rel=1e-7)
    np.testing.assert_allclose(logits_of(other, x), logits_of(usual, x), atol=1e-2)


def test_a_start_shortens_the_way_and_leaves_the_end() -> None:
    x, y = blobs(400, 12, 6, seed=7)
    before = solved(x[y < 4][:150], y[y < 4][:150], 0.5)  # of fewer photos, and without two of the classes
    cold, warm = solved(x, y, 1.0), solved(x, y, 1.0, before)
    np.testing.assert_allclose(logits_of(warm, x), logits_of(cold, x), atol=1e-3)
    again = solved(x, y, 1.0, cold)
    assert again.steps < cold.steps
    np.testing.assert_allclose(logits_of(again, x), logits_of(cold, x), atol=1e-3)


def test_a_single_class_has_nothing_to_learn(tmp_path: Path) -> None:
    x, _ = blobs(20, 4, 3, seed=0)
    found = solved(x, np.full(20, 2, np.int32), 1.0)
    assert found.classes.tolist() == [2]
    np.testing.assert_array_equal(found.weights, 0)


def test_features_that_are_all_the_same_leave_the_shares_of_classes() -> None:
    y = np.repeat(np.array([0, 1, 2], np.int32), [10, 20, 70])
    found = solved(np.ones((100, 4), np.float32), y, 1.0)
    shares = np.exp(logits_of(found, np.ones((1, 4))))
    np.testing.assert_allclose((shares / shares.sum())[0], [0.1, 0.2, 0.7], rtol=1e-4)


# --- the method -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("c", [1e-3, 0.316, 10.0])
def test_the_final_fit_is_on_train_and_val(tmp_path: Path, c: float) -> None:
    x, y = blobs(400, 12, 5, seed=0)
    method = make(tmp_path, c=str(c), tolerance="1e-8")
    method.fit_features(of(x[:300], y[:300]), of(x[300:], y[300:]))
    weights, bias = theirs(x, y, c)
    new, _ = blobs(50, 12, 5, seed=1)
    scores, expected = method.score_features(new), new.astype(np.float64) @ weights.T + bias
    shift = (scores - expected).mean(axis=1, keepdims=True)  # logits are defined up to a constant a photo
    np.testing.assert_allclose(scores - shift, expected, rtol=1e-3, atol=1e-3)


def noisy(classes: int = 4) -> tuple[Features, Features]:
    """Few noisy photos and many dimensions: val wants regularisation."""
    x, y = blobs(80, 40, classes, seed=0)
    val_x, val_y = blobs(400, 40, classes, seed=1)
    return of(x, y), of(val_x, val_y)


def test_c_is_chosen_on_val_by_minima_that_scikit_learn_finds_too(tmp_path: Path) -> None:
    train, val = noisy()
    method = make(tmp_path)
    method.fit_features(train, val)
    assert len(method.tried) >= 7 + 2
    assert np.log10(method.c) == pytest.approx(
        min(d for d, a in method.tried.items() if a == max(method.tried.values()))
    )
    for decade in (-2.0, 0.0, 2.0, float(np.log10(method.c))):
        weights, bias = theirs(train.x, train.labels, 10.0**decade)
        right = ((val.x @ weights.T + bias).argmax(axis=1) == val.labels).mean()
        told = method.facts["val_ssa1_by_log10_c"][f"{decade:g}"]
        assert told == pytest.approx(right, abs=1.5 / 400)  # a tie may fall otherwise
    weights, bias = theirs(train.x, train.labels, 1e6)
    assert max(method.tried.values()) > ((val.x @ weights.T + bias).argmax(axis=1) == val.labels).mean()


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of threads, for the test alone."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_the_number_of_threads_changes_no_byte(tmp_path: Path, threads: Callable[[int], None]) -> None:
    train, val = noisy(7)
    found = []
    for count in (1, 1, 2, 3):
        threads(count)
        method = make(tmp_path)
        method.fit_features(train, val)
        found.append((method.c, method.tried, method.weights.tobytes(), method.bias.tobytes()))
        assert torch.get_num_threads() == count
    assert found[1:] == found[:1] * 3


def test_the_number_of_threads_changes_no_answer_of_large_problems(
    threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logistic, "_ONE_THREAD", 0)
    x, y = blobs(3000, 64, 20, seed=8)
    found = []
    for count in (1, 2):
        threads(count)
        found.append(logits_of(solved(x, y, 0.1, tolerance=1e-4), x))
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)
    np.testing.assert_array_equal(found[0].argmax(axis=1), found[1].argmax(axis=1))


def test_a_fit_that_is_stopped_early_says_so(tmp_path: Path) -> None:
    train, val = noisy()
    report = Told()
    make(tmp_path, report, c="100", max_iterations="2").fit_features(train, val)
    assert any("stopped after 2 steps" in line and "max_iterations" in line for line in report.lines)
    report = Told()
    make(tmp_path, report, c="100").fit_features(train, val)
    assert report.lines == []


def test_addresses_without_photos_come_last(tmp_path: Path) -> None:
    x, y = blobs(100, 6, 3, seed=0)
    labels = np.array([0, 2, 5], dtype=np.int32)[y]
    labels[:7] = -1  # photos whose address is no candidate teach nothing
    method = make(tmp_path, c="1.0")
    method.fit_features(of(x, labels, 7), of(x[:0], labels[:0], 7))
    top = TopK.from_scores(method.score_features(x), 7)
    assert set(top.indices[:, :3].ravel().tolist()) == {0, 2, 5}
    top.check(100, 7, 7, "linear-probe")
