"""The feature cache: right features, computed once, never believed when damaged."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ial_bench.datasets.contents import CONTENTS
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.photos import Photos
from ial_bench.encoders.load import load_encoder
from ial_bench.engine.features import FeatureStore
from ial_bench.errors import DataError, ImageError, StorageError
from ial_bench.progress import NoReport
from ial_bench.testing import CHECK_BACKBONE, make_tiny_city


def store(cache: Path, batch_size: int = 4, workers: int = 0, chunk_rows: int = 8) -> FeatureStore:
    return FeatureStore(cache, "cpu", batch_size, workers, NoReport(), chunk_rows)


def features_file(cache: Path) -> Path:
    (found,) = cache.glob("features/*/*/features.f32")
    return found


@pytest.fixture
def photos(tiny_city: Dataset) -> Photos:
    return tiny_city.split("train", "val")  # 60 photos


def test_features_are_those_of_a_bare_loop(photos: Photos, tmp_path: Path) -> None:
    found = store(tmp_path).photos(CHECK_BACKBONE, photos)
    encoder = load_encoder(CHECK_BACKBONE, "cpu")
    for i in (0, 7, 31, len(photos) - 1):
        with Image.open(photos.path(i)) as image:  # not our decoder
            pixels = encoder.preprocess(np.asarray(image.convert("RGB")))
        np.testing.assert_allclose(found[i], encoder.encode_images(pixels[None])[0].numpy(), rtol=1e-4, atol=1e-5)


def test_worker_processes_change_nothing(photos: Photos, tmp_path: Path) -> None:
    alone = store(tmp_path / "a").photos(CHECK_BACKBONE, photos)
    helped = store(tmp_path / "b", workers=2).photos(CHECK_BACKBONE, photos)
    np.testing.assert_array_equal(alone, helped)


def test_photos_and_preprocessing_reach_spawned_workers(photos: Photos) -> None:
    """Where processes are not forked (macOS, Python 3.14), all of it is pickled."""
    for backbone in (CHECK_BACKBONE, "timm:test_vit/random-init"):
        preprocess = load_encoder(backbone, "cpu").preprocess
        sent, preprocess_sent = pickle.loads(pickle.dumps((photos, preprocess)))  # noqa: S301
        assert torch.equal(preprocess_sent(sent.image(2)), preprocess(photos.image(2)))


def test_every_photo_is_encoded_once(photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = Photos.image

    def counted(self: Photos, i: int) -> Any:
        read.append(i)
        return original(self, i)

    monkeypatch.setattr(Photos, "image", counted)
    first = store(tmp_path).photos(CHECK_BACKBONE, photos)
    assert sorted(read) == list(range(len(photos)))
    again = store(tmp_path).photos(CHECK_BACKBONE, photos)
    assert len(read) == len(photos)
    np.testing.assert_array_equal(first, again)


def test_other_photos_and_parts_do_not_meet(photos: Photos, tiny_city: Dataset, tmp_path: Path) -> None:
    cache = store(tmp_path)
    whole = cache.photos(CHECK_BACKBONE, photos)
    part = cache.photos(CHECK_BACKBONE, photos.part(slice(0, 5)))
    assert len(part) == 5
    np.testing.assert_allclose(part, whole[:5], rtol=1e-5, atol=1e-6)
    assert cache.photos(CHECK_BACKBONE, tiny_city.split("query")).shape != whole.shape
    assert len(list(tmp_path.glob("features/*/*"))) == 3


@pytest.mark.parametrize("damage", ["flipped byte", "cut data", "torn mark", "lost mark", "no data"])
def test_damage_is_found_and_mended(photos: Photos, tmp_path: Path, damage: str) -> None:
    store(tmp_path).photos(CHECK_BACKBONE, photos)
    data = features_file(tmp_path)
    whole = data.read_bytes()
    marks = data.with_name("marks")
    lines = marks.read_bytes().splitlines(keepends=True)
    if damage == "flipped byte":
        data.write_bytes(whole[:300] + bytes([whole[300] ^ 1]) + whole[301:])
    elif damage == "cut data":
        data.write_bytes(whole[: len(whole) // 2])
    elif damage == "torn mark":
        marks.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    elif damage == "lost mark":
        marks.write_bytes(b"".join(lines[:2]))
    else:
        data.unlink()
    extraction = store(tmp_path).extract(CHECK_BACKBONE, photos)
    assert extraction.seconds_now > 0
    assert data.read_bytes() == whole
    assert store(tmp_path).extract(CHECK_BACKBONE, photos).seconds_now == 0


def test_nonsense_in_the_marks_is_an_error(photos: Photos, tmp_path: Path) -> None:
    store(tmp_path).photos(CHECK_BACKBONE, photos)
    features_file(tmp_path).with_name("marks").write_bytes(b"what is this\n")
    with pytest.raises(DataError, match="marks is damaged"):
        store(tmp_path).photos(CHECK_BACKBONE, photos)


def test_a_full_disk_keeps_what_is_finished(photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = os.pwrite, []

    def full(handle: int, block: Any, offset: int) -> int:
        calls.append(offset)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(handle, block, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(StorageError, match="No space left") as caught:
            store(tmp_path).photos(CHECK_BACKBONE, photos)
    assert "free some space" in str(caught.value)
    assert len(features_file(tmp_path).with_name("marks").read_bytes().splitlines()) == 3
    resumed = store(tmp_path)
    found = resumed.photos(CHECK_BACKBONE, photos)
    np.testing.assert_array_equal(found, store(tmp_path / "other").photos(CHECK_BACKBONE, photos))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_photo_is_named(tmp_path: Path, workers: int) -> None:
    city = make_tiny_city(tmp_path / "city")
    (city.folder / CONTENTS).unlink()  # broken when it was imported
    photos = Dataset(city.folder).split("train")
    victim = photos.path(9)
    victim.write_bytes(victim.read_bytes()[:-200] + bytes(200))
    with pytest.raises(ImageError) as caught:
        store(tmp_path / "cache", workers=workers).photos(CHECK_BACKBONE, photos)
    assert str(victim) in str(caught.value)
    assert "bench data verify" in str(caught.value)


def test_a_photo_changed_since_the_import_is_refused(tmp_path: Path) -> None:
    city = make_tiny_city(tmp_path / "city")
    photos = city.split("train")
    shutil.copy(photos.path(0), photos.path(1))
    with photos.path(1).open("ab") as file:
        file.write(b"more")
    with pytest.raises(ImageError, match="when the dataset was made"):
        store(tmp_path / "cache").photos(CHECK_BACKBONE, photos)


def test_batches_are_looked_up_or_computed_alike(tiny_city: Dataset, tmp_path: Path) -> None:
    queries = tiny_city.split("query")
    cache = store(tmp_path)
    computed = cache.batch(CHECK_BACKBONE, queries.batch(slice(3, 9)))
    cache.extract(CHECK_BACKBONE, queries)
    looked_up = cache.batch(CHECK_BACKBONE, queries.batch(slice(3, 9)))
    np.testing.assert_allclose(computed, looked_up, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(looked_up, cache.photos(CHECK_BACKBONE, queries)[3:9])


def test_no_photos_have_no_features(tiny_city: Dataset, tmp_path: Path) -> None:
    none = tiny_city.split("database")
    assert len(none) == 0
    assert store(tmp_path).photos(CHECK_BACKBONE, none).shape == (0, 32)


def test_the_loader_leaves_torch_alone(photos: Photos, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    store(tmp_path).encoder(CHECK_BACKBONE)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", ["lock", "marks", "features.f32"])
def test_a_shared_cache_is_not_written_through_links(photos: Photos, tmp_path: Path, name: str) -> None:
    store(tmp_path / "cache").extract(CHECK_BACKBONE, photos)
    file = features_file(tmp_path / "cache").with_name(name)
    file.unlink()
    (tmp_path / "mine").write_text("mine")
    file.symlink_to(tmp_path / "mine")
    with pytest.raises(StorageError, match="is a link"):
        store(tmp_path / "cache").extract(CHECK_BACKBONE, photos)
    assert (tmp_path / "mine").read_text() == "mine"


def test_folders_of_the_cache_may_be_links(photos: Photos, tmp_path: Path) -> None:
    """To another disk, say."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "features").symlink_to(tmp_path / "disk")
    found = store(tmp_path / "cache").photos(CHECK_BACKBONE, photos)
    np.testing.assert_array_equal(found, store(tmp_path / "other").photos(CHECK_BACKBONE, photos))
    assert len(list((tmp_path / "disk").rglob("features.f32"))) == 1
