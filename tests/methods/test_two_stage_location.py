"""The location encoder: features, loss and gallery by hand, a map that it can learn, the contract, a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from ial_bench import Features, RunContext, unit_norm
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine import fitted_methods
from ial_bench.engine.features import FeatureStore
from ial_bench.errors import ConfigError
from ial_bench.geo.points import Points, haversine_m, unit_vectors
from ial_bench.geo.projections import from_local_m
from ial_bench.progress import NoReport
from ial_bench.settings import config_from_text
from ial_bench.testing import CHECK_BACKBONE, check_method
from ial_methods.two_stage.location import LocationStage, TwoStageLocation
from ial_methods.two_stage.training import FourierFeatures, LocationModel, LocationTask, photo_position_nce

PITTSBURGH = np.array([40.44, -79.95])
FIJI = np.array([-17.0, 180.0])
SMALL = {"backbone": CHECK_BACKBONE, "epochs": "2", "width": "16", "photo_width": "16", "frequencies": "8", "dim": "12"}


def located(x: npt.NDArray[np.float32], positions: Points) -> Features:
    """Features with positions and a label for each."""

    class Held:
        candidates = range(len(x))

        def __init__(self) -> None:
            self.positions, self.labels = positions, np.arange(len(x), dtype=np.int32)

    held: Any = Held()
    return Features(x, held)


def stage(seed: int = 0, **settings: str) -> LocationStage:
    config: Any = config_from_text(TwoStageLocation, {**SMALL, **settings})
    store: Any = None
    return LocationStage(config, RunContext(seed, "cpu", store, NoReport()), "two-stage-location")


def city(middle: Points, n: int = 200, seed: int = 0) -> tuple[npt.NDArray[np.float32], Points]:
    """Features that tell where photos are, and the positions: four photos at each, within some hundred metres."""
    rng = np.random.default_rng(seed)
    plane = np.repeat(rng.uniform(-300, 300, (n // 4, 2)), 4, axis=0)
    x = np.concatenate([np.cos(plane / 200), np.sin(plane / 200)], axis=1)
    x = x + 0.01 * rng.normal(size=(len(plane), 4))
    return x.astype(np.float32), from_local_m(plane, middle)


@pytest.mark.parametrize("wavelength", [40.0, 900.0])
def test_fourier_features_approximate_the_gaussian_kernel(wavelength: float) -> None:
    torch.manual_seed(0)
    n = 40_000
    features = FourierFeatures(wavelength, n)
    rng = np.random.default_rng(0)
    metres = rng.uniform(-1, 1, (40, 2)) * wavelength / 4 + 5_000  # far from the origin: the kernel is of differences
    z = features(torch.from_numpy(metres.astype(np.float32))).numpy().astype(np.float64)
    distance = np.linalg.norm(metres[:, None] - metres[None, :], axis=-1)
    kernel = np.exp(-2 * np.pi**2 * (distance / wavelength) ** 2)
    assert 0.02 < np.median(kernel) < 0.9  # neither all near nor all far
    np.testing.assert_allclose(z @ z.T / n, kernel, atol=5 / np.sqrt(2 * n))  # five deviations of a mean of n cosines


def test_the_loss_is_that_of_a_plain_double_loop() -> None:
    rng = np.random.default_rng(1)
    photos, positions = rng.normal(size=(7, 5)), rng.normal(size=(4, 5))
    target = np.array([2, 0, 2, 3, 0, 2, 3])  # nobody is at position 1
    cosines = [[p @ q / np.linalg.norm(p) / np.linalg.norm(q) for q in positions] for p in photos]
    by_photo = by_position = 0.0
    for i in range(7):
        by_photo -= np.log(np.exp(6 * cosines[i][target[i]]) / sum(np.exp(6 * c) for c in cosines[i])) / 7
    for j in (0, 2, 3):
        total = sum(np.exp(6 * cosines[i][j]) for i in range(7))
        right = [i for i in range(7) if target[i] == j]
        by_position -= sum(np.log(np.exp(6 * cosines[i][j]) / total) for i in right) / len(right) / 3
    found = photo_position_nce(torch.from_numpy(photos), torch.from_numpy(positions), torch.from_numpy(target), 6.0)
    assert float(found) == pytest.approx((by_photo + by_position) / 2, rel=1e-9)


def test_the_loss_with_a_position_each_is_clips() -> None:
    from ial_methods.addressclip.losses import info_nce

    rng = torch.Generator().manual_seed(2)
    photos, positions = torch.randn(6, 5, generator=rng), torch.randn(6, 5, generator=rng)
    found = photo_position_nce(photos, positions, torch.arange(6), 10.0)
    torch.testing.assert_close(found, info_nce(photos, positions, 10.0))


@pytest.mark.parametrize(("extra", "told_apart"), [("0", 2), ("7", 9), ("100", 12)])
def test_a_step_tells_its_positions_apart_from_so_many_others(extra: str, told_apart: int) -> None:
    x, positions = city(PITTSBURGH, 48)
    one = stage(epochs="1", batch_size="8", extra_positions=extra)
    seen: list[int] = []
    distinct, position = np.unique(positions, axis=0, return_inverse=True)
    one.model = LocationModel(4, 16, (50.0,), 8, 16, 12, 0)
    metres = np.zeros((len(distinct), 2), np.float32)
    task = LocationTask(
        "made", one.config, one.context, one.model, one.config.extra_positions, x, metres, position.reshape(-1),
        lambda: None,
    )  # fmt: skip
    one.model.locations.register_forward_hook(lambda *a: seen.append(len(a[1][0])))
    rows = np.arange(8)  # two positions, each of four photos
    task.losses(rows, torch.from_numpy(x[:8]))
    assert seen == [told_apart]


@pytest.mark.parametrize("middle", [PITTSBURGH, FIJI])
def test_it_learns_where_photos_are(middle: Points) -> None:
    x, positions = city(middle)
    learnt = stage(epochs="40", batch_size="40", width="64", photo_width="64", frequencies="32", wavelengths_m="[800]")
    learnt.fit(located(x, positions), located(x[:0], positions[:0]), print)
    assert len(learnt.gallery) == 50
    assert np.median(haversine_m(learnt.locate(x), positions)) < 25
    unseen, there = city(middle, seed=5)  # positions that only the index knows
    before = np.median(haversine_m(learnt.locate(unseen), there))
    learnt.index([located(x, positions), located(unseen, there)], "encoder")
    assert np.median(haversine_m(learnt.locate(unseen), there)) < before
    told = learnt.facts()
    assert told["positions"] == 100
    assert told["training"]["epochs"][-1]["losses"]["loss"] < told["training"]["epochs"][0]["losses"]["loss"] / 1.5


@pytest.mark.parametrize("top_k", [1, 3])
def test_the_answer_is_that_of_brute_force(top_k: int) -> None:
    x, positions = city(FIJI, 80)
    one = stage(top_k=str(top_k))
    one.fit(located(x[:60], positions[:60]), located(x[:0], positions[:0]), print)
    one.index([located(x[:60], positions[:60]), located(x[60:], positions[60:])], "encoder")
    gallery = np.unique(positions, axis=0)
    similarity = unit_norm(one.encode_photos(x)) @ unit_norm(one.encode_positions(gallery)).T
    scale = float(one.model.log_scale.detach().exp())
    for found, row in zip(one.locate(x), similarity.astype(np.float64), strict=True):
        best = np.argsort(-row)[:top_k]
        weights = np.exp(scale * row[best])
        mean = weights @ unit_vectors(gallery[best])
        cosine = mean @ unit_vectors(found) / np.linalg.norm(mean)
        assert np.arccos(min(cosine, 1.0)) * 6.4e6 < 1.0


def test_seeds_decide() -> None:
    x, positions = city(PITTSBURGH, 40)
    encoded = []
    for seed in (0, 0, 1):
        one = stage(seed)
        one.fit(located(x, positions), located(x[:0], positions[:0]), print)
        encoded.append(one.encode_positions(positions))
    np.testing.assert_array_equal(encoded[0], encoded[1])
    assert np.abs(encoded[0] - encoded[2]).max() > 0.01


@pytest.mark.parametrize("bad", ["[]", "[0]", "[-5, 100]"])
def test_wavelengths_that_are_none_are_refused(bad: str) -> None:
    with pytest.raises(ConfigError, match="wavelengths_m"):
        stage(wavelengths_m=bad)


def test_the_contract_is_kept() -> None:
    check_method(TwoStageLocation, config_from_text(TwoStageLocation, SMALL))


def test_it_comes_back_from_its_files(tiny_city: Dataset, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, "cpu", 8, 0, NoReport())
    config: Any = config_from_text(TwoStageLocation, SMALL)
    fitted, loaded = (TwoStageLocation(config, RunContext(0, "cpu", store, NoReport(), 8)) for _ in range(2))
    fitted.prepare()
    fitted.fit(tiny_city.split("train"), tiny_city.split("val"))
    fitted.index(tiny_city.candidates)
    folder = tmp_path / "state"
    folder.mkdir()
    fitted_methods.store(fitted, folder, {})
    loaded.prepare()
    fitted_methods.restored(loaded, folder)
    batch = tiny_city.split("query").batch()
    one, other = fitted.predict(batch, 5), loaded.predict(batch, 5)
    np.testing.assert_array_equal(one.indices, other.indices)
    np.testing.assert_array_equal(one.positions, other.positions)
    assert loaded.facts == fitted.facts
    assert loaded.storage_bytes() == fitted.storage_bytes()
    assert loaded.parameters() == fitted.parameters()
    head = (store.card(CHECK_BACKBONE).dim + 1) * 16 + (16 + 1) * 12
    encoder = len(config.wavelengths_m) * ((2 * 8 + 1) * 16 + 2 * (16 + 1) * 16 + (16 + 1) * 12)
    assert fitted.parameters().trained == head + encoder + 1
    parts = [tiny_city.split("train"), tiny_city.split("val"), tiny_city.candidates.database]
    positions = len(np.unique(np.concatenate([p.positions for p in parts]), axis=0))
    assert fitted.facts["stage1"]["positions"] == positions
    assert fitted.stage1.storage_bytes() == head * 4 + positions * (12 * 4 + 2 * 8)
    assert fitted.facts["val"]["median_m"] >= 0
