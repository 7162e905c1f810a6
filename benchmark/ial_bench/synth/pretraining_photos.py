"""Photos to pretrain on: other cities than any dataset's, rendered once into arrays that are read from the disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ial_bench.errors import ConfigError
from ial_bench.files import atomic_path, make_folder
from ial_bench.images import RGB
from ial_bench.json_files import digest, read_json, write_json
from ial_bench.processes import Workers
from ial_bench.synth.captions import caption
from ial_bench.synth.captures import PRETRAIN, captures_of, places_of
from ial_bench.synth.layout import make_layout
from ial_bench.synth.options import PRETRAIN_SEEDS, CityOptions
from ial_bench.synth.records import CITY_VERSION
from ial_bench.synth.render import photo_of, trace

_SEEDS_EACH = 1_000  # city seeds that one pretraining seed may use


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
    files = {seed: _file(plan, cache, seed) for seed in plan.city_seeds}
    missing = [seed for seed, file in files.items() if not file.with_suffix(".json").is_file()]
    make_folder(cache / "pretrain")
    if there := len(files) - len(missing):
        progress(there * plan.photos_each)
    make = partial(_make_city, plan, cache)
    if min(workers, len(missing)) <= 1:
        for seed in missing:
            progress(make(seed))
    else:
        with Workers(make, min(workers, len(missing)), [__name__]) as pool:
            for done in as_completed([pool.submit(seed) for seed in missing]):
                progress(done.result())
    return _opened(list(files.values()))


def _file(plan: PhotoPlan, cache: Path, city_seed: int) -> Path:
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


def _make_city(plan: PhotoPlan, cache: Path, city_seed: int) -> int:
    """Render a city's photos into its file, and its texts beside it; they come last and say that both are whole."""
    file = _file(plan, cache, city_seed)
    city = make_layout(plan.options(city_seed))
    photos: list[RGB] = []
    captions, address = [], []
    for sub in range(len(city.sub_streets)):
        for place in places_of(city, sub, PRETRAIN, plan.places):
            for capture in captures_of(city, place, plan.views):
                seen = trace(city, capture, plan.size)
                photos.append(photo_of(city, capture, seen))
                captions.append(caption(city, capture, seen))
                address.append(sub)
    with atomic_path(file) as temporary, temporary.open("wb") as target:
        np.save(target, np.stack(photos))
    addresses = [[a.text, a.verbose] for a in city.sub_streets.addresses]
    write_json(file.with_suffix(".json"), {"captions": captions, "address": address, "addresses": addresses})
    return len(photos)
