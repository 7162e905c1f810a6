"""The photos of a city, over a process pool: sub-street by sub-street, each photo whole or not there."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from functools import partial
from pathlib import Path
from typing import Any

from ial_bench.errors import DataError
from ial_bench.files import make_folder, storage_errors
from ial_bench.folders import inside
from ial_bench.images import RGB
from ial_bench.json_files import read_json, write_json
from ial_bench.processes import Workers
from ial_bench.synth.captions import caption
from ial_bench.synth.captures import QUERY, captures_of
from ial_bench.synth.layout import City
from ial_bench.synth.options import SUFFIXES
from ial_bench.synth.records import IMAGES, shots_of
from ial_bench.synth.render import photo_of, trace

ROWS = "rows"
"""Folder of the captions, sizes and content digests of each sub-street."""
_JPEG_QUALITY = 92
_UNFINISHED = ".part"


def kept_rows(out: Path, city: City, sub: int) -> dict[str, Any] | None:
    """What an earlier run wrote of a sub-street; None unless all its photos are there, of the right size."""
    path = out / ROWS / f"{sub:05d}.json"
    if not path.is_file():
        return None
    try:
        rows = read_json(path)
        ids, sizes, captions = rows["photo_id"], rows["bytes"], rows["caption"]
        suffix = SUFFIXES[city.options.image_format]
        whole = len(ids) == len(sizes) == len(captions) == len(rows.get("sha256", ids)) and all(
            _size_of(out / IMAGES / f"{photo_id}.{suffix}") == size for photo_id, size in zip(ids, sizes, strict=True)
        )
    except (DataError, KeyError, TypeError):
        return None
    return rows if whole else None


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def photograph(out: Path, city: City, missing: list[int], workers: int, progress: Callable[[int], object]) -> None:
    """Render the photos of the sub-streets that are `missing`, and their rows.

    Args:
        out: the dataset folder.
        city: the city.
        missing: sub-streets.
        workers: processes that render.
        progress: called with the number of photos done since the last call.

    Raises:
        WorkerError: a process has ended, or cannot be started.
        StorageError: the folder cannot be written to.
    """
    if min(workers, len(missing)) <= 1:
        for sub in missing:
            progress(_one_sub_street(out, city, sub))
        return
    work = partial(_one_sub_street, out, city)
    with Workers(work, min(workers, len(missing)), [__name__]) as pool:
        for done in as_completed([pool.submit(sub) for sub in missing]):
            progress(done.result())


def _one_sub_street(out: Path, city: City, sub: int) -> int:
    """Render a sub-street; how many photos it has. Photos that are there and right are left as they are."""
    suffix, size = SUFFIXES[city.options.image_format], city.options.size
    rows: dict[str, list[Any]] = {name: [] for name in ("photo_id", "bytes", "sha256", "caption", "heading")}
    views: dict[str, Iterator[Any]] = {}
    for shot in shots_of(city, sub):
        number = city.options.query_views if shot.place.role == QUERY else city.options.train_views
        capture = next(views.setdefault(shot.place.place_id, captures_of(city, shot.place, number)))
        seen = trace(city, capture, size)
        data = encode(photo_of(city, capture, seen), city.options.image_format)
        target = inside(out, f"{IMAGES}/{shot.photo_id}.{suffix}")
        if not _holds(target, data):
            _write_photo(target, data)
        told = caption(city, capture, seen)
        values = (shot.photo_id, len(data), hashlib.sha256(data).hexdigest(), told, capture.heading)
        for column, value in zip(rows.values(), values, strict=True):
            column.append(value)
    write_json(out / ROWS / f"{sub:05d}.json", rows)
    return len(rows["photo_id"])


def encode(photo: RGB, image_format: str) -> bytes:
    """The bytes of an image file. JPEGs keep full colour resolution: photos of 64 pixels have none to spare."""
    from PIL import Image

    buffer = io.BytesIO()
    if image_format == "png":
        Image.fromarray(photo).save(buffer, "PNG", compress_level=6)
    else:
        Image.fromarray(photo).save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def _write_photo(target: Path, data: bytes) -> None:
    """Whole or not at all. Not synced: a power cut can cost photos, and then size or digest tells which."""
    make_folder(target.parent)
    with storage_errors(target):
        part = target.with_name(target.name + _UNFINISHED)
        try:
            part.unlink(missing_ok=True)  # left by a killed process; were it a link, what it leads to would be written
            part.write_bytes(data)
            os.replace(part, target)  # noqa: PTH105 - Path.replace makes another Path of each of a million
        except BaseException:
            part.unlink(missing_ok=True)
            raise
