"""Photos in tar shards: where in which file each one lies, and how it is read.

``shards.parquet`` has a row for each of ``photos.parquet``, in its order. A photo is read in one go by its offset
and length. No tar file is parsed, so reading costs the same in any order, in threads and in processes.
"""

from __future__ import annotations

import os
import zlib
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ial_bench.datasets.columns import chunks, mapped, numbered
from ial_bench.errors import DataError, ImageError
from ial_bench.files import safe_relative
from ial_bench.parquet import open_table, read_columns, schema_of

SHARDS = "shards.parquet"
SHARD_SCHEMA = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),  # below the images folder; empty: the photo is a file there
        pa.field("member", pa.string(), nullable=False),  # its name in the shard
        pa.field("offset", pa.int64(), nullable=False),  # of its first byte in the shard
        pa.field("size", pa.int64(), nullable=False),  # bytes
        pa.field("crc32", pa.uint32(), nullable=False),  # of its bytes
        pa.field("path_crc32", pa.uint32(), nullable=False),  # of `path` in photos.parquet: whose row this is
        pa.field("shard_bytes", pa.int64(), nullable=False),  # size of the whole shard
    ]
)
_MOST_OPEN = 64  # shards; a city of terabytes has more of them than a process may open
_MEND = "export the dataset again (`bench data export`)"
_RESTORE = "run `bench data verify` on the dataset to list what is wrong, then restore the shard or export it again"


def path_crc32(path: str) -> int:
    """The checksum by which a row of ``shards.parquet`` is matched to a photo."""
    return zlib.crc32(path.encode())


class Shards:
    """The shards of a dataset, and its photos in them.

    Args:
        folder: of the dataset; has ``shards.parquet``.
        images_folder: shards lie below it.
        n_photos: rows of ``photos.parquet``.

    Attributes:
        paths: the shards.
        bytes: int64 [shards], size of each when it was written.
        shard: int64 [n_photos], the shard of each photo; -1 where it is a file of its own.
        offset: int64 [n_photos], where in the shard it begins.
        size: int64 [n_photos], its bytes.

    Raises:
        DataError: ``shards.parquet`` is damaged, of other photos, or names a shard outside the images folder.
    """

    def __init__(self, folder: Path, images_folder: Path, n_photos: int) -> None:
        self._index = folder / SHARDS
        table = read_index(folder, [name for name in SHARD_SCHEMA.names if name != "member"])
        if len(table) != n_photos:
            raise DataError(f"{self._index} tells of {len(table):,} photos, photos.parquet of {n_photos:,}", _MEND)
        codes, names = numbered(table["shard"])
        texts = names.to_pylist()
        self.offset, self.size = table["offset"].to_numpy(), table["size"].to_numpy()
        self._crc32, self._path_crc32 = table["crc32"].to_numpy(), table["path_crc32"].to_numpy()
        self.bytes = np.zeros(len(texts), np.int64)
        self.bytes[codes] = table["shard_bytes"].to_numpy()
        if (self.bytes[codes] != table["shard_bytes"].to_numpy()).any() or _least(self.offset, self.size) < 0:
            raise DataError(f"{self._index} is damaged: sizes contradict each other", _MEND)
        self.shard = codes
        if "" in texts:  # goes last, as -1
            own = texts.index("")
            self.shard = np.where(codes == own, -1, codes - (codes > own))
            self.bytes = np.delete(self.bytes, own)
            texts.remove("")
        try:
            self.paths = [images_folder / safe_relative(name) for name in texts]
        except DataError as error:
            raise DataError(f"{self._index}: {error.problem}", _MEND) from error
        self._file = lru_cache(_MOST_OPEN)(_File)

    def holds(self, row: int) -> bool:
        """Whether photo `row` lies in a shard."""
        return bool(self.shard[row] >= 0)

    def path(self, row: int) -> Path:
        """The shard that photo `row` lies in."""
        return self.paths[int(self.shard[row])]

    def where(self, row: int, path: str) -> str:
        """The place of photo `row`, whose path is `path`, in words."""
        return f"{path} in {self.path(row)}"

    def read(self, row: int, path: str) -> bytes:
        """The bytes of photo `row`, whose path is `path`.

        Raises:
            DataError: the row of ``shards.parquet`` is another photo's.
            ImageError: its shard is missing or cut off, or its bytes are not those that were written.
        """
        if path_crc32(path) != self._path_crc32[row]:
            raise DataError(f"row {row} of {self._index} is not of {path}: it was made of other photos", _MEND)
        shard, offset, size = self.path(row), int(self.offset[row]), int(self.size[row])
        try:
            data = self._file(shard).read(offset, size)
        except OSError as error:
            raise ImageError(f"cannot read {path} in shard {shard}: {error.strerror}", _RESTORE) from error
        if len(data) != size:
            raise ImageError(f"shard {shard} is cut off: it has no longer all of {path}", _RESTORE)
        if zlib.crc32(data) != self._crc32[row]:
            raise ImageError(f"{path} in shard {shard} has changed since the shard was written", _RESTORE)
        return data


class _File:
    """A shard open for reading. Closed when no longer used: a thread may still read one that the cache dropped."""

    def __init__(self, path: Path) -> None:
        self._handle = -1
        self._handle = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        self._bytes = os.fstat(self._handle).st_size

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`, or none where the shard ends earlier, so that a wrong size takes no memory."""
        # pread has no position that threads and forked processes would share.
        return os.pread(self._handle, size, offset) if offset + size <= self._bytes else b""

    def __del__(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)


def _least(*arrays: npt.NDArray[np.int64]) -> int:
    """The least number in any of `arrays`, 0 where they are empty."""
    return min((int(a.min()) for a in arrays if len(a)), default=0)


def read_index(folder: Path, columns: list[str] | None = None) -> pa.Table:
    """``shards.parquet`` of a dataset folder, or some of its columns.

    Raises:
        DataError: damaged, or of other columns.
    """
    path = folder / SHARDS
    try:
        with open_table(path, mapped=True) as file:
            if schema_of(file).remove_metadata() != SHARD_SCHEMA:
                wanted = ", ".join(f"{f.name}: {f.type}" for f in SHARD_SCHEMA)
                raise DataError(f"{path} has not the columns {wanted}", _MEND)
            table = read_columns(file, columns)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}", _MEND) from error
    if any(column.null_count for column in table.columns):
        raise DataError(f"{path} has values that are missing", _MEND)
    return table


def moved_index(index: pa.Table | None, below: str, paths: pa.ChunkedArray) -> pa.Table:
    """The rows of ``shards.parquet`` in a dataset that photos of another have become part of.

    Args:
        index: of the other dataset; None where its photos are files.
        below: its images folder, below that of the whole; ``.`` for the same.
        paths: its photos' paths in the whole.
    """
    crcs = (path_crc32(path) for chunk in chunks(paths) for path in chunk)
    columns: dict[str, Any] = {"path_crc32": np.fromiter(crcs, np.uint32, len(paths))}
    if index is None:
        columns |= {name: [""] * len(paths) for name in ("shard", "member")}
        columns |= {name: np.zeros(len(paths), np.int64) for name in ("offset", "size", "crc32", "shard_bytes")}
    else:
        columns = {**dict(zip(index.column_names, index.columns, strict=True)), **columns}
        columns["shard"] = mapped(index["shard"], lambda s: str(PurePosixPath(below, s)) if s else "")
    return pa.table({name: columns[name] for name in SHARD_SCHEMA.names}, schema=SHARD_SCHEMA)
