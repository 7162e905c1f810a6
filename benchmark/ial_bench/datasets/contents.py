"""Content digests: the SHA-256 of each photo's file, which shows that a photo was replaced.

    contents.parquet    one row a photo, in the order of photos.parquet; a dataset may have none

Sizes are in ``photos.parquet`` in any case, but a photo may be replaced by another of its size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ial_bench.errors import DataError
from ial_bench.files import atomic_path

CONTENTS = "contents.parquet"
_BYTES = 32
CONTENT_SCHEMA = pa.schema([pa.field("sha256", pa.binary(_BYTES), nullable=False)])

Sums: TypeAlias = npt.NDArray[np.uint8]
"""uint8 [n, 32]: SHA-256 of the files of n photos."""

_BLOCK = 256  # photos that a thread reads at a time


@dataclass(frozen=True)
class Contents:
    """The content digests of a dataset's photos.

    Attributes:
        sums: uint8 [n, 32], one row a photo.
    """

    sums: Sums

    def holds(self, row: int, data: bytes) -> bool:
        """Whether `data` are the file of photo `row`."""
        return bool(hashlib.sha256(data).digest() == self.sums[row].tobytes())

    def digest_of(self, rows: npt.NDArray[np.int64]) -> str:
        """SHA-256 over the digests of some photos, in their order."""
        return hashlib.sha256(self.sums[rows].tobytes()).hexdigest()

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the digests of all photos."""
        return hashlib.sha256(self.sums.tobytes()).hexdigest()


def differ(a: str | None, b: str | None) -> bool:
    """Whether two digests of contents are of different photos; an unknown one differs from none."""
    return a is not None and b is not None and a != b


def sums_of(
    n: int,
    read: Callable[[slice], Iterable[bytes]],
    workers: int = 1,
    advance: Callable[[int], object] = lambda _: None,
) -> Sums:
    """SHA-256 of the files of n photos.

    Args:
        n: how many.
        read: the files of some of them, in order; called by several threads.
        workers: threads; reading and hashing release the interpreter.
        advance: called with how many photos were just done.
    """
    sums = np.empty((n, _BYTES), np.uint8)

    def take(start: int) -> int:
        stop = min(start + _BLOCK, n)
        found = b"".join(hashlib.sha256(data).digest() for data in read(slice(start, stop)))
        sums[start:stop] = np.frombuffer(found, np.uint8).reshape(-1, _BYTES)
        return stop - start

    with ThreadPoolExecutor(max(1, workers)) as pool:
        for done in pool.map(take, range(0, n, _BLOCK)):
            advance(done)
    return sums


def write_contents(folder: Path, sums: Sums) -> None:
    """Write ``contents.parquet`` in a dataset folder, whole or not at all.

    Args:
        folder: of the dataset.
        sums: uint8 [n, 32], in the order of ``photos.parquet``.

    Raises:
        StorageError: the folder cannot be written to.
    """
    raw = pa.py_buffer(np.ascontiguousarray(sums))
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(_BYTES), len(sums), [None, raw])
    with atomic_path(folder / CONTENTS) as temporary:
        # Digests are noise: nothing to compress, no value twice, no range worth storing.
        pq.write_table(
            pa.table([column], schema=CONTENT_SCHEMA), temporary, compression="none", use_dictionary=False,
            write_statistics=False,
        )  # fmt: skip


def read_contents(folder: Path, n_photos: int) -> Contents | None:
    """The content digests in a dataset folder; None where it has none.

    Args:
        folder: of the dataset.
        n_photos: rows of its ``photos.parquet``.

    Raises:
        DataError: the file is damaged, of another type, or not of `n_photos` photos.
    """
    path = folder / CONTENTS
    if not path.exists():
        return None
    mend = f"`bench data contents {folder} --overwrite` takes them anew, once the photos are known to be the right ones"
    try:
        # As in dataset.py: pre_buffer is for stores that answer slowly.
        with pq.ParquetFile(path, memory_map=True, pre_buffer=False) as file:
            if file.schema_arrow.remove_metadata() != CONTENT_SCHEMA:
                wanted = ", ".join(f"{f.name}: {f.type}" for f in CONTENT_SCHEMA)
                raise DataError(f"{path} has not the column {wanted}, without gaps", mend)
            if file.metadata.num_rows != n_photos:
                raise DataError(
                    f"{path} tells of {file.metadata.num_rows:,} photos, photos.parquet of {n_photos:,}", mend
                )
            column = file.read()["sha256"].combine_chunks()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is damaged: {error}", mend) from error
    if not n_photos:
        return Contents(np.zeros((0, _BYTES), np.uint8))
    raw = np.frombuffer(column.buffers()[1], np.uint8, n_photos * _BYTES, column.offset * _BYTES)
    return Contents(raw.reshape(-1, _BYTES))
