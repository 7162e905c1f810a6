"""Photos as training sees them, against the evaluation's own preprocessing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from ial_bench.datasets.contents import CONTENTS
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.loader import Prepared
from ial_bench.encoders.build import OnArrays
from ial_bench.errors import ImageError, SkipMethod
from ial_bench.testing import make_tiny_city
from ial_bench.training.augmentation import Augmentation, pixel_batches
from ial_bench.training.config import AugmentationConfig

MEAN, STD = (0.48, 0.45, 0.4), (0.26, 0.25, 0.27)
AS_IT_IS = AugmentationConfig(min_scale=1.0, jitter=0.0)


def settings(**changes: Any) -> dict[str, Any]:
    own = {"size": 32, "mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    return {**own, **changes}


def smooth(height: int, width: int) -> np.ndarray:
    """A photo without noise, whose left, right, top and bottom differ."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.sin(x / width * 5), np.cos(y / height * 4), np.sin((x + 2 * y) / (width + height) * 6)
    return np.stack([127 + 120 * w for w in waves], axis=2).astype(np.uint8)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("mode", ["shortest", "squash"])
@pytest.mark.parametrize("shape", [(32, 32), (64, 64), (48, 80), (81, 47), (20, 20), (33, 90)])
def test_an_unchanged_view_is_the_evaluations(shape: tuple[int, int], mode: str, interpolation: str) -> None:
    config = settings(resize_mode=mode, interpolation=interpolation)
    evaluation = OnArrays(image_transform_v2(PreprocessCfg(**config), is_train=False))
    photo = smooth(*shape)
    found = Augmentation.of(config, AS_IT_IS)(photo, np.random.default_rng(0))
    expected = evaluation(photo)
    assert found.dtype == torch.float32
    if shape == (32, 32):
        assert torch.equal(found, expected)
    elif mode == "squash" or shape[0] == shape[1]:
        torch.testing.assert_close(found, expected, rtol=0, atol=1.01 / 255 / min(STD))  # a grey level
    else:  # the evaluation rounds to whole pixels between resizing and cutting
        assert float((found - expected).abs().mean()) < 4 / 255 / min(STD)
    assert torch.equal(Prepared(evaluation)(photo, 0), expected)


def test_sizes_as_lists_are_squares() -> None:
    assert Augmentation.of(settings(size=[32, 32]), AS_IT_IS).size == 32
    assert Augmentation.of(settings(size=48), AS_IT_IS).size == 48


@pytest.mark.parametrize("changes", [{"size": [32, 48]}, {"resize_mode": "longest"}])
def test_other_preprocessing_is_a_skip(changes: dict[str, Any]) -> None:
    with pytest.raises(SkipMethod, match="cannot be trained on"):
        Augmentation.of(settings(**changes), AS_IT_IS)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(("width", "height"), [(100, 60), (60, 100), (64, 64)])
def test_cuts_stay_inside_and_are_not_all_alike(width: int, height: int, whole: bool) -> None:
    mode = "squash" if whole else "shortest"
    view = Augmentation.of(settings(resize_mode=mode), AugmentationConfig(min_scale=0.5))
    rng = np.random.default_rng(0)
    boxes = np.array([view._box(width, height, rng) for _ in range(500)])
    left, top, right, bottom = boxes.T
    frame = (width, height) if whole else (min(width, height),) * 2
    assert left.min() >= 0
    assert top.min() >= 0
    assert right.max() <= width
    assert bottom.max() <= height
    scale = (right - left) / frame[0]
    np.testing.assert_allclose(scale, (bottom - top) / frame[1])
    assert 0.5 <= scale.min() < 0.53
    assert 0.97 < scale.max() <= 1
    assert left.std() > 1
    assert top.std() > 1


def test_never_mirrored() -> None:
    """Dark on the left, bright on the right, and so it stays in every view; so for top and bottom."""
    ramp = np.linspace(0, 255, 80).astype(np.uint8)
    across = np.broadcast_to(ramp[None, :, None], (80, 80, 3))
    view = Augmentation.of(settings(), AugmentationConfig(min_scale=0.3, jitter=0.3))
    for seed in range(200):
        for photo in (across, across.transpose(1, 0, 2)):
            pixels = view(np.ascontiguousarray(photo), np.random.default_rng(seed)).mean(dim=0)
            line = pixels.mean(dim=0) if photo is across else pixels.mean(dim=1)
            assert float(line[-8:].mean()) >= float(line[:8].mean())


def test_light_changes_as_much_as_asked() -> None:
    photo = smooth(32, 32)
    plain = Augmentation.of(settings(), AS_IT_IS)(photo, np.random.default_rng(0))
    low, high = (0 - torch.tensor(MEAN)) / torch.tensor(STD), (1 - torch.tensor(MEAN)) / torch.tensor(STD)
    means = []
    for jitter in (0.02, 0.1, 0.4):
        view = Augmentation.of(settings(), AugmentationConfig(jitter=jitter))
        views = torch.stack([view(photo, np.random.default_rng(s)) for s in range(100)])
        assert bool((views.amin(dim=(0, 2, 3)) >= low - 1e-5).all())
        assert bool((views.amax(dim=(0, 2, 3)) <= high + 1e-5).all())
        means.append(float((views - plain).abs().mean()))
    assert 0 < means[0] < means[1] < means[2]


def tensors(city: Dataset, workers: int, seed: int = 0, epoch: int = 0, **changes: Any) -> list[torch.Tensor]:
    photos = city.split("train")
    view = Augmentation.of(settings(), AugmentationConfig(**{"min_scale": 0.6, "jitter": 0.2, **changes}))
    batches = [np.arange(0, 7), np.array([11, 3, 40]), np.arange(20, 25)]
    return list(pixel_batches(photos, view, batches, seed, epoch, workers))


def test_views_are_of_seed_epoch_and_photo_alone(tiny_city: Dataset) -> None:
    alone = tensors(tiny_city, 0)
    assert [len(t) for t in alone] == [7, 3, 5]
    for workers in (1, 2):
        for a, b in zip(alone, tensors(tiny_city, workers), strict=True):
            assert torch.equal(a, b)
    assert torch.equal(alone[1][1], alone[0][3])  # the same photo in another batch
    assert not torch.equal(alone[0], tensors(tiny_city, 0, seed=1)[0])
    assert not torch.equal(alone[0], tensors(tiny_city, 0, epoch=1)[0])
    fixed = [tensors(tiny_city, 0, epoch=e, min_scale=1.0, jitter=0.0)[0] for e in (0, 1)]
    assert torch.equal(*fixed)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_photo_is_named(tmp_path: Path, workers: int) -> None:
    city = make_tiny_city(tmp_path / "city", n_addresses=2)
    (city.folder / CONTENTS).unlink()  # broken when it was imported
    photos = Dataset(city.folder).split("train")
    path = photos.path(2)
    path.write_bytes(path.read_bytes()[:100].ljust(photos.file_bytes(2), b"\0"))
    loaded = pixel_batches(photos, Augmentation.of(settings(), AS_IT_IS), [np.arange(2), np.arange(4)], 0, 0, workers)
    assert len(next(loaded)) == 2
    with pytest.raises(ImageError) as caught:
        next(loaded)
    assert str(path) in caught.value.problem
    Image.open(photos.path(1)).verify()  # the others are whole
