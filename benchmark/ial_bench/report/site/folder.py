"""The folder that the report is written to: which of its files are the report's, and small copies of query photos.

Thumbnails are made from the dataset's own folder alone. Their files are named by number, never by the photo's path, and
hold pixels only: no position that a camera stored.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt

from ial_bench.datasets.photos import Photos
from ial_bench.errors import BenchError, ConfigError, DataError
from ial_bench.files import check_writable, safe_relative, write_bytes
from ial_bench.folders import alone, inside, is_free
from ial_bench.images import RGB
from ial_bench.json_files import read_json, write_json
from ial_bench.progress import Reporter

MARK = "report.json"
_MADE_BY = "bench report"


class SiteFolder:
    """A folder of which the report owns the files it wrote, and no other.

    A folder with other things in it is refused, so that no one's files are overwritten. Files of the report that
    was there before and that are not written again are removed at the end. What a link leads to is never touched.
    Until it is closed, `MARK` says that the report is unfinished; the next one goes on from there.

    Args:
        path: new, empty, or a report, whole or not.

    Raises:
        ConfigError: it holds something else.
        StorageError: it cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: set[str] = set()
        check_folder(path)
        check_writable(path)
        self._earlier = _files_of(path / MARK)
        write_json(path / MARK, {"made_by": _MADE_BY, "state": "unfinished", "files": sorted(self._earlier)})

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file of the report, whole or not at all; `name` is below the folder, in POSIX form.

        Raises:
            StorageError: a link is on the way, or it cannot be written.
        """
        write_bytes(inside(self.path, name), content.encode() if isinstance(content, str) else content)
        self.keep(name)

    def keep(self, name: str) -> None:
        """Count a file that is there already as one of this report."""
        self._written.add(safe_relative(name))

    def close(self) -> None:
        """Remove what is left of the earlier report, and record the files of this one."""
        for name in sorted(self._earlier - self._written):
            _remove(self.path, name)
        write_json(self.path / MARK, {"made_by": _MADE_BY, "files": sorted(self._written)})


@contextlib.contextmanager
def site_folder(path: Path, say: Callable[[str], object]) -> Iterator[SiteFolder]:
    """The folder, for one report at a time, closed when the block ends well; `say` is called where it must wait.

    Raises:
        ConfigError: as for `SiteFolder`.
        StorageError: as for `SiteFolder`.
    """
    check_folder(path)  # before a lock file is written into someone else's folder
    with alone(path, say):
        folder = SiteFolder(path)
        yield folder
        folder.close()


def check_folder(path: Path) -> None:
    """Refuse a folder with other things in it than a report.

    Raises:
        ConfigError: it is one.
    """
    if not is_free(path) and not _is_report(path / MARK):
        raise ConfigError(f"{path} holds other things than a report", "name a new folder: bench report --out FOLDER")


def _remove(folder: Path, name: str) -> None:
    """Remove a file below `folder`, and the folder it leaves empty; what a link leads to stays."""
    try:
        file = inside(folder, name)
        if not stat.S_ISREG(file.lstat().st_mode):
            return
        file.unlink()
        file.parent.rmdir()
    except (BenchError, OSError):  # a link, gone already, or a folder that is not empty
        return


def _is_report(mark: Path) -> bool:
    try:
        found = read_json(mark)
    except DataError:
        return False
    return isinstance(found, dict) and found.get("made_by") == _MADE_BY


def _files_of(mark: Path) -> set[str]:
    """The files of the report that is there; names that lead out of the folder are ignored."""
    names = read_json(mark).get("files") if _is_report(mark) else None
    found = set()
    for name in names if isinstance(names, list) else []:
        with contextlib.suppress(DataError):
            found.add(safe_relative(str(name)))
    return found


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
        """Stop; thumbnails in work are finished first."""
        for lock in self._locks:
            lock.acquire()

    def make_all(self, rows: npt.NDArray[np.int64], report: Reporter, name: str) -> list[str]:
        """Make those of `rows`; returns the problems of photos that have none."""
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
