"""A dataset as a folder with its photos in tar shards, in WebDataset's layout.

    shards/000000.tar   000000000.jpg, 000000000.json, 000000001.jpg, ...
    shards.parquet      where each photo lies in them
    the other tables    as they were

Members are named by the photo's row, so that the names of the original files never get into a shard. A shard is
written completely or not at all, holds photos of one split, and always has the same bytes.
"""

from __future__ import annotations

import contextlib
import math
import re
import shutil
import stat
import tarfile
import zlib
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ial_bench import images
from ial_bench.datasets.contents import CONTENTS
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.photos import SPLITS, Photos
from ial_bench.datasets.shards import SHARD_SCHEMA, SHARDS, path_crc32
from ial_bench.datasets.streets import STREETS
from ial_bench.datasets.table import ADDRESSES, DESCRIPTION, PHOTOS, clear_dataset, refuse_dataset
from ial_bench.errors import ConfigError, DataError, ImageError
from ial_bench.files import atomic_path, make_folder, storage_errors, sweep, write_text
from ial_bench.folders import alone, inside, is_free
from ial_bench.json_files import canonical_json, read_json, write_json
from ial_bench.progress import NoReport, Reporter

FOLDER = "shards"
DEFAULT_SHARD_BYTES = 10**9
_MARK = "export.json"
_FORMAT = 1  # of the output; where it is raised, interrupted exports start again
_METADATA = ("photo_id", "split", "place_id", "address", "lat", "lon", "heading", "caption")
_SUFFIXES = frozenset({"avif", "bmp", "gif", "heic", "heif", "jp2", "jpeg", "jpg", "png", "ppm", "tif", "tiff", "webp"})
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
    """Write `data` to `out`, its photos in tar shards. Its digest stays the same. An interrupted export is resumed.

    Args:
        data: what to export; its photos may lie in shards already.
        out: dataset folder to write.
        shard_bytes: most bytes of a shard; only a shard of a single photo has more.
        force: replace a dataset that is there.
        reporter: shows progress.

    Raises:
        ConfigError: `out` is a dataset already, or holds what is being exported, or another process writes there.
        DataError: `out` holds something else, or a photo leads out of the dataset's folder of images.
        ImageError: a photo is missing, has changed since the dataset was made, or is no image.
        StorageError: `out` cannot be written to.
    """
    reporter = reporter or NoReport()
    photos = _Packable(data)
    if not photos.root.is_relative_to(data.folder):
        reporter.log(f"photos are taken from {photos.root}")
    _ = data.candidates  # refuses photos of an address that is none
    _ = data.streets  # and a file that holds none: it is copied as it is
    what = {"format": _FORMAT, "of": data.digest, "photos": len(data), "shard_bytes": shard_bytes}
    what |= {} if data.contents is None else {"contents": data.contents_digest}
    _refuse(data, out, force, what)  # before a lock is laid into a folder of somebody's
    with alone(out):
        _refuse(data, out, force, what)
        folder = make_folder(inside(out, FOLDER))
        n_kept = None
        if force or not _is_written(out, what):
            n_kept = _write(data, photos, out, what, reporter)
        summary = _summary(data, out, n_kept)
        _remove(_numbered(folder, "parquet"))
        sweep(folder)
    _remove([folder / _MARK])  # last of all: until it is gone, the same command ends this export
    return summary


def _write(data: Dataset, photos: _Packable, out: Path, what: dict[str, Any], reporter: Reporter) -> int:
    """Write all shards, their index and the tables; how many shards an earlier call had left."""
    folder = out / FOLDER
    begun, _ = _mark(out)
    if begun != what:
        _remove(_numbered(folder, "parquet"))  # without their part of the index, shards count as unfinished
        write_json(folder / _MARK, {"export": what, "written": False})
    clear_dataset(out)
    kept = _kept(folder)
    done = sum(kept)
    with reporter.track(len(data), f"export {data.name}", "photos") as advance:
        advance(done)
        with contextlib.closing(_samples(data, photos, done)) as samples:
            k, sample = len(kept), next(samples, None)
            while sample is not None:
                sample, rows = _write_shard(folder, k, sample, samples, what["shard_bytes"])
                advance(rows)
                k += 1
    _write_index(out)
    _copy_tables(data, out, what["shard_bytes"])
    write_json(folder / _MARK, {"export": what, "written": True})
    return len(kept)


def _refuse(data: Dataset, out: Path, force: bool, what: dict[str, Any]) -> None:
    own = [data.folder, data.images_folder, *(data.shards.paths if data.shards else [])]
    if any(path.resolve().is_relative_to(out.resolve()) for path in own):
        raise ConfigError(f"{out} holds {data.name} itself", "give another --out")
    begun, _ = _mark(out)
    if begun == what:
        return  # this very export, which goes on
    refuse_dataset(out, force)
    if begun is None and not (out / DESCRIPTION).exists() and not (is_free(out, but=FOLDER) and is_free(out / FOLDER)):
        raise DataError(f"{out} is there and is no dataset; it is not overwritten", "give another --out")


def _mark(out: Path) -> tuple[Any, bool]:
    """What an export to `out` that has not ended is of, None where there is none, and whether all of it is written."""
    try:
        mark = read_json(out / FOLDER / _MARK)
    except DataError:
        return None, False
    return (mark.get("export"), mark.get("written") is True) if isinstance(mark, dict) else (None, False)


def _is_written(out: Path, what: dict[str, Any]) -> bool:
    """Whether this very export has all in its place, and was killed while it removed what it needed on the way."""
    return (out / DESCRIPTION).is_file() and _mark(out) == (what, True)


def _kept(folder: Path) -> list[int]:
    """Photos of each shard that an earlier call of the same options finished; all other shards go."""
    kept: list[int] = []
    while found := _finished(folder, len(kept)):
        kept.append(found)
    keep = {name for k in range(len(kept)) for name in (_tar(k), _part(k))}
    _remove(p for p in [*_numbered(folder, "parquet"), *_numbered(folder, "tar")] if p.name not in keep)
    sweep(folder)
    return kept


def _finished(folder: Path, k: int) -> int:
    """Photos of shard k; 0 if it is not there, or not as it was written."""
    tar, part = folder / _tar(k), folder / _part(k)
    if not all(file.is_file() and not file.is_symlink() for file in (tar, part)):
        return 0
    try:
        sizes = pq.read_table(part, columns=["shard_bytes"])["shard_bytes"].to_pylist()
    except (pa.ArrowException, OSError):
        return 0  # written again
    return len(sizes) if set(sizes) == {tar.stat().st_size} else 0


@dataclass(frozen=True)
class _Sample:
    row: int
    split: str
    path: str
    photo: bytes
    metadata: bytes

    @property
    def tar_bytes(self) -> int:
        """What it takes of a shard."""
        return sum(_BLOCK + _padded(len(content), _BLOCK) for content in (self.photo, self.metadata))


def _samples(data: Dataset, photos: _Packable, start: int) -> Generator[_Sample, None, None]:
    """The photos from row `start` on, with the metadata of each; some are read ahead."""
    texts = [address.text for address in data.addresses]
    first = 0
    with (
        pq.ParquetFile(data.folder / PHOTOS, memory_map=True, pre_buffer=False) as file,
        ThreadPoolExecutor(_THREADS, "export") as pool,
    ):
        for batch in file.iter_batches(_BATCH, columns=[*_METADATA, "path"]):
            rows = batch.slice(max(0, start - first)).to_pylist()
            row = first + batch.num_rows - len(rows)
            first += batch.num_rows
            for i in range(0, len(rows), _AT_ONCE):
                some = rows[i : i + _AT_ONCE]
                contents = pool.map(photos.read, range(row + i, row + i + len(some)))
                for j, (values, content) in enumerate(zip(some, contents, strict=True)):
                    yield _Sample(row + i + j, values["split"], values["path"], content, _metadata(values, texts))


def _metadata(values: dict[str, Any], addresses: list[str]) -> bytes:
    """The JSON beside a photo."""
    finite = {name: None if _is_odd(values[name]) else values[name] for name in _METADATA}
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
            for name, content in ((member, sample.photo), (f"{key}.json", sample.metadata)):
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
    """The suffix by which a loader knows a photo; of the path, one of `_SUFFIXES` at most."""
    suffix = PurePosixPath(path).suffix[1:].lower()
    return suffix if suffix in _SUFFIXES else "jpg"


def _padded(size: int, to: int) -> int:
    return -(-size // to) * to


def _closed(end: int) -> int:
    """Size of a shard whose members end at `end`: two empty blocks, in whole records."""
    return _padded(end + 2 * _BLOCK, tarfile.RECORDSIZE)


def _write_index(out: Path) -> None:
    """Join the parts of the index."""
    with (
        atomic_path(out / SHARDS) as temporary,
        pq.ParquetWriter(temporary, SHARD_SCHEMA, compression="zstd") as writer,
    ):
        for part in _numbered(out / FOLDER, "parquet"):
            writer.write_table(pq.read_table(part))


def _summary(data: Dataset, out: Path, n_kept: int | None) -> ExportSummary:
    """What is there now; `n_kept` is None where it was there before."""
    written = Dataset(out).shards
    assert written is not None  # noqa: S101 - its index was written just now
    _, first = np.unique(written.shard, return_index=True)
    shards: dict[str, tuple[str, str]] = {}
    for row in np.sort(first).tolist():
        split, name = SPLITS[data.split_codes[row]], written.path(row).name
        shards[split] = (shards.get(split, (name,))[0], name)
    n_shards = len(written.paths)
    return ExportSummary(out, shards, n_shards, n_shards if n_kept is None else n_kept, int(written.bytes.sum()))


def _copy_tables(data: Dataset, out: Path, shard_bytes: int) -> None:
    for name in (ADDRESSES, PHOTOS, STREETS, CONTENTS):
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


class _Packable:
    """The photos of a dataset, as they are stored; no other file of this machine gets into a shard.

    A dataset of somebody else's says where its photos lie, and a shard is made to be passed on. Each photo must be an
    image and a regular file below the dataset's own folder of images.

    Attributes:
        root: the folder of images.

    Raises:
        DataError: the path of its folder of images climbs out of the dataset's.
    """

    def __init__(self, data: Dataset) -> None:
        if ".." in PurePath(data.description.images).parts:
            raise DataError(
                f"the photos of {data.name} are said to lie in {data.description.images!r}, outside its folder",
                f"if they are yours: write the absolute path into {data.folder / 'dataset.toml'}",
            )
        self._photos = Photos(data, np.arange(len(data)))
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
        except (OSError, RuntimeError):  # missing, or links in a circle: reading it will raise
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
