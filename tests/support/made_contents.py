"""Photos that are replaced behind a dataset's back, and what their files hash to by the standard library alone."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from ial_bench.datasets.contents import CONTENTS
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.photos import Photos
from ial_bench.datasets.table import PHOTOS


def hashed(data: Dataset) -> list[bytes]:
    """SHA-256 of each photo's file, in the order of ``photos.parquet``."""
    if data.shards is None:
        paths = pq.read_table(data.folder / PHOTOS)["path"].to_pylist()
        return [hashlib.sha256((data.images_folder / path).read_bytes()).digest() for path in paths]
    found = {}
    for shard in data.shards.paths:
        with tarfile.open(shard) as tar:
            for member in tar:
                key, suffix = member.name.split(".")
                file = tar.extractfile(member)
                assert file is not None
                if suffix != "json":
                    found[int(key)] = hashlib.sha256(file.read()).digest()
    return [found[row] for row in range(len(found))]


def stored(data: Dataset) -> list[bytes]:
    """What ``contents.parquet`` tells of each photo."""
    return pq.read_table(data.folder / CONTENTS)["sha256"].to_pylist()  # type: ignore[no-any-return]


def without_contents(data: Dataset, folder: Path) -> Dataset:
    """A copy as an earlier release would have made it."""
    shutil.copytree(data.folder, folder)
    (folder / CONTENTS).unlink()
    return Dataset(folder)


def replace_photo(photos: Photos, i: int) -> None:
    """Put another photo in the place of photo i, one that can be decoded and has its size."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((32, 32, 3), 77, np.uint8)).save(buffer, "PNG")
    size = photos.file_bytes(i)
    assert buffer.tell() <= size
    photos.path(i).write_bytes(buffer.getvalue().ljust(size, b"\0"))
