"""The photos of cities, rendered over a process pool: those of a dataset as files, those to pretrain on as arrays.

Nothing a photo depends on is shared between two sub-streets or two cities, so that neither the number of workers nor an
interruption shows in any of them.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ial_bench.errors import ConfigError, DataError
from ial_bench.files import atomic_path, make_folder, storage_errors
from ial_bench.folders import inside
from ial_bench.images import RGB
from ial_bench.json_files import digest, read_json, write_json
from ial_bench.processes import Workers
from ial_bench.synth.captions import caption
from ial_bench.synth.captures import PRETRAIN, QUERY, Capture, captures_of, places_of, shots_of
from ial_bench.synth.city import City, plan_city
from ial_bench.synth.options import CITY_VERSION, PRETRAIN_SEEDS, SUFFIXES, CityOptions
from ial_bench.synth.render import photo_of, trace

IMAGES = "images"
ROWS = "rows"
"""Folder of the captions, sizes and content digests of each sub-street."""
_JPEG_QUALITY = 92
_UNFINISHED = ".part"
_SEEDS_EACH = 1_000  # city seeds that one pretraining seed may use


def _taken(city: City, capture: Capture, size: int) -> tuple[RGB, str]:
    """A photo and its caption."""
    seen = trace(city, capture, size)
    return photo_of(city, capture, seen), caption(city, capture, seen)


def _in_processes(
    render: Callable[[int], int], numbers: Sequence[int], workers: int, progress: Callable[[int], object]
) -> None:
    """Call `render`, which returns how many photos it has made, with each number; in this process if that is enough."""
    workers = min(workers, len(numbers))
    if workers <= 1:
        for number in numbers:
            progress(render(number))
        return
    with Workers(render, workers, [__name__]) as pool:
        for done in as_completed([pool.submit(number) for number in numbers]):
            progress(done.result())


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
    _in_processes(partial(_render_sub_street, out, city), missing, workers, progress)


def _render_sub_street(out: Path, city: City, sub: int) -> int:
    """Render a sub-street; how many photos it has. Photos that are there and right are left as they are."""
    suffix, size = SUFFIXES[city.options.image_format], city.options.size
    rows: dict[str, list[Any]] = {name: [] for name in ("photo_id", "bytes", "sha256", "caption", "heading")}
    views: dict[str, Iterator[Any]] = {}
    for shot in shots_of(city, sub):
        number = city.options.query_views if shot.place.role == QUERY else city.options.train_views
        capture = next(views.setdefault(shot.place.place_id, captures_of(city, shot.place, number)))
        photo, text = _taken(city, capture, size)
        data = _encoded(photo, city.options.image_format)
        target = inside(out, f"{IMAGES}/{shot.photo_id}.{suffix}")
        if not _holds(target, data):
            _write_photo(target, data)
        values = (shot.photo_id, len(data), hashlib.sha256(data).hexdigest(), text, capture.heading)
        for column, value in zip(rows.values(), values, strict=True):
            column.append(value)
    write_json(out / ROWS / f"{sub:05d}.json", rows)
    return len(rows["photo_id"])


def _encoded(photo: RGB, image_format: str) -> bytes:
    """The bytes of an image file. JPEGs keep full colour resolution: photos of 64 pixels have none to spare."""
    from PIL import Image

    buffer = io.BytesIO()
    if image_format == "png":
        Image.fromarray(photo).save(buffer, "PNG", compress_level=6)
    else:
        Image.fromarray(photo).save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def _write_photo(target: Path, data: bytes) -> None:
    """Whole or not at all. Not synced: a power cut can cost photos, and then the size or the digest shows which."""
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


@dataclass(frozen=True)
class PhotoPlan:
    """Which photos are made.

    Attributes:
        cities: how many.
        seed: which cities; two plans of different seeds share none.
        blocks: rows and columns of blocks of each.
        places: camera places on each sub-street.
        views: photos at each place.
        size: height and width of a photo in pixels.

    Raises:
        ConfigError: more cities, or a larger seed, than there are city seeds kept for pretraining.
    """

    cities: int = 24
    seed: int = 0
    blocks: tuple[int, int] = (6, 7)
    places: int = 6
    views: int = 3
    size: int = 64

    def __post_init__(self) -> None:
        most = len(PRETRAIN_SEEDS) // _SEEDS_EACH
        if not (0 <= self.seed < most and 1 <= self.cities <= _SEEDS_EACH):
            raise ConfigError(
                f"no {self.cities:,} pretraining cities of seed {self.seed}",
                f"give a seed from 0 to {most - 1} and from 1 to {_SEEDS_EACH:,} cities",
            )

    @property
    def city_seeds(self) -> list[int]:
        """Seeds of the cities: never those of a dataset, which are below `PRETRAIN_SEEDS`."""
        first = PRETRAIN_SEEDS.start + self.seed * _SEEDS_EACH
        return list(range(first, first + self.cities))

    @property
    def n_photos(self) -> int:
        """Photos of all cities."""
        return self.cities * self.photos_each

    @property
    def photos_each(self) -> int:
        """Photos of a city."""
        return self.options(self.city_seeds[0]).n_sub_streets * self.places * self.views

    def options(self, city_seed: int) -> CityOptions:
        """The city of a seed."""
        return CityOptions(seed=city_seed, blocks=self.blocks, size=self.size)


@dataclass(frozen=True)
class Photos:
    """All photos with their texts.

    Attributes:
        pixels: of each city, uint8 [n, size, size, 3], read from the disk when used.
        captions: [photos].
        address: [photos], row of `addresses`.
        addresses: short and long form of each address of all cities.
    """

    pixels: Sequence[npt.NDArray[np.uint8]]
    captions: list[str]
    address: npt.NDArray[np.int64]
    addresses: list[tuple[str, str]]

    def __len__(self) -> int:
        return len(self.captions)

    def of(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Uint8 [rows, size, size, 3]."""
        starts = np.cumsum([0, *(len(p) for p in self.pixels)])
        city = np.searchsorted(starts, rows, side="right") - 1
        return np.stack([self.pixels[c][r] for c, r in zip(city, rows - starts[city], strict=True)])


def make_photos(plan: PhotoPlan, cache: Path, workers: int, progress: Callable[[int], object]) -> Photos:
    """The photos of `plan`, made in `cache` where they are not there yet.

    Args:
        plan: which.
        cache: the cache folder.
        workers: processes that render; photos do not depend on it.
        progress: called with the number of photos done since the last call.

    Raises:
        StorageError: the cache cannot be written to, or the disk is full.
        WorkerError: a process has ended, or cannot be started.
    """
    files = {seed: _city_file(plan, cache, seed) for seed in plan.city_seeds}
    missing = [seed for seed, file in files.items() if not file.with_suffix(".json").is_file()]
    make_folder(cache / "pretrain")
    if there := len(files) - len(missing):
        progress(there * plan.photos_each)
    _in_processes(partial(_render_city, plan, cache), missing, workers, progress)
    return _opened(list(files.values()))


def _city_file(plan: PhotoPlan, cache: Path, city_seed: int) -> Path:
    what = {"version": CITY_VERSION, "city": plan.options(city_seed).to_json(), "n": [plan.places, plan.views]}
    return cache / "pretrain" / f"city-{city_seed}-{digest(what)[:12]}.npy"


def _opened(files: list[Path]) -> Photos:
    pixels: list[npt.NDArray[np.uint8]] = []
    captions: list[str] = []
    address: list[int] = []
    addresses: list[tuple[str, str]] = []
    for file in files:
        texts = read_json(file.with_suffix(".json"))
        pixels.append(np.load(file, mmap_mode="r"))
        captions += texts["captions"]
        address += [len(addresses) + a for a in texts["address"]]
        addresses += [(short, long) for short, long in texts["addresses"]]
    return Photos(pixels, captions, np.array(address), addresses)


def _render_city(plan: PhotoPlan, cache: Path, city_seed: int) -> int:
    """Render a city's photos into its file, and its texts beside it; they come last and say that both are whole."""
    file = _city_file(plan, cache, city_seed)
    city = plan_city(plan.options(city_seed))
    photos: list[RGB] = []
    captions, address = [], []
    for sub in range(len(city.sub_streets)):
        for place in places_of(city, sub, PRETRAIN, plan.places):
            for capture in captures_of(city, place, plan.views):
                photo, text = _taken(city, capture, plan.size)
                photos.append(photo)
                captions.append(text)
                address.append(sub)
    with atomic_path(file) as temporary, temporary.open("wb") as target:
        np.save(target, np.stack(photos))
    addresses = [[a.text, a.verbose] for a in city.sub_streets.addresses]
    write_json(file.with_suffix(".json"), {"captions": captions, "address": address, "addresses": addresses})
    return len(photos)
