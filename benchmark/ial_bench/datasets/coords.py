"""Positions of photos: from a CSV in UTM metres or degrees, or from SF-XL file names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from ial_bench.datasets.columns import mapped, numbered, texts
from ial_bench.errors import ConfigError, DataError
from ial_bench.files import check_regular
from ial_bench.geo.points import Points, utm_to_wgs84

_NAME_COLUMNS = ("filename", "file", "path", "image")
_UTM_COLUMNS = ("utm_easting", "utm_northing")
_DEGREE_COLUMNS = (("lat", "lon"), ("latitude", "longitude"))
_SF_XL_FIELDS = 14


@dataclass(frozen=True)
class Coords:
    """Positions by photo path.

    Attributes:
        paths: text [n], each once.
        points: [n, 2] WGS84 degrees, NaN where the source gives none or contradicts itself.
    """

    paths: pa.Array
    points: Points

    @classmethod
    def of(cls, paths: pa.ChunkedArray, points: Points) -> Coords:
        """Of `paths` that may stand several times; those with several positions become NaN: which is right?"""
        codes, distinct = numbered(paths)
        _, first = np.unique(codes, return_index=True)
        chosen = points[first]
        differs = ~((points == chosen[codes]) | (np.isnan(points) & np.isnan(chosen[codes]))).all(axis=1)
        chosen[codes[differs]] = np.nan
        return cls(distinct.cast(pa.string()), chosen)

    def look_up(self, paths: pa.ChunkedArray) -> Points:
        """[m, 2]: the positions of other `paths`, NaN where there is none."""
        rows = pc.fill_null(pc.index_in(paths, value_set=self.paths), -1).to_numpy().astype(np.int64)
        found = np.full((len(rows), 2), np.nan)
        found[rows >= 0] = self.points[rows[rows >= 0]]
        return found


def read_coords(path: Path, utm_zone: str | None) -> Coords:
    """Positions by photo path.

    Args:
        path: a CSV with the columns ``filename, utm_easting, utm_northing`` or ``filename, lat, lon``.
        utm_zone: needed for UTM columns.

    Raises:
        DataError: missing or malformed file, or without those columns.
        ConfigError: UTM columns without a zone.
    """
    types = {c: pa.float64() for c in (*_UTM_COLUMNS, *(c for pair in _DEGREE_COLUMNS for c in pair))}
    types |= dict.fromkeys(_NAME_COLUMNS, pa.string())
    check_regular(path)
    try:
        table = pa_csv.read_csv(path, convert_options=pa_csv.ConvertOptions(column_types=types))
        header = table.column_names
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}", "give --coords CSV") from error
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a well-formed CSV: {error}", "its first line names the columns") from error
    names = next((c for c in _NAME_COLUMNS if c in header), None)
    degrees = next((d for d in _DEGREE_COLUMNS if set(d) <= set(header)), None)
    metres = set(_UTM_COLUMNS) <= set(header)
    if names is None or not (degrees or metres) or len(set(header)) < len(header):
        raise DataError(
            f"{path} has the columns {', '.join(header)}",
            "name them, each once: filename,utm_easting,utm_northing or filename,lat,lon",
        )
    values = np.stack([table[c].to_numpy() for c in degrees or _UTM_COLUMNS], axis=1)
    if not degrees and utm_zone is None:
        raise ConfigError(f"{path} has UTM positions, whose zone is not known", "give --utm-zone, such as 17N")
    points = no_zeros(values) if degrees else from_utm(values, utm_zone or "")
    named = pc.and_kleene(pc.is_valid(table[names]), pc.not_equal(table[names], "")).to_numpy()
    return Coords.of(mapped(texts(table[names]).filter(pa.array(named)), _plain), points[named])


def no_zeros(values: Points) -> Points:
    """`values` [n, 2] with NaN in place of 0, 0, which is what a missing position often became."""
    return np.where(values.any(axis=1, keepdims=True), values, np.nan)


def from_utm(values: Points, zone: str) -> Points:
    """WGS84 degrees [n, 2] of UTM easting and northing [n, 2]; NaN for 0, 0: a point of the zone, but of no city."""
    return utm_to_wgs84(no_zeros(values), zone)


class SfXlName(NamedTuple):
    """What an SF-XL file name says.

    Attributes:
        lat: WGS84 degrees.
        lon: WGS84 degrees.
        panorama: its id, empty where there is none.
        heading: degrees clockwise from north, NaN where there is none.
    """

    lat: float
    lon: float
    panorama: str
    heading: float


def parse_sf_xl(path: str) -> SfXlName | str:
    """Read an SF-XL file name; of one in another form, say what is wrong with it.

    ``@utm_east@utm_north@zone@letter@lat@lon@pano_id@tile@heading@pitch@roll@height@timestamp@note@.jpg``
    """
    before, *fields = path.rsplit("/", 1)[-1].split("@")
    if before or len(fields) != _SF_XL_FIELDS + 1:
        return "the file name is not @ and 14 fields, each ending in @"
    try:
        lat, lon = float(fields[4]), float(fields[5])
    except ValueError:
        return f"latitude {fields[4]!r} or longitude {fields[5]!r} in the file name is not a number"
    if not (lat or lon):
        return "the file name has the position 0, 0"
    try:
        heading = float(fields[8]) if fields[8] else math.nan
    except ValueError:
        heading = math.nan
    return SfXlName(lat, lon, fields[6], heading % 360 if math.isfinite(heading) else math.nan)


def _plain(path: str) -> str:
    """`path` as `safe_relative` writes it."""
    return str(PurePosixPath(path.replace("\\", "/")))
