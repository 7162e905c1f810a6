"""The options of a build, and its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ial_bench.addresses import Address
from ial_bench.errors import ConfigError
from ial_bench.partition.geojson import StreetKeys
from ial_bench.partition.network import TOLERANCE_M, StreetNetwork, StreetSource
from ial_bench.partition.photos import PhotoSet
from ial_bench.partition.places import MAX_DISTANCE_M, SAME_PLACE_M, TIE_M, Match, Place
from ial_bench.partition.splits import SplitRule
from ial_bench.partition.streets import BESIDE_M
from ial_bench.partition.substreets import MIN_LENGTH_M, MIN_PLACES, Partition


@dataclass(frozen=True)
class BuildOptions:
    """What to build a dataset from, and how.

    Attributes:
        photos: a CSV, GeoJSON points, or a folder of photos with EXIF positions.
        out: the dataset folder to write.
        name: the dataset's name.
        streets: OpenStreetMap extract or GeoJSON lines; None: fetched for `osm_place`.
        osm_place: a city's name.
        images: the folder that paths lie below; None: that of `photos`.
        street_keys: which properties of GeoJSON lines to read.
        streets_crs: reference system of GeoJSON lines; None: the file's own, or degrees.
        language: of street names.
        street_words: TOML of more abbreviations.
        neighbourhoods: GeoJSON polygons.
        neighbourhood_key: their property with the name.
        neighbourhood: what to say where none is known; None: the title.
        tolerance_m: see `network.TOLERANCE_M`.
        min_length_m: see `substreets.MIN_LENGTH_M`.
        min_places: see `substreets.MIN_PLACES`.
        beside_m: see `streets.BESIDE_M`.
        max_distance_m: see `places.MAX_DISTANCE_M`.
        tie_m: see `places.TIE_M`.
        keep_ambiguous: whether places between streets get the nearest.
        geocoder: ``NAME:DOMAIN`` of a reverse geocoder that names streets; None: distances decide.
        geocoder_interval_s: least time between two requests.
        geocoder_cache: folder for its answers.
        same_place_m: see `places.SAME_PLACE_M`.
        split: train, val and query.
        title: for people; the name by default.
        licence: terms of the photos, in words.
        force: replace a dataset that is there.
        contents: whether to read every photo for its content digest.
    """

    photos: Path
    out: Path
    name: str
    streets: Path | None = None
    osm_place: str | None = None
    images: Path | None = None
    street_keys: StreetKeys = field(default_factory=StreetKeys)
    streets_crs: str | None = None
    language: str = "en"
    street_words: Path | None = None
    neighbourhoods: Path | None = None
    neighbourhood_key: str | None = None
    neighbourhood: str | None = None
    tolerance_m: float = TOLERANCE_M
    min_length_m: float = MIN_LENGTH_M
    min_places: int = MIN_PLACES
    beside_m: float = BESIDE_M
    max_distance_m: float = MAX_DISTANCE_M
    tie_m: float = TIE_M
    keep_ambiguous: bool = True
    geocoder: str | None = None
    geocoder_interval_s: float = 1.0
    geocoder_cache: Path | None = None
    same_place_m: float = SAME_PLACE_M
    split: SplitRule = field(default_factory=SplitRule)
    title: str = ""
    licence: str = ""
    force: bool = False
    contents: bool = True

    def __post_init__(self) -> None:
        if (self.streets is None) == (self.osm_place is None):
            raise ConfigError("streets come from a file or from a city's name", "give either --streets or --osm-place")
        for option in ("tolerance_m", "min_length_m", "beside_m", "max_distance_m", "tie_m", "same_place_m"):
            if not 0 <= getattr(self, option) < np.inf:
                raise ConfigError(f"--{option.removesuffix('_m').replace('_', '-')} is no distance", "give metres")
        if self.min_places < 1:
            raise ConfigError(f"--min-places {self.min_places} is below 1", "the paper has 5")


@dataclass
class Build:
    """A built dataset and the steps to it.

    Attributes:
        folder: of the dataset.
        network: the streets.
        source: what was read of them.
        partition: all sub-streets of the city, after joining those with few places.
        n_before: sub-streets before that.
        photos: those used, and those set aside with the reason.
        places: of the photos.
        match: the sub-street of each place.
        notes: what is worth knowing.
        addresses: of the dataset, sorted by text.
        address_of: address row of each sub-street, -1 where it has none.
        counts: photos per split.
    """

    folder: Path
    network: StreetNetwork
    source: StreetSource
    partition: Partition
    n_before: int
    photos: PhotoSet
    places: list[Place]
    match: Match
    notes: list[str]
    addresses: list[Address] = field(default_factory=list)
    address_of: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    counts: dict[str, int] = field(default_factory=dict)
