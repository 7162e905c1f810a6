"""What a dataset is built from, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ial_bench.errors import ConfigError
from ial_bench.partition.geojson import StreetKeys
from ial_bench.partition.network import TOLERANCE_M
from ial_bench.partition.photos import SAME_PLACE_M
from ial_bench.partition.places import MAX_DISTANCE_M, TIE_M
from ial_bench.partition.splits import SplitRule
from ial_bench.partition.streets import BESIDE_M
from ial_bench.partition.substreets import MIN_LENGTH_M, MIN_PLACES


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
        min_length_m: see `partition.MIN_LENGTH_M`.
        min_places: see `partition.MIN_PLACES`.
        beside_m: see `pieces.BESIDE_M`.
        max_distance_m: see `match.MAX_DISTANCE_M`.
        tie_m: see `match.TIE_M`.
        keep_ambiguous: whether places between streets get the nearest.
        geocoder: ``NAME:DOMAIN`` of a reverse geocoder that tells streets; None: distances do.
        geocoder_interval_s: least time between two requests.
        geocoder_cache: folder for its answers.
        same_place_m: see `photos.SAME_PLACE_M`.
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
