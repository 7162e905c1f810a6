"""The options of a drawn city, their limits, and the presets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ial_bench.errors import ConfigError, unknown_name
from ial_bench.synth.styles import N_LINE_NAMES

PRETRAIN_SEEDS = range(1_000_000, 2_000_000)
"""City seeds kept for pretraining: no dataset is made from them, so that no encoder has seen a measured city."""

CITY_VERSION = 1
"""Raised when the same options give other photos than before."""
SIZE_STEP, MIN_SIZE, MAX_SIZE = 8, 16, 512
CROSSINGS = ("exclude", "keep")
SUFFIXES = {"jpeg": "jpg", "png": "png"}
_SHARES = ("lot_variation", "coverage", "label_noise", "val_fraction")
_COUNTS = ("train_places", "query_places", "train_views", "query_views")
_MOST = 1000  # places of a sub-street, or views of a place


@dataclass(frozen=True)
class CityOptions:
    """All that a city and its photos depend on; equal options give equal bytes.

    Attributes:
        seed: of the city, 0 <= seed < 1,000,000; from there on they are `PRETRAIN_SEEDS`.
        blocks: rows and columns of blocks. Sub-streets: ``(rows - 1) * columns + (columns - 1) * rows``.
        size: height and width of a photo in pixels.
        train_places: camera places for training on each sub-street.
        query_places: camera places for queries on each sub-street.
        train_views: photos at each train place, at headings all round.
        query_views: photos at each query place.
        lot_variation: how much houses of one row differ, 0 (not at all) to 1.
        occluders: cars and people, as a multiple of the usual number.
        day_shift: how far the light of query days lies from that of train days; 0: drawn alike, 1: usual.
        label_noise: share of the train places that carry the address of an adjoining sub-street.
        position_noise: standard deviation, in metres and per axis, of the recorded positions of train places.
        coverage: share of each sub-street's train places that were visited, at least one. A city of less
            coverage holds a part of the photos of one with more.
        val_fraction: share of the train photos, by place, that become the val split.
        crossings: ``exclude`` photos near crossings, as the paper does, or ``keep`` them with their ambiguity.
        image_format: ``jpeg`` or ``png``.

    Raises:
        ConfigError: a value that no city can be made from.
    """

    seed: int = 0
    blocks: tuple[int, int] = (6, 7)
    size: int = 64
    train_places: int = 12
    query_places: int = 4
    train_views: int = 4
    query_views: int = 3
    lot_variation: float = 0.5
    occluders: float = 1.0
    day_shift: float = 1.0
    label_noise: float = 0.0
    position_noise: float = 0.0
    coverage: float = 1.0
    val_fraction: float = 0.1
    crossings: str = "exclude"
    image_format: str = "jpeg"

    def __post_init__(self) -> None:
        self._check_city()
        self._check_photos()
        for name in _SHARES:
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} is {value}, not a share", "give a number from 0 to 1")
        for name, most in (("occluders", 10.0), ("day_shift", 3.0), ("position_noise", 1000.0)):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 <= value <= most):
                raise ConfigError(f"{name} is {value}", f"give a number from 0 to {most:g}")
        if self.coverage == 0:
            raise ConfigError("coverage 0 leaves no photo to learn from", "give a share above 0, such as 0.125")
        if self.val_fraction == 1 or self.label_noise == 1:
            raise ConfigError("val_fraction and label_noise must be below 1", "give a smaller share")

    def _check_city(self) -> None:
        if not 0 <= self.seed < PRETRAIN_SEEDS.stop:
            raise ConfigError(
                f"city seed {self.seed} is out of range", f"give one from 0 to {PRETRAIN_SEEDS.start - 1:,}"
            )
        rows, columns = self.blocks
        if min(rows, columns) < 1 or self.n_sub_streets < 1:
            raise ConfigError(
                f"{rows}x{columns} blocks have no street between them", "ask for at least two, such as --blocks 1x2"
            )
        if rows + columns + 2 > N_LINE_NAMES or max(rows, columns) + 1 > N_LINE_NAMES // 2:
            raise ConfigError(
                f"{rows}x{columns} blocks need {rows + columns + 2:,} street names, and there are {N_LINE_NAMES:,}, "
                "half of them for streets and half for avenues",
                f"ask for at most {N_LINE_NAMES // 2 - 1} rows and columns",
            )

    def _check_photos(self) -> None:
        if not MIN_SIZE <= self.size <= MAX_SIZE or self.size % SIZE_STEP:
            raise ConfigError(
                f"photos of {self.size} pixels: the size must be a multiple of {SIZE_STEP} "
                f"from {MIN_SIZE} to {MAX_SIZE}",
                f"try --size {min(max(round(self.size / SIZE_STEP) * SIZE_STEP, MIN_SIZE), MAX_SIZE)}",
            )
        for name in _COUNTS:
            value = getattr(self, name)
            if not 1 <= value <= _MOST:
                raise ConfigError(f"{name} is {value}", f"give a number from 1 to {_MOST}")
        if self.crossings not in CROSSINGS:
            raise unknown_name("way with crossings", self.crossings, CROSSINGS, f"one of {', '.join(CROSSINGS)}")
        if self.image_format not in SUFFIXES:
            raise unknown_name("image format", self.image_format, SUFFIXES, f"one of {', '.join(SUFFIXES)}")

    @property
    def n_sub_streets(self) -> int:
        """Pieces between two crossings of the streets that have blocks on both sides."""
        rows, columns = self.blocks
        return (rows - 1) * columns + (columns - 1) * rows

    @property
    def covered_places(self) -> int:
        """Train places of each sub-street that were visited."""
        return max(1, math.ceil(self.coverage * self.train_places - 1e-9))

    @property
    def n_photos(self) -> int:
        """Photos of all splits."""
        return self.n_sub_streets * self.photos_each

    @property
    def photos_each(self) -> int:
        """Photos of each sub-street."""
        return self.covered_places * self.train_views + self.query_places * self.query_views

    def to_json(self, *, blocks: bool = True) -> dict[str, Any]:
        """The options as a JSON object; without `blocks` for a city on a street map, which has its own."""
        found = {**asdict(self), "blocks": list(self.blocks)}
        return found if blocks else {k: v for k, v in found.items() if k != "blocks"}


PRESETS: Mapping[str, CityOptions] = {
    "synth-city": CityOptions(seed=0),
    "synth-city-large": CityOptions(seed=7, blocks=(24, 24)),
    # For choosing hyper-parameters: the shipped city is never used to choose anything.
    "synth-city-dev-1": CityOptions(seed=101),
    "synth-city-dev-2": CityOptions(seed=102),
    "synth-city-dev-3": CityOptions(seed=103),
}


def preset(name: str) -> CityOptions:
    """The options of a preset.

    Raises:
        UnknownNameError: no such preset.
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS, f"one of {', '.join(PRESETS)}")
    return PRESETS[name]


def changed(options: CityOptions, **knobs: Any) -> CityOptions:
    """`options` with those `knobs` that are not None.

    Raises:
        ConfigError: a value that no city can be made from.
    """
    known = {f.name for f in fields(CityOptions)}
    unknown = sorted(set(knobs) - known)
    if unknown:
        raise unknown_name("knob of a city", unknown[0], known, f"one of {', '.join(sorted(known))}")
    return replace(options, **{name: value for name, value in knobs.items() if value is not None})
