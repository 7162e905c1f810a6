"""A dataset as a folder with its photos in tar shards, in WebDataset's layout.

    shards/000000.tar   000000000.jpg, 000000000.json, 000000001.jpg, ...
    shards.parquet      where each photo lies in them
    the other tables    as they were

Members are named by the photo's row, so that no name of somebody else's gets into a shard. A shard is written whole
or not at all, has photos of one split, and the same bytes whenever it is written.
"""

from __future__ import annotations

import contextlib
import math
import re
import shutil
import tarfile
import zlib
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.photos import Photos
from ial_bench.datasets.shards import SHARD_SCHEMA, SHARDS, path_crc32
from ial_bench.datasets.streets import STREETS
from ial_bench.datasets.table import ADDRESSES, DESCRIPTION, PHOTOS, SPLITS, clear_dataset, refuse_dataset
from ial_bench.errors import ConfigError, DataError
from ial_bench.files import atomic_path, canonical_json, make_folder, read_json, storage_errors, write_json, write_text
from ial_bench.method import NoReport, Reporter

FOLDER = "shards"
DEFAULT_SHARD_BYTES = 10**9
_MARK, _LOCK = "export.json", ".export.lock"
_FORMAT = 1  # of what is written; a raise starts exports that were interrupted anew
_TOLD = ("photo_id", "split", "place_id", "address", "lat", "lon", "heading", "caption")
_SUFFIXES = frozenset({"bmp", "gif", "jpeg", "jpg", "png", "ppm", "tif", "tiff", "webp"})
_AT_ONCE = 32  # photos read ahead
_THREADS = 8
_BATCH = 4096  # rows of the photo table
_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True)
class ExportSummary:
    """What an export did.

    Attributes:
        folder: the new dataset folder.
        shards: by split, its first and last shard.
        n_shards: shards in all.
        n_kept: those of them that an interrupted export had left.
        total_bytes: size of all shards.
    """

    folder: Path
    shards: dict[str, tuple[str, str]]
    n_shards: int
    n_kept: int
    total_bytes: int


def export_webdataset(
    data: Dataset,
    out: Path,
    shard_bytes: int = DEFAULT_SHARD_BYTES,
    force: bool = False,
    reporter: Reporter | None = None,
) -> ExportSummary:
    """Write `data` to `out`, its photos in tar shards. Its digest stays; what was interrupted goes on.

    Args:
        data: what to export; its photos may lie in shards already.
        out: dataset folder to write.
        shard_bytes: most bytes of a shard; only a shard of a single photo has more.
        force: replace a dataset that is there.
        reporter: shows progress.

    Raises:
        ConfigError: `out` is a dataset already, or holds what is being exported, or another process writes there.
        DataError: `out` holds something else.
        ImageError: a photo is missing, or has changed since the dataset was made.
        StorageError: `out` cannot be written to.
    """
    from filelock import FileLock, Timeout

    reporter = reporter or NoReport()
    _refuse(data, out, force)
    _ = data.candidates  # refuses photos of an address that is none
    folder = make_folder(out / FOLDER)
    lock = out / _LOCK
    with storage_errors(lock):
        try:
            held = FileLock(lock).acquire(timeout=0)
        except Timeout as error:
            raise ConfigError(f"another process exports to {out}", "wait for it, or give another --out") from error
    with held:
        mark = {"format": _FORMAT, "of": data.digest, "photos": len(data), "shard_bytes": shard_bytes}
        if not (folder / _MARK).is_file() or read_json(folder / _MARK) != mark:
            _remove(_numbered(folder, "parquet"))  # without their part of the index, shards count as unfinished
            write_json(folder / _MARK, mark)
        clear_dataset(out)
        kept = _kept(folder)
        done = sum(kept)
        with reporter.track(len(data), f"export {data.name}", "photos") as advance:
            advance(done)
            with contextlib.closing(_samples(data, done)) as samples:
                k, sample = len(kept), next(samples, None)
                while sample is not None:
                    sample, rows = _write_shard(folder, k, sample, samples, shard_bytes)
                    advance(rows)
                    k += 1
        summary = _write_index(data, out, len(kept))
        _copy_tables(data, out, shard_bytes)
        _remove([*_numbered(folder, "parquet"), folder / _MARK, lock])
    return summary


def _refuse(data: Dataset, out: Path, force: bool) -> None:
    own = [data.folder, data.images_folder, *(data.shards.paths if data.shards else [])]
    if any(path.resolve().is_relative_to(out.resolve()) for path in own):
        raise ConfigError(f"{out} holds {data.name} itself", "give another --out")
    refuse_dataset(out, force)
    with storage_errors(out):
        there = {p.name for p in out.iterdir()} if out.exists() else set()
    if there - {_LOCK} and DESCRIPTION not in there and not (out / FOLDER / _MARK).is_file():
        empty = there <= {_LOCK, FOLDER} and not any((out / FOLDER).iterdir())
        if not empty:
            raise DataError(f"{out} is there and is no dataset; it is not overwritten", "give another --out")


def _kept(folder: Path) -> list[int]:
    """Photos of each shard that an earlier call of the same options finished; all other shards go."""
    kept: list[int] = []
    while found := _finished(folder, len(kept)):
        kept.append(found)
    keep = {name for k in range(len(kept)) for name in (_tar(k), _part(k))}
    _remove(p for p in [*_numbered(folder, "parquet"), *_numbered(folder, "tar")] if p.name not in keep)
    _remove(folder.glob(".[0-9]*.tmp"))  # left by a killed process
    return kept


def _finished(folder: Path, k: int) -> int:
    """Photos of shard k; 0 if it is not there, or not as it was written."""
    tar, part = folder / _tar(k), folder / _part(k)
    if not (tar.is_file() and part.is_file()):
        return 0
    try:
        sizes = pq.read_table(part, columns=["shard_bytes"])["shard_bytes"].to_pylist()
    except (pa.ArrowException, OSError):
        return 0  # written anew
    return len(sizes) if set(sizes) == {tar.stat().st_size} else 0


@dataclass(frozen=True)
class _Sample:
    row: int
    split: str
    path: str
    photo: bytes
    told: bytes

    @property
    def tar_bytes(self) -> int:
        """What it takes of a shard."""
        return sum(_BLOCK + _padded(len(content), _BLOCK) for content in (self.photo, self.told))


def _samples(data: Dataset, start: int) -> Generator[_Sample, None, None]:
    """The photos from row `start` on, with what is told of each; some are read ahead."""
    photos = Photos(data, np.arange(len(data)))
    texts = [address.text for address in data.addresses]
    first = 0
    with (
        pq.ParquetFile(data.folder / PHOTOS, memory_map=True, pre_buffer=False) as file,
        ThreadPoolExecutor(_THREADS, "export") as pool,
    ):
        for batch in file.iter_batches(_BATCH, columns=[*_TOLD, "path"]):
            rows = batch.slice(max(0, start - first)).to_pylist()
            row = first + batch.num_rows - len(rows)
            first += batch.num_rows
            for i in range(0, len(rows), _AT_ONCE):
                some = rows[i : i + _AT_ONCE]
                contents = pool.map(photos.read_bytes, range(row + i, row + i + len(some)))
                for j, (values, content) in enumerate(zip(some, contents, strict=True)):
                    yield _Sample(row + i + j, values["split"], values["path"], content, _told(values, texts))


def _told(values: dict[str, Any], addresses: list[str]) -> bytes:
    """The JSON beside a photo."""
    finite = {name: None if _is_odd(values[name]) else values[name] for name in _TOLD}
    return canonical_json({**finite, "address": addresses[values["address"]]})


def _is_odd(value: Any) -> bool:
    """Whether JSON has no form for it."""
    return isinstance(value, float) and not math.isfinite(value)


def _write_shard(
    folder: Path, k: int, first: _Sample, samples: Iterator[_Sample], most: int
) -> tuple[_Sample | None, int]:
    """Write shard k from `first` on, and its part of the index; the next shard's first, and how many this one has."""
    columns: dict[str, list[Any]] = {name: [] for name in SHARD_SCHEMA.names}
    sample: _Sample | None = first
    end = 0
    with atomic_path(folder / _tar(k)) as temporary, temporary.open("wb") as file:
        while sample and sample.split == first.split and (not end or _closed(end + sample.tar_bytes) <= most):
            key = f"{sample.row:09d}"
            member = f"{key}.{_suffix(sample.path)}"
            offset = end + _BLOCK  # past the header
            for name, content in ((member, sample.photo), (f"{key}.json", sample.told)):
                _write_member(file, name, content)
            end += sample.tar_bytes
            values = (
                _tar(k), member, offset, len(sample.photo), zlib.crc32(sample.photo), path_crc32(sample.path), 0,
            )  # fmt: skip
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
            sample = next(samples, None)
        file.write(bytes(_closed(end) - end))
    columns["shard_bytes"] = [_closed(end)] * len(columns["shard"])
    with atomic_path(folder / _part(k)) as temporary:
        pq.write_table(pa.table(columns, schema=SHARD_SCHEMA), temporary)
    return sample, len(columns["shard"])


def _write_member(file: IO[bytes], name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)  # of no time, user or group: the same bytes everywhere
    info.size = len(content)
    file.write(info.tobuf(tarfile.USTAR_FORMAT))
    file.write(content)
    file.write(bytes(_padded(len(content), _BLOCK) - len(content)))


def _suffix(path: str) -> str:
    """What tells a loader that a member is a photo; never more than that of somebody else's path."""
    suffix = PurePosixPath(path).suffix[1:].lower()
    return suffix if suffix in _SUFFIXES else "jpg"


def _padded(size: int, to: int) -> int:
    return -(-size // to) * to


def _closed(end: int) -> int:
    """Size of a shard whose members end at `end`: two empty blocks, in whole records."""
    return _padded(end + 2 * _BLOCK, tarfile.RECORDSIZE)


def _write_index(data: Dataset, out: Path, n_kept: int) -> ExportSummary:
    """Join the parts of the index."""
    shards: dict[str, tuple[str, str]] = {}
    parts = _numbered(out / FOLDER, "parquet")
    rows = total = 0
    with (
        atomic_path(out / SHARDS) as temporary,
        pq.ParquetWriter(temporary, SHARD_SCHEMA, compression="zstd") as writer,
    ):
        for part in parts:
            table = pq.read_table(part)
            writer.write_table(table)
            split, name = SPLITS[data.split_codes[rows]], table["shard"][0].as_py()
            shards[split] = (shards.get(split, (name,))[0], name)
            rows += len(table)
            total += table["shard_bytes"][0].as_py()
    return ExportSummary(out, shards, len(parts), n_kept, total)


def _copy_tables(data: Dataset, out: Path, shard_bytes: int) -> None:
    for name in (ADDRESSES, PHOTOS, STREETS):
        if (data.folder / name).exists():
            with atomic_path(out / name) as temporary:
                shutil.copyfile(data.folder / name, temporary)
    made_by = {**data.description.made_by, "export": {"layout": "webdataset", "shard_bytes": shard_bytes}}
    write_text(out / DESCRIPTION, replace(data.description, images=FOLDER, made_by=made_by).to_toml())


def _tar(k: int) -> str:
    return f"{k:06d}.tar"


def _part(k: int) -> str:
    return f"{k:06d}.parquet"


def _numbered(folder: Path, suffix: str) -> list[Path]:
    """The files of an export in `folder` that end so, by number."""
    own = (p for p in folder.iterdir() if re.fullmatch(rf"\d{{6,}}\.{suffix}", p.name))
    return sorted(own, key=lambda p: int(p.stem))


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        with storage_errors(file):
            file.unlink(missing_ok=True)
