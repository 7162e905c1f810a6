"""Where the photos of a dataset to be made lie, how large their files are, and what is in them."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ial_bench.cores import usable_cores
from ial_bench.datasets.columns import chunks, mapped
from ial_bench.datasets.contents import Sums, sums_of
from ial_bench.datasets.spellings import FileNames, composed
from ial_bench.errors import DataError
from ial_bench.method import Reporter

_SAMPLE = 200  # of the paths, to find the folder
_THREADS = 4  # to a core: a file system over a network answers slowly, but many at a time


@dataclass(frozen=True)
class Layout:
    """From paths in an annotation to files.

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


def find_layout(folder: Path, paths: pa.ChunkedArray) -> Layout:
    """How `paths` lie below `folder`, or below its parent where they repeat its name; told by some of them."""
    sample = paths.take(pa.array(range(0, len(paths), max(1, len(paths) // _SAMPLE)), pa.int64())).to_pylist()
    roots = [folder]
    above = composed(folder.resolve().name)
    if any(composed(path).startswith(f"{above}/") for path in paths.slice(0, 1000).to_pylist()):
        roots.append(folder.resolve().parent)
    disks = {root: FileNames(root) for root in roots}
    layouts = [Layout(root, _missing_folder(disk, sample)) for root, disk in disks.items()]

    def fit(layout: Layout) -> tuple[int, bool]:
        return sum(disks[layout.root].has(layout.file(path)) for path in sample), not layout.dropped

    return max(layouts, key=fit)


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
