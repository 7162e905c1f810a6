"""Photos as tensors in batches: threads and processes give what a plain loop gives, in its order."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from ial_bench import images
from ial_bench.datasets import loader
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.loader import DecodedPhotos, Prepared, feature_batches, image_tensors, photo_tensors
from ial_bench.encoders.load import load_encoder
from ial_bench.errors import ImageError, WorkerError
from ial_bench.images import RGB
from ial_bench.testing import CHECK_BACKBONE, make_tiny_city
from support.worker_tasks import Killed, Mapped, Marked, gone, shares_memory

BATCHES = [[3, 1, 2], [0], [5, 5, 4, 7], [6, 2], [1, 0]]


@pytest.mark.parametrize("processes", [False, True])
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_come_in_order(tiny_city: Dataset, workers: int, processes: bool) -> None:
    photos = tiny_city.split("train")
    expected = [torch.stack([Marked()(photos.image(i), i) for i in batch]) for batch in BATCHES]
    found = list(photo_tensors(photos, Marked(), BATCHES, workers, processes=processes))
    assert [f.shape for f in found] == [e.shape for e in expected]
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("workers", "processes"), [(0, False), (3, False), (2, True)])
def test_photos_that_are_kept_are_those_that_are_decoded(
    tiny_city: Dataset, tmp_path: Path, workers: int, processes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from another part of the dataset, whose rows are others."""
    photos, kept = tiny_city.split("train"), DecodedPhotos(tmp_path)
    plain = list(photo_tensors(photos, Marked(), BATCHES, 0))
    for _ in range(2):
        found = photo_tensors(photos, Marked(), BATCHES, workers, processes=processes, kept=kept)
        assert all(torch.equal(a, b) for a, b in zip(found, plain, strict=True))
    assert len(kept._places) == (0 if processes else 8)
    assert list(tmp_path.iterdir()) == []
    some = photos.part(np.array([7, 2]))
    expected = [some.image(i) for i in (0, 1)]
    if not processes:
        monkeypatch.setattr(images, "decode", None)
    for i in (0, 1):
        assert not kept.image(some, i).flags.writeable
        assert np.array_equal(kept.image(some, i), expected[i])


def test_no_more_photos_are_kept_than_fit(tiny_city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = tiny_city.split("train")
    size = photos.image(0).nbytes
    kept, none = DecodedPhotos(tmp_path, 3 * size + 1), DecodedPhotos(None)
    few = DecodedPhotos(tmp_path)
    monkeypatch.setattr(loader, "_PHOTOS", 2)
    for i in range(6):
        for photo in (kept, none, few):
            assert np.array_equal(photo.image(photos, i), photos.image(i))
        monkeypatch.setattr(loader, "_PHOTOS", 100 if i < 1 else 4)
    assert (len(kept._places), len(none._places), len(few._places)) == (3, 0, 4)
    full = DecodedPhotos(tmp_path)
    full._file.close()
    full._file = FullDisk()
    assert np.array_equal(full.image(photos, 1), photos.image(1))
    assert np.array_equal(full.image(photos, 1), photos.image(1))


class FullDisk:
    """A file that takes nothing."""

    def seek(self, _: int) -> None:
        """As it is."""

    def write(self, _: bytes) -> int:
        raise OSError(28, "No space left on device")


def test_processes_make_what_threads_make_of_a_real_preprocessing(tiny_city: Dataset) -> None:
    photos, encoder = tiny_city.split("train"), load_encoder(CHECK_BACKBONE, "cpu")
    made = [
        list(photo_tensors(photos, Prepared(encoder.preprocess), BATCHES, workers, processes=processes))
        for workers, processes in ((0, False), (2, False), (2, True))
    ]
    for straight, threads, worked in zip(*made, strict=True):
        assert straight.dtype == worked.dtype == torch.float32
        assert torch.equal(straight, threads)
        assert torch.equal(straight, worked)


@pytest.mark.parametrize(("workers", "processes"), [(0, False), (2, False), (2, True)])
def test_a_photo_that_cannot_be_read_is_named(tmp_path: Path, workers: int, processes: bool) -> None:
    photos = make_tiny_city(tmp_path / "city").split("train")
    path = photos.path(4)
    path.write_bytes(path.read_bytes()[:-20])
    loaded = photo_tensors(photos, Marked(), BATCHES, workers, processes=processes)
    next(loaded)
    next(loaded)
    with pytest.raises(ImageError, match=path.name):
        next(loaded)


def test_a_worker_that_is_killed_is_missed_within_seconds(tiny_city: Dataset) -> None:
    loaded = photo_tensors(tiny_city.split("train"), Killed(6), BATCHES * 20, 2, processes=True)
    pids = set(next(loaded).flatten().tolist())
    started = time.monotonic()
    with pytest.raises(WorkerError, match="for want of memory perhaps") as caught:
        list(loaded)
    assert time.monotonic() - started < 5
    assert "fewer --workers" in (caught.value.fix or "")
    assert all(gone(pid) for pid in pids)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no such list of mapped files here")
def test_nothing_goes_through_shared_memory(tiny_city: Dataset) -> None:
    """Of which a container has 64 MB: four workers with a batch each of a model's photos are more."""
    assert not shares_memory()
    shared = torch.zeros(10).share_memory_()  # type: ignore[no-untyped-call]
    assert shares_memory()  # as torch would do it
    del shared
    loaded = photo_tensors(tiny_city.split("train"), Mapped(), [range(8)] * 4, 2, processes=True)
    for batch in loaded:
        assert not batch[:, 0, 0, 1].any()
        assert os.getpid() not in batch[:, 0, 0, 0].tolist()
        assert not shares_memory()


def test_processes_end_with_the_loop_that_is_left(tiny_city: Dataset) -> None:
    before = threading.active_count()
    loaded = photo_tensors(tiny_city.split("train"), Killed(-1), BATCHES * 20, 2, processes=True)
    pids = next(loaded).flatten().tolist()
    assert not any(gone(pid) for pid in pids)
    loaded.close()  # type: ignore[attr-defined]
    assert all(gone(pid) for pid in pids)
    assert threading.active_count() == before


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


def test_features_of_batches() -> None:
    x = np.arange(20, dtype=np.float32).reshape(10, 2)
    rows = [np.array([3, 1]), np.array([9, 9])]
    for found, expected in zip(feature_batches(x, rows), rows, strict=True):
        np.testing.assert_array_equal(found.numpy(), x[expected])


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_photos_that_a_method_is_asked_about_come_in_the_order_of_the_rows(tiny_city: Dataset, workers: int) -> None:
    photos, rows = tiny_city.split("train"), [4, 0, 4, 2]

    def preprocess(photo: RGB) -> torch.Tensor:
        return torch.from_numpy(photo.astype(np.float32)).permute(2, 0, 1)

    found = image_tensors(photos.batch(), rows, preprocess, workers)
    assert torch.equal(found, torch.stack([preprocess(photos.image(i)) for i in rows]))
