"""Tip-Adapter against its closed form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from ial_bench import SkipMethod
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine import fitted_methods
from ial_bench.method import Method
from ial_bench.progress import NoReport
from ial_bench.registry import Registry
from ial_bench.testing import CHECK_BACKBONE, check_method, make_tiny_city
from ial_methods.adapter import cache, tip_adapter
from ial_methods.adapter.cache import CacheModel, cache_votes, choose
from ial_methods.adapter.tip_adapter import CacheParameters, TipAdapter, choose_rows, unit_rows
from methods.test_methods import FixedFeatures, as_database, ask, fitted, make

Floats = npt.NDArray[np.float64]
TEMPLATE = '["a street view of {address}."]'


def unit(x: npt.NDArray[Any]) -> Floats:
    rows = x.astype(np.float64)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def closed_form(
    x: npt.NDArray[Any], texts: npt.NDArray[Any], keys: npt.NDArray[Any], labels: Any, alpha: float, beta: float
) -> Floats:
    """float64, one key at a time."""
    f = unit(x)
    logits: Floats = f @ texts.astype(np.float64).T
    for key, label in zip(unit(keys), labels, strict=True):
        logits[:, label] += alpha * np.exp(-beta * (1 - f @ key))
    return logits


@pytest.fixture
def drawn() -> dict[str, Any]:
    """20 features, 150 keys of 9 candidates, of which number 4 has none."""
    rng = np.random.default_rng(0)
    labels = np.sort(rng.choice([0, 1, 2, 3, 5, 6, 7, 8], 150)).astype(np.int32)
    return {
        "x": rng.normal(0, 3, (20, 12)).astype(np.float32),
        "texts": (5 * unit(rng.normal(size=(9, 12)))).astype(np.float32),
        "keys": unit(rng.normal(size=(150, 12))).astype(np.float32),
        "labels": labels,
    }


def model_of(drawn: dict[str, Any], *, tuned: bool = False, block: int = 4096) -> CacheModel:
    texts, keys = (torch.tensor(drawn[n]) for n in ("texts", "keys"))
    return CacheModel(texts, keys, torch.tensor(drawn["labels"], dtype=torch.long), tuned=tuned, block=block)


@pytest.mark.parametrize("name", ["tip-adapter", "tip-adapter-f"])
def test_keeps_the_contract(name: str) -> None:
    check_method(Registry().get(name))


def test_a_few_shot_cache_keeps_the_contract() -> None:
    """The draw does not depend on the run's seed, so the method may say that it is not stochastic."""
    check_method(TipAdapter, TipAdapter.Config(backbone=CHECK_BACKBONE, keys_per_address=2))


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 5.5), (1.0, 5.5), (300.0, 0.1), (7.0, 60.0)])
def test_closed_form(drawn: dict[str, Any], alpha: float, beta: float) -> None:
    logits = model_of(drawn)(torch.tensor(drawn["x"]), alpha, beta).detach().numpy()
    expected = closed_form(**drawn, alpha=alpha, beta=beta)
    np.testing.assert_allclose(logits, expected, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(logits[:, 4], unit(drawn["x"]) @ drawn["texts"][4], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("block", [1, 7, 64, 149, 150, 151])
def test_blocks_of_keys_do_not_matter(drawn: dict[str, Any], block: int) -> None:
    x, keys = torch.tensor(unit(drawn["x"])), torch.tensor(drawn["keys"], dtype=torch.float64)
    labels = torch.tensor(drawn["labels"], dtype=torch.long)
    whole = cache_votes(x, keys, labels, 9, (1.0, 30.0), 4096)
    torch.testing.assert_close(cache_votes(x, keys, labels, 9, (1.0, 30.0), block), whole, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("block", [20, 4096])
def test_some_candidates_are_columns_of_all(drawn: dict[str, Any], block: int) -> None:
    model, x, some = model_of(drawn, block=block), torch.tensor(drawn["x"]), torch.tensor([1, 4, 5, 8])
    torch.testing.assert_close(model(x, 3.0, 9.0, some), model(x, 3.0, 9.0)[:, some])


def test_only_candidates_without_keys_are_asked_for(drawn: dict[str, Any]) -> None:
    model, x = model_of(drawn), torch.tensor(drawn["x"])
    torch.testing.assert_close(model(x, 3.0, 9.0, torch.tensor([4])), model.text_logits(x)[:, [4]])


def test_a_sharp_cache_is_the_nearest_neighbour(drawn: dict[str, Any]) -> None:
    logits = model_of(drawn)(torch.tensor(drawn["x"]), 1e30, 120.0).detach().numpy()
    nearest = drawn["labels"][(unit(drawn["x"]) @ unit(drawn["keys"]).T).argmax(axis=1)]
    np.testing.assert_array_equal(logits.argmax(axis=1), nearest)


def test_gradient_of_keys_is_that_of_finite_differences(drawn: dict[str, Any]) -> None:
    texts, keys = (torch.tensor(drawn[n], dtype=torch.float64) for n in ("texts", "keys"))
    labels = torch.tensor(drawn["labels"], dtype=torch.long)
    model = CacheModel(texts, keys, labels, tuned=True, block=16)  # so that the gradient passes borders of blocks
    x = torch.tensor(drawn["x"], dtype=torch.float64)
    target = torch.arange(20) % 9

    def loss() -> torch.Tensor:
        return torch.nn.functional.cross_entropy(model(x, 2.0, 5.5), target)

    loss().backward()  # type: ignore[no-untyped-call]
    gradient, step = model.keys.grad, 1e-6
    assert gradient is not None
    for row, column in [(0, 0), (15, 3), (16, 3), (80, 11), (149, 5)]:
        sides = []
        for way in (step, -step):
            with torch.no_grad():
                model.keys[row, column] += way
                sides.append(loss().item())
                model.keys[row, column] -= way
        assert gradient[row, column].item() == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-5, abs=1e-9)


def test_choice_is_that_of_brute_force(drawn: dict[str, Any]) -> None:
    """Labels that lean on both parts, so that the best pair lies inside the grid."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(600, 12)).astype(np.float32)
    alphas, betas = (0.0, 0.3, 1.0, 10.0, 1e4), tuple(float(b) for b in range(1, 31, 3))
    parts = {n: drawn[n] for n in ("texts", "keys", "labels")}
    y = (closed_form(x, **parts, alpha=0.9, beta=13.0) + rng.normal(0, 0.3, (600, 9))).argmax(axis=1).astype(np.int32)
    y[:9] = -1  # photos whose address is no candidate are wrong with any choice
    right = {
        (b, a): int((closed_form(x, **parts, alpha=a, beta=b).argmax(axis=1) == y).sum()) for b in betas for a in alphas
    }
    best = min(right, key=lambda pair: (-right[pair], pair))
    choice = CacheParameters(*choose(model_of(drawn), FixedFeatures(x, y, 9), alphas, betas, NoReport(), "tip-adapter"))
    assert (choice.beta, choice.alpha) == best
    assert choice.val_ssa1 == pytest.approx(right[best] / 600)
    assert best[1] not in {0.0, 1e4}


def test_of_equal_choices_the_smallest(drawn: dict[str, Any]) -> None:
    held = FixedFeatures(drawn["x"], np.full(20, -1, np.int32), 9)  # none can be right
    choice = CacheParameters(*choose(model_of(drawn), held, (0.5, 2.0), (3.0, 4.0), NoReport(), "tip-adapter"))
    assert choice == CacheParameters(0.5, 3.0, 0.0)


def test_choice_over_a_restart() -> None:
    for choice in (CacheParameters(1.0, 5.5), CacheParameters(0.3, 2.0, 0.75)):
        assert CacheParameters.from_array(choice.as_array()) == choice


# --- what is cached -------------------------------------------------------------------------------------------


def test_all_rows_in_order_of_address() -> None:
    labels = np.array([2, -1, 0, 2, 1, 0], dtype=np.int32)
    rows = choose_rows(labels, None, np.random.default_rng(0))
    assert rows.tolist() == [2, 5, 4, 0, 3]


def test_a_draw_is_even_and_without_replacement() -> None:
    labels = np.repeat(np.array([0, 3, -1, 1], dtype=np.int32), [10, 2, 5, 1])
    times = np.zeros(18, dtype=np.int64)
    for seed in range(400):
        rows = choose_rows(labels, 4, np.random.default_rng(seed))
        assert np.bincount(labels[rows], minlength=4).tolist() == [4, 1, 0, 2]
        assert len(set(rows.tolist())) == len(rows)
        assert (np.diff(labels[rows]) >= 0).all()
        times[rows] += 1
    # 400 draws of 4 out of 10: 160 each, with a standard deviation of 9.8.
    assert np.abs(times[:10] - 160).max() < 50
    assert times[10:].tolist() == [400, 400, 0, 0, 0, 0, 0, 400]


def test_keys_in_a_file_are_those_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, rows = rng.normal(size=(50, 6)).astype(np.float32), rng.permutation(50)[:33]
    kept = unit_rows(x, rows, None)
    np.testing.assert_allclose(kept, unit(x[rows]), rtol=1e-6)
    monkeypatch.setattr(tip_adapter, "_IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(tip_adapter, "KEY_BLOCK", 8)
    mapped = unit_rows(x, rows, tmp_path)
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(mapped, kept)
    assert list(tmp_path.iterdir()) == []  # nameless: nothing is left behind


# --- the methods ----------------------------------------------------------------------------------------------


def test_answers_are_the_closed_form_on_a_dataset(tiny_city: Dataset, tmp_path: Path) -> None:
    method = fitted("tip-adapter", tmp_path, tiny_city, alpha_grid="[2.5]", beta_grid="[8.0]")
    zero_shot = fitted("clip-zero-shot", tmp_path, tiny_city, templates=TEMPLATE)
    train, queries = tiny_city.split("train"), tiny_city.split("query")
    x, keys = (np.asarray(method.context.features.photos(CHECK_BACKBONE, p)) for p in (queries, train))
    expected = closed_form(x, zero_shot.texts, keys, train.labels, 2.5, 8.0)
    np.testing.assert_allclose(method.score_features(x), expected, rtol=1e-4)
    assert method.facts["keys"] == len(train)
    assert (ask(method, tiny_city, 1).indices[:, 0] == queries.labels).mean() > 0.5


def test_without_weight_on_the_cache_it_is_zero_shot(tiny_city: Dataset, tmp_path: Path) -> None:
    zero_shot = fitted("clip-zero-shot", tmp_path, tiny_city, templates=TEMPLATE)
    for name in ("tip-adapter", "tip-adapter-f"):
        more: dict[str, Any] = {"epochs": "1"} if name == "tip-adapter-f" else {}
        method = fitted(name, tmp_path, tiny_city, alpha_grid="[0.0]", **more)
        a, b = ask(method, tiny_city, 6), ask(zero_shot, tiny_city, 6)
        np.testing.assert_allclose(a.scores, b.scores, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(a.indices, b.indices)


def test_keys_that_do_not_move_are_tip_adapter(tiny_city: Dataset, tmp_path: Path) -> None:
    free = fitted("tip-adapter", tmp_path, tiny_city)
    chosen: dict[str, Any] = {"train_alpha": "null", "train_beta": "null"}
    tuned = fitted("tip-adapter-f", tmp_path, tiny_city, learning_rate="1e-30", epochs="2", **chosen)
    assert tuned.choice == free.choice
    assert (tuned.facts["train_alpha"], tuned.facts["train_beta"]) == (free.choice.alpha, free.choice.beta)
    np.testing.assert_array_equal(ask(tuned, tiny_city).scores, ask(free, tiny_city).scores)


def test_training_lowers_the_loss_and_moves_keys(tiny_city: Dataset, tmp_path: Path) -> None:
    method = fitted(
        "tip-adapter-f", tmp_path, tiny_city, epochs="20", train_alpha="1", train_beta="5.5", learning_rate="0.003"
    )
    losses = [e["losses"]["loss"] for e in method.facts["training"]["epochs"]]
    assert losses[-1] < losses[0] - 0.05
    untouched = fitted("tip-adapter", tmp_path, tiny_city)
    assert np.abs(method.state()["trained/keys"] - untouched.keys).max() > 1e-3
    assert method.trained_parameters() == untouched.keys.size


def test_few_shot_draws(tiny_city: Dataset, tmp_path: Path) -> None:
    def keys(name: str, seed: int, **settings: str) -> Any:
        more: dict[str, Any] = {"epochs": "1", "learning_rate": "1e-30"} if name == "tip-adapter-f" else {}
        method = fitted(name, tmp_path, tiny_city, seed, keys_per_address="1", **more, **settings)
        return method.state()["keys" if name == "tip-adapter" else "trained/keys"]

    assert keys("tip-adapter", 0).shape[0] == 6
    np.testing.assert_array_equal(keys("tip-adapter", 0), keys("tip-adapter", 1))
    assert (keys("tip-adapter", 0) != keys("tip-adapter", 0, draw_seed="1")).any()
    assert (keys("tip-adapter-f", 0) != keys("tip-adapter-f", 1)).any()


def test_mapped_keys_answer_alike_and_survive_a_restart(
    tiny_city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = fitted("tip-adapter", tmp_path, tiny_city)
    monkeypatch.setattr(tip_adapter, "_IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(cache, "_ON_DEVICE_BYTES", 0)
    monkeypatch.setattr(tip_adapter, "KEY_BLOCK", 5)
    mapped = fitted("tip-adapter", tmp_path, tiny_city)
    assert isinstance(mapped.keys, np.memmap)
    assert mapped.choice == kept.choice
    np.testing.assert_allclose(ask(mapped, tiny_city).scores, ask(kept, tiny_city).scores, rtol=1e-5)
    (tmp_path / "state").mkdir()
    fitted_methods.store(mapped, tmp_path / "state", {})
    loaded = make("tip-adapter", tmp_path)
    fitted_methods.restored(loaded, tmp_path / "state")
    assert isinstance(loaded.keys, np.memmap)
    np.testing.assert_array_equal(ask(loaded, tiny_city).scores, ask(mapped, tiny_city).scores)
    assert loaded.facts == mapped.facts
    assert loaded.storage_bytes() == kept.storage_bytes() > kept.keys.nbytes


def test_tuned_keys_survive_a_restart(tiny_city: Dataset, tmp_path: Path) -> None:
    method = fitted("tip-adapter-f", tmp_path, tiny_city, epochs="2")
    (tmp_path / "state").mkdir()
    fitted_methods.store(method, tmp_path / "state", {})
    loaded = make("tip-adapter-f", tmp_path, epochs="2")
    fitted_methods.restored(loaded, tmp_path / "state")
    np.testing.assert_array_equal(ask(loaded, tiny_city).scores, ask(method, tiny_city).scores)
    assert loaded.facts == method.facts


@pytest.mark.parametrize("name", ["tip-adapter", "tip-adapter-f"])
def test_small_cities(name: str, tmp_path: Path) -> None:
    more: dict[str, Any] = {"epochs": "1"} if name == "tip-adapter-f" else {}
    single = fitted(name, tmp_path, make_tiny_city(tmp_path / "single", n_addresses=1), **more)
    assert single.choice.val_ssa1 == 1.0
    data = make_tiny_city(tmp_path / "one-each", train_places=1, views=1, val=False)
    method = fitted(name, tmp_path, data, **more)
    assert (method.choice.alpha, method.choice.beta, method.choice.val_ssa1) == (1.0, 5.5, None)
    ask(method, data).check(len(data.split("query")), 10, 6, name)


@pytest.mark.parametrize("name", ["tip-adapter", "tip-adapter-f", "clip-adapter"])
def test_an_address_without_train_photos(name: str, tiny_city: Dataset, tmp_path: Path) -> None:
    data = as_database(tiny_city, 5, tmp_path / "with-database")
    assert data.split("train").address_counts()[5] == 0
    settings: dict[str, Any] = {} if name == "tip-adapter" else {"epochs": "1"}
    method = fitted(name, tmp_path, data, **settings)
    ask(method, data).check(len(data.split("query")), 10, 6, name)


@pytest.mark.parametrize("name", ["tip-adapter", "tip-adapter-f"])
def test_no_photo_of_a_candidate(name: str, tmp_path: Path) -> None:
    x, y = np.ones((3, 4), np.float32), np.full(3, -1, np.int32)
    method: Method = make(name, tmp_path)
    with pytest.raises(SkipMethod, match="no train photos"):
        method.fit_features(FixedFeatures(x, y, 2), FixedFeatures(x[:0], y[:0], 2))  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["tip-adapter", "tip-adapter-f"])
def test_needs_a_text_tower(name: str, tiny_city: Dataset, tmp_path: Path) -> None:
    with pytest.raises(SkipMethod, match="no text tower"):
        fitted(name, tmp_path, tiny_city, backbone="timm:test_vit/random-init")
