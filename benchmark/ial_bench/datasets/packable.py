"""What may be packed into a shard: images, each a regular file below the dataset's own folder of images."""

from __future__ import annotations

import stat
from functools import lru_cache
from pathlib import Path, PurePath

from ial_bench import images
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.photos import Photos
from ial_bench.errors import DataError, ImageError


class Packable:
    """The photos of a dataset, as they are stored; what is no photo of it is refused.

    A dataset of somebody else's says where its photos lie, and a shard is made to be passed on: no other file of this
    machine is to get into one.

    Args:
        data: the dataset.
        photos: of it.

    Attributes:
        root: the folder of images.

    Raises:
        DataError: its folder of images is told by a path that climbs out of the dataset's.
    """

    def __init__(self, data: Dataset, photos: Photos) -> None:
        if ".." in PurePath(data.description.images).parts:
            raise DataError(
                f"the photos of {data.name} are said to lie in {data.description.images!r}, outside its folder",
                f"if they are yours: write the absolute path into {data.folder / 'dataset.toml'}",
            )
        self._photos = photos
        self.root = data.images_folder.resolve()
        self._below = lru_cache(maxsize=1024)(self._is_below)

    def read(self, i: int) -> bytes:
        """Photo i as it is stored.

        Raises:
            DataError: it, or the shard that it lies in, is a link out of the folder of images.
            ImageError: missing, changed since the dataset was made, not a regular file, or not an image.
        """
        self._check(self._photos.file(i))
        data = self._photos.read_bytes(i)
        images.identify(data, self._photos.where(i))
        return data

    def _check(self, file: Path) -> None:
        try:
            mode = file.lstat().st_mode
            out = not self._below(file.parent) or (stat.S_ISLNK(mode) and not self._is_below(file))
            mode = file.stat().st_mode
        except (OSError, RuntimeError):  # missing, or links in a circle: reading it tells
            return
        if out:
            raise DataError(
                f"{file} leads to {file.resolve()}, outside {self.root}: only photos of the folder itself are packed",
                "put the photo itself in the place of the link",
            )
        if not stat.S_ISREG(mode):
            raise ImageError(f"{file} is not a regular file", "replace it by the photo")

    def _is_below(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self.root)
