"""PCA whitening against scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA

from ial_bench import Features
from ial_bench.errors import ConfigError
from ial_bench.testing import CHECK_BACKBONE
from ial_methods.retrieval.knn import Whitening
from support.retrieval_lab import clustered, fitted, held, unit

DIM = 12


def features(n: int = 500, seed: int = 0) -> Any:
    mix = np.random.default_rng(7).normal(0, 1, (DIM, DIM)) * np.geomspace(1, 0.02, DIM)
    return (clustered(n, DIM, 6, seed)[0] @ mix + 1).astype(np.float32)


def photos(n: int = 500, seed: int = 0) -> Features:
    return held(features(n, seed), clustered(n, DIM, 6, seed)[1], 6)


@pytest.mark.parametrize("dim", [1, 5, DIM])
def test_it_is_scikit_learns(dim: int) -> None:
    theirs = PCA(dim, whiten=True, svd_solver="full").fit(unit(features()))
    ours = Whitening.fit(photos(), dim)
    new = features(60, seed=1)
    expected = theirs.transform(unit(new))
    found = (unit(new) - ours.mean) @ ours.projection
    np.testing.assert_allclose(np.abs(found), np.abs(expected), rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(ours(new) @ ours(new).T, unit(expected) @ unit(expected).T, atol=2e-3)
    assert ours(new).dtype == np.float32


def test_components_of_train_have_unit_variance_and_none_in_common() -> None:
    ours = Whitening.fit(photos(), 8)
    white = (unit(features()) - ours.mean) @ ours.projection
    np.testing.assert_allclose(np.cov(white.T), np.eye(8), atol=2e-3)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Whitening.fit(photos(), 8)
    blocks = Features.blocks
    monkeypatch.setattr(Features, "blocks", lambda self, size=33: blocks(self, 33))
    np.testing.assert_allclose(Whitening.fit(photos(), 8).projection, whole.projection, rtol=1e-5, atol=1e-6)


def test_gallery_and_queries_are_whitened(tmp_path: Path) -> None:
    train, val, new = photos(), photos(80, 1), features(30, 2)
    method = fitted(tmp_path, train, val, whiten=6, k_grid=[9], temperature_grid=[0.1])
    pca = PCA(6, whiten=True, svd_solver="full").fit(unit(train.x))
    gallery = unit(pca.transform(unit(np.concatenate([train.x, val.x]))))
    labels = np.concatenate([train.labels, val.labels])
    scores = method.score_features(new)
    for i, x in enumerate(unit(pca.transform(unit(new)))):
        nearest = np.argsort(-(gallery @ x))[:9]
        weights = np.exp(gallery[nearest] @ x / 0.1)
        expected = np.bincount(labels[nearest], weights / weights.sum(), minlength=6)
        np.testing.assert_allclose(np.where(scores[i] > 0, scores[i], 0), expected, rtol=0.02, atol=2e-3)


def test_it_is_kept_and_counted(tmp_path: Path) -> None:
    method = fitted(tmp_path, photos(), photos(0), whiten=6, k_grid=[9], temperature_grid=[0.1])
    (tmp_path / "state").mkdir()
    method.save(tmp_path / "state")
    loaded = fitted(tmp_path, photos(100, 4), photos(0), whiten=6, k_grid=[9], temperature_grid=[0.1])
    loaded.load(tmp_path / "state")
    np.testing.assert_array_equal(loaded.score_features(features(9, 3)), method.score_features(features(9, 3)))
    image = method.context.features.card(CHECK_BACKBONE).image_bytes
    assert method.storage_bytes() == loaded.storage_bytes() == 500 * 6 * 4 + 500 * 4 + (DIM + DIM * 6) * 4 + image


@pytest.mark.parametrize(("n", "dim", "rank"), [(500, DIM + 1, DIM), (5, 5, 4), (1, 1, 0)])
def test_more_components_than_there_are_is_refused(n: int, dim: int, rank: int) -> None:
    with pytest.raises(ConfigError, match=f"vary in {rank} dimensions only"):
        Whitening.fit(photos(n), dim)
