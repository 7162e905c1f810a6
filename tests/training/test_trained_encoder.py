"""Features by a network in training: of a dataset's photos and of images that are asked about, with names in errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.loader import DecodedPhotos
from ial_bench.engine.features import FeatureStore
from ial_bench.errors import DataError
from ial_bench.images import RGB
from ial_bench.method import RunContext
from ial_bench.progress import NoReport
from ial_bench.training.trained_encoder import TrainedEncoder


def pixels_of(photo: RGB) -> torch.Tensor:
    return torch.from_numpy(photo.astype(np.float32)).permute(2, 0, 1) / 255


def encoder(folder: Path, batch: int, workers: int = 0, bad: float | None = None) -> TrainedEncoder:
    """Mean colours; where `bad` is given, NaN for photos whose red is above it."""
    store = FeatureStore(folder, "cpu", 8, 0, NoReport())
    context = RunContext(0, "cpu", store, NoReport(), batch, workers)

    def encode(pixels: torch.Tensor) -> torch.Tensor:
        means = pixels.mean(dim=(2, 3))
        return means if bad is None else torch.where(means[:, :1] > bad, torch.nan, means)

    return TrainedEncoder("a network", encode, pixels_of, context, DecodedPhotos(None))


@pytest.mark.parametrize("batch", [1, 5, 1000])
@pytest.mark.parametrize("workers", [0, 2])
def test_photos_and_images_have_the_same_features(tiny_city: Dataset, tmp_path: Path, batch: int, workers: int) -> None:
    photos = tiny_city.split("query")
    one = encoder(tmp_path, batch, workers)
    expected = np.stack([photos.image(i).mean(axis=(0, 1)) / 255 for i in range(len(photos))])
    for found in (list(one.photos(photos)), list(one.images(photos.batch()))):
        assert [rows.start for rows, _ in found] == list(range(0, len(photos), batch))
        np.testing.assert_allclose(np.concatenate([x for _, x in found]), expected, rtol=1e-5)


def test_a_photo_whose_feature_is_not_finite_is_named(tiny_city: Dataset, tmp_path: Path) -> None:
    photos = tiny_city.split("query")
    red = np.array([photos.image(i)[..., 0].mean() / 255 for i in range(len(photos))])
    worst = int(red.argmax())
    bad = float(np.sort(red)[-2:].mean())
    with pytest.raises(DataError) as caught:
        list(encoder(tmp_path, 4, bad=bad).photos(photos))
    assert "a network" in caught.value.problem
    assert photos.where(worst) in caught.value.problem
