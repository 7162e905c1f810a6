"""CLIP-Adapter against a naive form of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ial_bench import SkipMethod
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine import fitted_methods
from ial_bench.errors import ConfigError
from ial_bench.settings import config_from_text
from ial_bench.testing import CHECK_BACKBONE, check_method, make_tiny_city
from ial_methods.adapter.clip_adapter import ClipAdapter
from methods.test_methods import ask, fitted, make

TEMPLATE = '["a street view of {address}."]'


def by_hand(x: Any, down: Any, up: Any, texts: Any, ratio: float) -> Any:
    """float64, photo by photo and candidate by candidate."""
    logits = np.zeros((len(x), len(texts)))
    for i, f in enumerate(x.astype(np.float64)):
        hidden = [max(0.0, float(w @ f)) for w in down.astype(np.float64)]
        adapted = [max(0.0, float(w @ np.array(hidden))) for w in up.astype(np.float64)]
        blend = ratio * np.array(adapted) + (1 - ratio) * f
        for j, text in enumerate(texts.astype(np.float64)):
            logits[i, j] = blend @ text / max(np.sqrt((blend**2).sum()), 1e-12)
    return logits


def test_keeps_the_contract() -> None:
    check_method(ClipAdapter, ClipAdapter.Config(backbone=CHECK_BACKBONE, epochs=2))


@pytest.mark.parametrize("ratio", [0.0, 0.2, 0.75, 1.0])
def test_forward_by_hand(ratio: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texts = (7 * rng.normal(size=(5, 16))).astype(np.float32)
    method = make("clip-adapter", tmp_path, reduction="4")
    method.texts, method.ratio = texts, ratio
    adapter = method.head = method.build(None)
    assert {n: tuple(p.shape) for n, p in adapter.named_parameters()} == {"down.weight": (4, 16), "up.weight": (16, 4)}
    x = rng.normal(0, 3, (9, 16)).astype(np.float32)
    expected = by_hand(x, adapter["down"].weight.detach().numpy(), adapter["up"].weight.detach().numpy(), texts, ratio)
    logits = method.logits(torch.from_numpy(x), None).detach()
    np.testing.assert_allclose(logits.numpy(), expected, rtol=1e-4, atol=1e-4)
    some = torch.tensor([0, 3])
    torch.testing.assert_close(method.logits(torch.from_numpy(x), some).detach(), logits[:, some])


def test_ratio_0_is_zero_shot(tiny_city: Dataset, tmp_path: Path) -> None:
    zero_shot = fitted("clip-zero-shot", tmp_path, tiny_city, templates=TEMPLATE)
    method = fitted("clip-adapter", tmp_path, tiny_city, ratio_grid="[0.0]")
    np.testing.assert_array_equal(method.texts, zero_shot.texts)
    a, b = ask(method, tiny_city, 6), ask(zero_shot, tiny_city, 6)
    np.testing.assert_array_equal(a.indices, b.indices)
    np.testing.assert_allclose(a.scores, b.scores, rtol=1e-6, atol=1e-6)  # float32 rounding of the sums
    assert method.facts["training"]["steps"] == 0


def test_learns(tiny_city: Dataset, tmp_path: Path) -> None:
    zero_shot = fitted("clip-zero-shot", tmp_path, tiny_city, templates=TEMPLATE)
    method = fitted("clip-adapter", tmp_path, tiny_city, ratio_grid="[0.9]", epochs="40", learning_rate="0.02")
    labels = tiny_city.split("query").labels

    def ssa1(of: Any) -> float:
        return float((ask(of, tiny_city, 1).indices[:, 0] == labels).mean())

    losses = [e["losses"]["loss"] for e in method.facts["training"]["epochs"]]
    assert losses[-1] < losses[0]
    assert ssa1(method) > ssa1(zero_shot)


def test_the_ratio_is_the_best_on_val(tiny_city: Dataset, tmp_path: Path) -> None:
    """Each of the grid is what a training with it alone gives; the best is kept, of equals the first."""
    settings: dict[str, Any] = {"epochs": "5", "learning_rate": "0.02"}
    method = fitted("clip-adapter", tmp_path, tiny_city, ratio_grid="[0.0, 0.1, 0.9, 0.5]", **settings)
    val = tiny_city.split("val")
    x = np.asarray(method.context.features.photos(CHECK_BACKBONE, val))
    alone, ssa1 = {}, {}
    for ratio in (0.0, 0.1, 0.9, 0.5):
        alone[ratio] = fitted("clip-adapter", tmp_path, tiny_city, ratio_grid=f"[{ratio}]", **settings)
        ssa1[ratio] = float((alone[ratio].score_features(x).argmax(axis=1) == val.labels).mean())
    assert method.facts["val_ssa1_by_ratio"] == {f"{ratio:g}": found for ratio, found in ssa1.items()}
    best = max(ssa1.values())
    assert method.ratio == next(r for r in ssa1 if ssa1[r] == best)
    np.testing.assert_array_equal(method.score_features(x), alone[method.ratio].score_features(x))


def test_an_interrupted_training_goes_on(tiny_city: Dataset, tmp_path: Path) -> None:
    """Killed in the second ratio, it takes the first one over and ends with the same weights."""
    settings: dict[str, Any] = {"ratio_grid": "[0.3, 0.8]", "epochs": "3"}
    whole = fitted("clip-adapter", tmp_path, tiny_city, **settings)
    killed = make("clip-adapter", tmp_path, **settings)
    killed.context = replace(killed.context, work=tmp_path / "work", checkpoint_steps=1)
    calls = 0
    forward = killed.logits

    def logits(x: Any, some: Any) -> Any:
        nonlocal calls
        calls += 1
        if killed.ratio == 0.8 and len(killed.context.report.lines) > 4:
            raise KeyboardInterrupt
        return forward(x, some)

    killed.logits = logits
    train, val = tiny_city.split("train"), tiny_city.split("val")
    with pytest.raises(KeyboardInterrupt):
        killed.fit(train, val)
    assert {p.name for p in (tmp_path / "work").iterdir()} == {"ratio-0.3", "ratio-0.8"}
    resumed = make("clip-adapter", tmp_path, **settings)
    resumed.context = killed.context
    resumed.fit(train, val)
    assert sum("goes on" in line for line in resumed.context.report.lines) == 2
    assert resumed.context.work == tmp_path / "work"
    np.testing.assert_array_equal(ask(resumed, tiny_city).scores, ask(whole, tiny_city).scores)


def test_survives_a_restart(tiny_city: Dataset, tmp_path: Path) -> None:
    for ratios in ("[0.5]", "[0.0]"):
        method = fitted("clip-adapter", tmp_path, tiny_city, ratio_grid=ratios, epochs="2")
        folder = tmp_path / f"state{ratios}"
        folder.mkdir()
        fitted_methods.store(method, folder, {})
        loaded = make("clip-adapter", tmp_path, ratio_grid=ratios, epochs="2")
        fitted_methods.restored(loaded, folder)
        np.testing.assert_array_equal(ask(loaded, tiny_city).scores, ask(method, tiny_city).scores)
        assert loaded.facts == method.facts


def test_small_cities(tmp_path: Path) -> None:
    single = make_tiny_city(tmp_path / "single", n_addresses=1)
    alone = fitted("clip-adapter", tmp_path, single, epochs="1")
    assert alone.facts["val_ssa1_by_ratio"] == {"0.2": 1.0, "0.6": 1.0}
    data = make_tiny_city(tmp_path / "one-each", train_places=1, views=1, val=False)
    method = fitted("clip-adapter", tmp_path, data, epochs="1")
    assert method.ratio == 0.2  # the paper's, for want of a val split
    assert method.facts["val_ssa1_by_ratio"] == {}
    ask(method, data).check(len(data.split("query")), 10, 6, "clip-adapter")


def test_wrong_settings(tiny_city: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="0 to 1"):
        config_from_text(ClipAdapter, {"ratio_grid": "[1.5]"})
    with pytest.raises(ConfigError, match=r"lacks \{address\}"):
        config_from_text(ClipAdapter, {"templates": '["a street"]'})
    with pytest.raises(SkipMethod, match="no text tower"):
        fitted("clip-adapter", tmp_path, tiny_city, backbone="timm:test_vit/random-init")
