"""Positions of photos: from a CSV in UTM metres or degrees, or from SF-XL file names."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from ial_bench.errors import ConfigError, DataError
from ial_bench.geo.points import utm_to_wgs84

_NAME_COLUMNS = ("filename", "file", "path", "image")
_UTM_COLUMNS = ("utm_easting", "utm_northing")
_DEGREE_COLUMNS = (("lat", "lon"), ("latitude", "longitude"))


def read_coords(path: Path, utm_zone: str | None) -> dict[str, tuple[float, float]]:
    """Positions by photo path, in WGS84 degrees.

    Args:
        path: a CSV with the columns ``filename, utm_easting, utm_northing`` or ``filename, lat, lon``.
        utm_zone: needed for UTM columns.

    Raises:
        DataError: missing or malformed file, or without those columns.
        ConfigError: UTM columns without a zone.
    """
    types = {c: pa.float64() for c in (*_UTM_COLUMNS, *(c for pair in _DEGREE_COLUMNS for c in pair))}
    types |= dict.fromkeys(_NAME_COLUMNS, pa.string())
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
    values[~values.any(axis=1)] = np.nan  # 0, 0 is what a missing position often became
    if not degrees:
        if utm_zone is None:
            raise ConfigError(f"{path} has UTM positions, whose zone is not known", "give --utm-zone, such as 17N")
        values = utm_to_wgs84(values, utm_zone)
    where: dict[str, tuple[float, float]] = {}
    for key, (lat, lon) in zip(table[names].to_pylist(), values.tolist(), strict=True):
        if key and where.setdefault(_plain(key), (lat, lon)) != (lat, lon):
            where[_plain(key)] = np.nan, np.nan  # two positions of one photo: which is right?
    return where


def sf_xl_position(path: str) -> tuple[float, float] | None:
    """Latitude and longitude from an SF-XL file name, None where the name has another form.

    ``@utm_east@utm_north@zone@letter@lat@lon@pano_id@tile@heading@pitch@roll@height@timestamp@note@.jpg``
    """
    parts = path.rsplit("/", 1)[-1].split("@")
    if len(parts) != 16 or parts[0]:
        return None
    try:
        lat, lon = float(parts[5]), float(parts[6])
    except ValueError:
        return None
    return (lat, lon) if lat or lon else None


def _plain(path: str) -> str:
    """`path` as `safe_relative` writes it."""
    return str(PurePosixPath(path.replace("\\", "/")))
