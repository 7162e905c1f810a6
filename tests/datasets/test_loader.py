"""Photos as tensors in batches: threads and processes give what a plain loop gives, in its order."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.loader import photo_tensors
from ial_bench.errors import ImageError
from ial_bench.images import RGB
from ial_bench.testing import make_tiny_city

BATCHES = [[3, 1, 2], [0], [5, 5, 4, 7], [6, 2], [1, 0]]


@dataclass(frozen=True)
class Marked:
    """A photo's mean colour, and its row."""

    def __call__(self, photo: RGB, row: int) -> torch.Tensor:
        return torch.tensor([*photo.mean(axis=(0, 1)), row], dtype=torch.float64)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_come_in_order(tiny_city: Dataset, workers: int) -> None:
    photos = tiny_city.split("train")
    expected = [torch.stack([Marked()(photos.image(i), i) for i in batch]) for batch in BATCHES]
    found = list(photo_tensors(photos, Marked(), BATCHES, workers))
    assert [f.shape for f in found] == [e.shape for e in expected]
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_photo_that_cannot_be_read_is_named(tmp_path: Path, workers: int) -> None:
    photos = make_tiny_city(tmp_path / "city").split("train")
    path = photos.path(4)
    path.write_bytes(path.read_bytes()[:-20])
    loaded = photo_tensors(photos, Marked(), BATCHES, workers)
    next(loaded)
    next(loaded)
    with pytest.raises(ImageError, match=path.name):
        next(loaded)


def test_threads_end_with_the_loop_that_is_left(tiny_city: Dataset) -> None:
    before = threading.active_count()
    loaded = photo_tensors(tiny_city.split("train"), Marked(), BATCHES * 20, 2)
    next(loaded)
    assert threading.active_count() > before
    loaded.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_no_more_is_read_ahead_than_needed(tiny_city: Dataset) -> None:
    seen: list[int] = []

    def make(photo: RGB, row: int) -> torch.Tensor:
        seen.append(row)
        return torch.from_numpy(np.asarray(photo, np.float32))

    loaded = photo_tensors(tiny_city.split("train"), make, [[i % 8] for i in range(100)], 2)
    next(loaded)
    loaded.close()  # type: ignore[attr-defined]
    assert len(seen) <= 4
