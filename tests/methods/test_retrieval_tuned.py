"""Retrieval with a trained encoder: losses by hand, classes, and the vote on the trained features."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from ial_bench import RunContext
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.features import FeatureStore
from ial_bench.errors import ConfigError, DataError, SkipMethod
from ial_bench.geo.projections import utm_metres
from ial_bench.progress import NoReport
from ial_bench.settings import config_from_text
from ial_bench.testing import CHECK_BACKBONE, check_method
from ial_methods.retrieval import tuned
from ial_methods.retrieval.metric import classes_of
from ial_methods.retrieval.metric_task import CosFace, MultiSimilarity
from ial_methods.retrieval.tuned import RetrievalTuned

SMALL = {"backbone": CHECK_BACKBONE, "epochs": "1", "batch_size": "16", "views": "2"}


def make(folder: Path, work: Path | None = None, /, **settings: str) -> RetrievalTuned:
    store = FeatureStore(folder / "cache", "cpu", 8, 0, NoReport())
    context = RunContext(0, "cpu", store, NoReport(), 8, work=work)
    return RetrievalTuned(config_from_text(RetrievalTuned, {**SMALL, **settings}), context)


def fitted(folder: Path, data: Dataset, **settings: str) -> RetrievalTuned:
    method = make(folder, **settings)
    method.prepare()
    method.fit(data.split("train"), data.split("val"))
    method.index(data.candidates)
    return method


# --- losses ---------------------------------------------------------------------------------------------------


def drawn(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, npt.NDArray[np.float64]]:
    """Features of any length, their classes, their cosines."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5)) * rng.uniform(0.3, 3, (n, 1))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return torch.from_numpy(x), torch.from_numpy(rng.integers(0, 4, n)), unit @ unit.T


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 4.0])  # with 4 all pairs are kept
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_multi_similarity_is_the_papers(epsilon: float, seed: int) -> None:
    """Eqs. 11 to 13 of Wang et al., pair by pair."""
    alpha, beta, base = 2.0, 50.0, 0.5
    x, classes, cosine = drawn(14, seed)
    label = classes.tolist()
    total = 0.0
    for i in range(14):
        positives = [cosine[i, j] for j in range(14) if j != i and label[j] == label[i]]
        negatives = [cosine[i, j] for j in range(14) if label[j] != label[i]]
        kept_p = [s for s in positives if s < max(negatives) + epsilon]
        kept_n = [s for s in negatives if positives and s > min(positives) - epsilon]
        total += np.log(1 + sum(np.exp(-alpha * (s - base)) for s in kept_p)) / alpha
        total += np.log(1 + sum(np.exp(beta * (s - base)) for s in kept_n)) / beta
    loss = MultiSimilarity(alpha, beta, base, epsilon)(x, classes)
    assert float(loss) == pytest.approx(total / 14, rel=1e-6)


def test_multi_similarity_without_pairs_moves_nothing() -> None:
    x = drawn(4)[0].requires_grad_()
    loss = MultiSimilarity(2.0, 50.0, 0.5, 0.1)(x, torch.arange(4))
    loss.backward()
    assert float(loss.detach()) == 0
    assert float(x.grad.abs().max()) == 0  # type: ignore[union-attr]


def test_cosface_is_the_papers() -> None:
    x, classes, _ = drawn(9)
    loss = CosFace(4, 5, margin=0.35, scale=30.0, seed=1).double()
    (weights,) = (p.detach().numpy() for p in loss.parameters())
    assert weights.shape == (5, 4)
    total = 0.0
    for row, label in zip(x.numpy(), classes.tolist(), strict=True):
        cosine = row @ weights / np.linalg.norm(row) / np.linalg.norm(weights, axis=0)
        powers = np.exp(30.0 * (cosine - 0.35 * (np.arange(4) == label)))
        total -= np.log(powers[label] / powers.sum())
    assert float(loss(x, classes).detach()) == pytest.approx(total / 9, rel=1e-6)


def test_the_classifier_follows_from_its_seed() -> None:
    def weights(seed: int) -> torch.Tensor:
        return next(CosFace(4, 5, 0.35, 30.0, seed).parameters())

    before = torch.random.get_rng_state()
    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    assert torch.equal(torch.random.get_rng_state(), before)


# --- classes --------------------------------------------------------------------------------------------------


def test_classes_of_addresses_and_places(tiny_city: Dataset) -> None:
    train = tiny_city.split("train")
    for positives, own in (("address", train.labels), ("place", train.places)):
        classes, n = classes_of(train, positives, 10, 30)  # type: ignore[arg-type]
        assert n == len(set(own.tolist())) == classes.max() + 1
        assert ((classes[:, None] == classes) == (own[:, None] == own)).all()


def test_views_share_a_square_and_a_sector() -> None:
    rng = np.random.default_rng(0)
    positions = np.array([40.0, -80.0]) + rng.uniform(0, 3e-4, (60, 2))
    headings = rng.uniform(0, 360, 60).astype(np.float32)
    headings[::7] = np.nan
    photos: Any = SimpleNamespace(positions=positions, headings=headings)
    classes, n = classes_of(photos, "view", 15, 90)
    east_north = utm_metres(positions)
    keys = [
        (int(e // 15), int(m // 15), None if np.isnan(h) else int(h // 90))
        for (e, m), h in zip(east_north, headings, strict=True)
    ]
    assert n == len(set(keys))
    assert all((classes[i] == classes[j]) == (keys[i] == keys[j]) for i in range(60) for j in range(60))


# --- the method -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "pooling"), [("multi-similarity", "encoder"), ("cosface", "netvlad:2")])
def test_the_contract_is_kept(loss: str, pooling: str) -> None:
    config = config_from_text(RetrievalTuned, {**SMALL, "loss": loss, "pooling": pooling, "learning_rate": "0.01"})
    check_method(RetrievalTuned, config)


def test_answers_are_votes_by_the_trained_features(tiny_city: Dataset, tmp_path: Path) -> None:
    method = fitted(tmp_path, tiny_city, learning_rate="0.01", k_grid="[5]", temperature_grid="[0.1]")
    before = method.context.features.encoder(CHECK_BACKBONE)

    def features(split: str, *, trained: bool = True) -> npt.NDArray[np.float64]:
        photos = tiny_city.split(split)
        pixels = torch.stack([before.preprocess(photos.image(i)) for i in range(len(photos))])
        with torch.no_grad():
            x = (method.tower(pixels) if trained else before.encode_images(pixels)).double().numpy()
        return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))

    assert np.abs(features("query") - features("query", trained=False)).max() > 0.01
    gallery = np.concatenate([features("train"), features("val")])
    labels = np.concatenate([tiny_city.split("train").labels, tiny_city.split("val").labels])
    top = method.predict(tiny_city.split("query").batch(), 6)
    for i, x in enumerate(features("query")):
        nearest = np.argsort(-(gallery @ x), kind="stable")[:5]
        weights = np.exp(gallery[nearest] @ x / 0.1)
        votes = np.bincount(labels[nearest], weights / weights.sum(), minlength=6)
        expected = np.sort(votes[votes > 0])[::-1]
        np.testing.assert_allclose(top.scores[i, : len(expected)], expected, rtol=1e-3)
        np.testing.assert_allclose(votes[top.indices[i, : len(expected)]], expected, rtol=1e-3)


def test_sizes(tiny_city: Dataset, tmp_path: Path) -> None:
    """A GeM tower needs neither the projection nor the classifier to answer."""
    method = fitted(tmp_path, tiny_city, loss="cosface", pooling="gem")
    visual = method.context.features.towers(CHECK_BACKBONE).model.visual
    tower = sum(p.numel() for p in visual.parameters()) - visual.proj.numel() + 1  # GeM's exponent
    assert method.parameters().total == method.parameters().trained == tower
    photos = len(tiny_city.split("train")) + len(tiny_city.split("val"))
    assert method.storage_bytes() == 4 * (tower + photos * 32 + photos)
    assert method.facts["classes"] == 6


def test_features_lie_in_the_folder_of_the_run(tiny_city: Dataset, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    method, other = make(tmp_path, work), make(tmp_path)
    photos = tiny_city.split("val")
    found = method.features(photos)
    assert isinstance(found.x, np.memmap)
    np.testing.assert_array_equal(found.x, other.features(photos).x)
    again = method.features(photos)  # of the next epoch, say: the earlier map stays whole
    np.testing.assert_array_equal(found.x, again.x)
    assert len(method.features(photos.part(slice(0, 0))).x) == 0


@pytest.mark.parametrize("best", [1, 2, 3])
def test_photos_of_the_best_epoch_are_not_encoded_again(
    tiny_city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, best: int
) -> None:
    train, val = tiny_city.split("train"), tiny_city.split("val")
    on_val = RetrievalTuned.best_on_val
    kinds: dict[bool, RetrievalTuned] = {}
    for on_disk in (True, False):
        (work := tmp_path / f"work-{on_disk}").mkdir()
        method = make(tmp_path, work if on_disk else None, epochs="3", learning_rate="0.01")
        encoded, order = list[int](), iter([0.5 + 0.1 * (epoch == best) for epoch in (1, 2, 3)])
        plain = method.features
        monkeypatch.setattr(method, "features", lambda p, plain=plain, told=encoded: told.append(len(p)) or plain(p))
        monkeypatch.setattr(method, "best_on_val", lambda *of, o=order, m=method: (on_val(m, *of), next(o))[1])
        method.fit(train, val)
        assert method.facts["training"]["best_epoch"] == best
        assert len(encoded) == (6 if on_disk else 8)
        held = np.concatenate([np.asarray(part.x) for part in method._labelled])
        np.testing.assert_array_equal(held, np.concatenate([plain(train).x, plain(val).x]))
        kinds[on_disk] = method
    told = [{n: m.facts[n] for n in ("k", "temperature", "val_ssa1")} for m in kinds.values()]
    assert told[0] == told[1]


def test_a_gallery_of_other_weights_is_refused(tiny_city: Dataset, tmp_path: Path) -> None:
    method = fitted(tmp_path, tiny_city)
    (tmp_path / "state").mkdir()
    method.save(tmp_path / "state")
    with torch.no_grad():
        next(p for p in method.tower.parameters() if p.requires_grad).add_(1.0)
    other = tmp_path / "other"
    other.mkdir()
    method.gallery.made_of = {**method.gallery.made_of, "encoder": method._encoder_digest}
    method.save(other)
    (other / "encoder.safetensors").replace(tmp_path / "state" / "encoder.safetensors")
    with pytest.raises(DataError, match="made from other features: its encoder"):
        make(tmp_path).load(tmp_path / "state")


def test_what_it_cannot_do_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SkipMethod, match="not trained further"):
        make(tmp_path, backbone="vpr:cosplace-resnet50-512/weights.pth").prepare()
    with pytest.raises(ConfigError, match="is none of encoder"):
        make(tmp_path, pooling="netvlad")
    monkeypatch.setattr(tuned, "find_spec", lambda name: None)
    with pytest.raises(SkipMethod, match="pip install pytorch-metric-learning"):
        make(tmp_path).prepare()
