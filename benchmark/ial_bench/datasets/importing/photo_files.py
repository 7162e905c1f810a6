"""Photos to import: how their paths are spelled, where the files are, how large they are and what they hold.

Most systems write names with accents precomposed (Unicode's NFC), some decomposed (NFD); annotation, positions,
captions and the disk may use either. A name is looked up as it is written first, so that two files that differ in
nothing else stay two.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ial_bench.datasets.columns import chunks, mapped
from ial_bench.datasets.contents import Sums, sums_of
from ial_bench.errors import DataError
from ial_bench.machine import usable_cores
from ial_bench.progress import Reporter

_Value = TypeVar("_Value")

_UNUSUAL = re.compile(r"\\|//|^\./|/\.(?:/|$)|/$|^$")
_ABSOLUTE = re.compile(r"/|[A-Za-z]:/")
_SAMPLE = 200  # of the paths, to find the folder
_THREADS = 4  # to a core: a file system over a network answers slowly, but many at a time


def plain_path(text: str, root: Path | None = None) -> str:
    """A path with forward slashes, without ``./`` before it; an absolute one as seen from `root`, where it lies below.

    Args:
        text: of it.
        root: the folder that photos lie below.
    """
    path = text.strip().replace("\\", "/")
    while path.startswith("./"):
        path = path[2:].lstrip("/")
    if root is not None and is_absolute(path):
        for folder in {root.absolute().as_posix(), root.resolve().as_posix()}:
            if path.startswith(f"{folder}/"):
                return path[len(folder) + 1 :].lstrip("/")
    return path


def is_absolute(path: str) -> bool:
    """Whether it starts at a root, or at a drive."""
    return _ABSOLUTE.match(path) is not None


def posix_path(path: str) -> str:
    """`path` as `safe_relative` writes it."""
    if _UNUSUAL.search(path) is None:  # ten times faster than pathlib
        return path
    return str(PurePosixPath(path.replace("\\", "/")))


def composed(name: str) -> str:
    """`name` in the one spelling that its others share."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def rows_of(names: pa.ChunkedArray, known: pa.Array) -> npt.NDArray[np.int64]:
    """[n]: the row of each of `names` in `known`, as it is written or in the one other spelling; -1 for none.

    Args:
        names: text [n].
        known: text, each once.
    """
    found = pc.fill_null(pc.index_in(names, value_set=known), -1)
    rows: npt.NDArray[np.int64] = found.to_numpy().astype(np.int64)
    odd = np.flatnonzero((rows < 0) & ~pc.string_is_ascii(names).to_numpy())
    if len(odd):
        spelled = np.flatnonzero(~pc.string_is_ascii(known).to_numpy(zero_copy_only=False))
        only = _only_ones((composed(known[row].as_py()), row) for row in spelled.tolist())
        rows[odd] = [only.get(composed(name), -1) for name in names.take(pa.array(odd)).to_pylist()]
    return rows


def keyed_as(found: Mapping[str, _Value], known: Iterable[str]) -> dict[str, _Value]:
    """`found` under the keys of `known`, where it has one of them in another spelling alone."""
    there = set(known)
    strange = [key for key in found if key not in there and not key.isascii()]
    if not strange:
        return dict(found)
    only = _only_ones((composed(key), key) for key in there if not key.isascii())
    other = {key: only[composed(key)] for key in strange if composed(key) in only}
    free = _only_ones((name, key) for key, name in other.items() if name not in found)
    of_key = {key: name for name, key in free.items()}
    return {of_key.get(key, key): value for key, value in found.items()}


def _only_ones(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """By composed name what it is the name of; not those of several: which is meant?"""
    found: dict[str, Any] = {}
    several = set()
    for name, value in pairs:
        if name in found:
            several.add(name)
        found[name] = value
    return {name: value for name, value in found.items() if name not in several}


class FileNames:
    """Names of files below a folder, as the disk spells them. Folders are listed once."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = os.fspath(root)
        self._listed: dict[str, dict[str, str]] = {}

    def spelled(self, path: str) -> str:
        """`path` as it is on the disk, where that has one file of the name in another spelling; else as it is."""
        if path.isascii() or os.path.lexists(f"{self._root}/{path}"):
            return path
        folder = ""
        for part in path.split("/"):
            below = f"{self._root}/{folder}{part}"
            folder += f"{part if os.path.lexists(below) else self._names(folder).get(composed(part), part)}/"
        return folder[:-1]

    def has(self, path: str) -> bool:
        """Whether there is a file at `path`, in any spelling."""
        return os.path.isfile(f"{self._root}/{self.spelled(path)}")  # noqa: PTH113 - Path.is_file raises at long names

    def _names(self, folder: str) -> dict[str, str]:
        if folder not in self._listed:
            try:
                names = os.listdir(f"{self._root}/{folder}")  # noqa: PTH208 - names alone, as the disk has them
            except OSError:
                names = []  # nothing is found there: what was looked for is reported as missing
            self._listed[folder] = _only_ones((composed(name), name) for name in names)
        return self._listed[folder]


@dataclass(frozen=True)
class PhotoFolder:
    """The folder that photos of an annotation lie in, and how its paths lead there.

    Attributes:
        root: the folder that files lie below.
        dropped: a first folder of paths that is not there, while what lies in it is, such as ``images`` of Pitts-250k,
            whose archive has ``000`` and so on at the top; empty for none.
    """

    root: Path
    dropped: str = ""

    def file(self, path: str) -> str:
        """Where the photo at `path` of the annotation lies below `root`."""
        first, slash, rest = path.partition("/")
        return rest if slash and first == self.dropped else path

    def files(self, paths: pa.ChunkedArray) -> pa.ChunkedArray:
        """The same of many."""
        return mapped(paths, self.file) if self.dropped else paths


def find_photo_folder(folder: Path, paths: pa.ChunkedArray) -> PhotoFolder:
    """How `paths` lie below `folder`, or below its parent where they repeat its name; by some of them."""
    sample = paths.take(pa.array(range(0, len(paths), max(1, len(paths) // _SAMPLE)), pa.int64())).to_pylist()
    roots = [folder]
    above = composed(folder.resolve().name)
    if any(composed(path).startswith(f"{above}/") for path in paths.slice(0, 1000).to_pylist()):
        roots.append(folder.resolve().parent)
    disks = {root: FileNames(root) for root in roots}
    found = [PhotoFolder(root, _missing_folder(disk, sample)) for root, disk in disks.items()]

    def fit(photos: PhotoFolder) -> tuple[int, bool]:
        return sum(disks[photos.root].has(photos.file(path)) for path in sample), not photos.dropped

    return max(found, key=fit)


def _missing_folder(disk: FileNames, sample: list[str]) -> str:
    """The first folder of paths that is not below the root, while most of what lies in it is; empty for none."""
    groups: dict[str, list[str]] = defaultdict(list)
    for path in sample:
        first, slash, rest = path.partition("/")
        if slash:
            groups[first].append(rest)
    hits = {
        first: sum(disk.has(rest) for rest in rests)
        for first, rests in groups.items()
        if not any(disk.has(f"{first}/{rest}") for rest in rests)
        and groups.keys().isdisjoint(rest.partition("/")[0] for rest in rests)  # else two paths could be one file
    }
    best = max(hits, key=hits.__getitem__, default="")
    return best if hits.get(best) else ""


def measure(root: Path, paths: pa.ChunkedArray, reporter: Reporter) -> tuple[npt.NDArray[np.int64], dict[int, str]]:
    """Sizes of files, by all cores.

    Args:
        root: the folder that `paths` lie below.
        paths: [n].
        reporter: shows progress.

    Returns:
        bytes [n], 0 where a file cannot be used; and by row, what is wrong with it.
    """
    sizes = np.zeros(len(paths), np.int64)
    wrong: dict[int, str] = {}
    threads, done = _THREADS * usable_cores(), 0
    with (
        reporter.track(len(paths), "look for images", "photos") as advance,
        ThreadPoolExecutor(threads) as pool,
    ):
        for chunk in chunks(paths):
            step = -(-len(chunk) // threads)
            parts = [chunk[i : i + step] for i in range(0, len(chunk), step)]
            for found, faults in pool.map(lambda part: _measure(root, part), parts):
                sizes[done : done + len(found)] = found
                wrong |= {done + i: fault for i, fault in faults.items()}
                done += len(found)
                advance(len(found))
    return sizes, wrong


def _measure(root: Path, paths: Sequence[str]) -> tuple[npt.NDArray[np.int64], dict[int, str]]:
    sizes = np.zeros(len(paths), np.int64)
    wrong: dict[int, str] = {}
    for i, path in enumerate(paths):
        try:
            status = os.stat(f"{root}/{path}")  # noqa: PTH116 - a Path for each would cost more than the question
        except OSError as error:
            wrong[i] = f"image missing: {root}/{path} ({error.strerror})"
            continue
        if not stat.S_ISREG(status.st_mode):
            wrong[i] = f"image is no file: {root}/{path}"
        elif not status.st_size:
            wrong[i] = f"image is empty: {root}/{path}"
        else:
            sizes[i] = status.st_size
    return sizes, wrong


def checksums(root: Path, paths: pa.ChunkedArray, sizes: npt.NDArray[np.int64], reporter: Reporter) -> Sums:
    """SHA-256 of files, by all cores.

    Args:
        root: the folder that `paths` lie below.
        paths: [n].
        sizes: int64 [n], of the files as they were measured.
        reporter: shows progress.

    Raises:
        DataError: a file cannot be read, or has another size now.
    """

    def read(part: slice) -> Iterator[bytes]:
        some = paths.slice(part.start, part.stop - part.start).to_pylist()
        for path, size in zip(some, sizes[part].tolist(), strict=True):
            try:
                data = Path(f"{root}/{path}").read_bytes()
            except OSError as error:
                raise DataError(
                    f"cannot read {root}/{path}: {error.strerror}",
                    "mend or remove that file; with --no-contents photos are not read",
                ) from error
            if len(data) != size:
                raise DataError(
                    f"{root}/{path} has changed just now", "give the same command when nothing writes there"
                )
            yield data

    with reporter.track(len(paths), "read photos", "photos") as advance:
        return sums_of(len(paths), read, _THREADS * usable_cores(), advance)
