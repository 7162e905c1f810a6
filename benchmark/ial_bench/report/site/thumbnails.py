"""Small copies of the photos of queries, made from the dataset's own folder alone.

Their files are named by number, never by the photo's path, and hold pixels only: no position that a camera noted.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt

from ial_bench.datasets.photos import Photos
from ial_bench.errors import BenchError
from ial_bench.files import write_bytes
from ial_bench.folders import inside
from ial_bench.images import RGB
from ial_bench.progress import Reporter

LONGER_SIDE = 320  # pixels
FOLDER = "photos"
_QUALITY = 82
_A_FOLDER = 1_000  # files
_AT_ONCE = 256


def thumbnail_name(key: str, i: int) -> str:
    """Where the thumbnail of query i lies, below the dataset's folder in the report."""
    return f"{FOLDER}/{key}/{i // _A_FOLDER}/{i}.jpg"


def thumbnail(photo: RGB) -> bytes:
    """A photo as a JPEG of `LONGER_SIDE` pixels at most; smaller ones keep their size."""
    from PIL import Image

    image = Image.fromarray(photo)
    image.thumbnail((LONGER_SIDE, LONGER_SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_QUALITY, optimize=True)
    return out.getvalue()


def chosen(n: int, most: int | None) -> npt.NDArray[np.int64]:
    """The queries that get a thumbnail: all, or `most` spread evenly."""
    if most is None or n <= most:
        return np.arange(n)
    return np.unique(np.linspace(0, n - 1, most).astype(np.int64)) if most else np.zeros(0, np.int64)


class Thumbnails:
    """Thumbnails of one dataset's queries in the report.

    Args:
        folder: of the dataset in the report.
        key: of the ground truth: names the version of the photos.
        photos: of the queries, in the order of the ground truth.
    """

    def __init__(self, folder: Path, key: str, photos: Photos) -> None:
        self.folder, self.key, self.photos = folder, key, photos
        self._locks = [Lock() for _ in range(os.cpu_count() or 1)]

    def path(self, i: int) -> Path:
        """Where the thumbnail of query i lies, or will.

        Raises:
            StorageError: a link is on the way.
        """
        return inside(self.folder, thumbnail_name(self.key, i))

    def make(self, i: int) -> Path:
        """The thumbnail of query i, made unless it is there, whichever thread asks.

        Raises:
            DataError: the photo's path leads out of the images folder.
            ImageError: the photo is missing or damaged.
            StorageError: a link is on the way, or it cannot be written.
        """
        path = self.path(i)
        # Whoever asks for one that is being made waits for it; and no more photos are in memory than there are locks.
        with self._locks[i % len(self._locks)]:
            if not path.is_file():
                write_bytes(path, thumbnail(self.photos.image(i)))
        return path

    def close(self) -> None:
        """Make no more; those in work are finished."""
        for lock in self._locks:
            lock.acquire()

    def make_all(self, rows: npt.NDArray[np.int64], report: Reporter, name: str) -> list[str]:
        """Make those of `rows`; what is said of the photos that have none."""
        bad: list[str] = []
        with (
            report.track(len(rows), f"{name}: thumbnails", "photos") as advance,
            ThreadPoolExecutor(thread_name_prefix="thumbnails") as pool,
        ):
            for start in range(0, len(rows), _AT_ONCE):
                part = rows[start : start + _AT_ONCE].tolist()
                for problem in pool.map(self._try, part):
                    bad += [problem] if problem else []
                advance(len(part))
        return bad

    def there(self) -> Iterator[int]:
        """The queries that have one."""
        for path in (self.folder / FOLDER / self.key).glob("*/*.jpg"):
            number = int(path.stem) if path.stem.isdecimal() and path.stem.isascii() else len(self.photos)
            if number < len(self.photos) and path == self.folder / thumbnail_name(self.key, number):
                yield number

    def _try(self, i: int) -> str:
        try:
            self.make(i)
        except BenchError as error:
            return error.problem
        return ""
