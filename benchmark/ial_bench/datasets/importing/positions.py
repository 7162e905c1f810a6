"""Positions of photos: from a CSV, in UTM metres or degrees, and the faults that one may have."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ial_bench.datasets.columns import mapped, numbered, read_csv
from ial_bench.datasets.importing.photo_files import posix_path, rows_of
from ial_bench.errors import ConfigError, DataError
from ial_bench.geo.points import Points, valid
from ial_bench.geo.projections import refuse_unclear_hemisphere, utm_to_wgs84

_NAME_COLUMNS = ("filename", "file", "path", "image")
_UTM_COLUMNS = ("utm_easting", "utm_northing")
_LATITUDES, _LONGITUDES = ("lat", "latitude"), ("lon", "lng", "longitude")
_FARTHEST_NORTHING_M = 2e7  # pole to pole, whichever hemisphere northings count from


class Fault(IntEnum):
    """Why there is no position."""

    NONE = 0
    EMPTY = 1
    ZERO = 2
    NOT_FINITE = 3
    OUT_OF_RANGE = 4
    CONTRADICTORY = 5


@dataclass(frozen=True)
class Coords:
    """Positions by photo path.

    Attributes:
        source: what they come from, for messages.
        paths: text [n], without repetition.
        points: [n, 2] WGS84 degrees, NaN where the source gives none or contradicts itself.
        given: [n, 2], the numbers of the source.
        faults: int8 [n], a `Fault` each.
    """

    source: str
    paths: pa.Array
    points: Points
    given: Points
    faults: npt.NDArray[np.int8]

    @classmethod
    def of(
        cls, source: str, paths: pa.ChunkedArray, points: Points, given: Points, faults: npt.NDArray[np.int8]
    ) -> Coords:
        """Of `paths` that may be listed several times; if their positions differ, they become NaN."""
        codes, distinct = numbered(paths)
        _, first = np.unique(codes, return_index=True)
        chosen, chosen_faults = points[first], faults[first]
        differs = ~((points == chosen[codes]) | (np.isnan(points) & np.isnan(chosen[codes]))).all(axis=1)
        chosen[codes[differs]] = np.nan
        chosen_faults[codes[differs]] = Fault.CONTRADICTORY
        return cls(source, distinct.cast(pa.string()), chosen, given[first], chosen_faults)

    def rows(self, paths: pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """[m]: the row of each of other `paths`, -1 where there is none."""
        return rows_of(paths, self.paths)

    def at(self, rows: npt.NDArray[np.int64]) -> Points:
        """[m, 2]: the positions of `rows`, NaN for -1."""
        found = np.full((len(rows), 2), np.nan)
        found[rows >= 0] = self.points[rows[rows >= 0]]
        return found

    def why_none(self, row: int, path: str, like: str) -> str:
        """Why the photo at `path`, in row `row`, has no usable position; `like` is from the method of that name."""
        if row < 0:
            return f"position missing: no row of {self.source} is called {path}; {like}"
        return fault_reason(Fault(int(self.faults[row])), f"in {self.source}", self.given[row])

    def like(self, path: str) -> str:
        """An example of a row, with the same file name as `path` if there is one."""
        if not len(self.paths):
            return "it has no rows"
        row = pc.index(pc.replace_substring_regex(self.paths, "^.*/", ""), path.rpartition("/")[2]).as_py()
        return f"its rows look like {self.paths[max(row, 0)]}"


def faults_of(given: Points, points: Points) -> npt.NDArray[np.int8]:
    """[n]: a `Fault` for each position.

    Args:
        given: [n, 2], the numbers of the source, in degrees or metres.
        points: [n, 2], the same in WGS84 degrees.
    """
    faults = np.zeros(len(given), np.int8)
    faults[~valid(points)] = Fault.OUT_OF_RANGE
    faults[~given.any(axis=1)] = Fault.ZERO
    faults[~np.isfinite(given).all(axis=1)] = Fault.NOT_FINITE
    return faults


def fault_reason(fault: Fault, where: str, given: Points) -> str:
    """The reason of a record; the part before its colon is the same for all records with that fault.

    Args:
        fault: what is wrong.
        where: such as ``in coords.csv``.
        given: [2], the numbers.
    """
    numbers = f"{given[0]:.10g}, {given[1]:.10g} {where}"
    if fault is Fault.EMPTY:
        return f"position empty: its row {where} lacks a number"
    if fault is Fault.ZERO:
        return f"position 0, 0: {where}, which stands for none"
    if fault is Fault.CONTRADICTORY:
        return f"position contradictory: {where} it has several, {given[0]:.10g}, {given[1]:.10g} and another"
    return f"position not finite: {numbers}" if fault is Fault.NOT_FINITE else f"position out of range: {numbers}"


def read_coords(path: Path, utm_zone: str | None) -> Coords:
    """Positions by photo path.

    Args:
        path: a CSV with the columns ``filename, utm_easting, utm_northing`` or ``filename, lat, lon``.
        utm_zone: needed for UTM columns.

    Raises:
        DataError: missing or malformed file, without those columns, or with what is no number in them.
        ConfigError: UTM columns without a zone, or with one that leaves the hemisphere open.
    """
    table = read_csv(path, "--coords")
    header = table.header
    names = table.first_of(_NAME_COLUMNS)
    lat, lon = table.first_of(_LATITUDES), table.first_of(_LONGITUDES)
    degrees = None if lat is None or lon is None else (lat, lon)
    metres = set(_UTM_COLUMNS) <= set(header)
    if names is None or not (degrees or metres):
        raise DataError(
            f"{path} has the columns {', '.join(header)}",
            "name them, each once: filename,utm_easting,utm_northing or filename,lat,lon",
        )
    cells = [table.numbers(c, whole=not degrees) for c in degrees or _UTM_COLUMNS]
    for column, found in zip(degrees or _UTM_COLUMNS, cells, strict=True):
        if found.odd.any():
            shown = table.texts(column)[int(np.flatnonzero(found.odd)[0])].as_py()
            raise DataError(
                f"{path}: {int(found.odd.sum()):,} cells of {column} are no numbers, such as {shown!r}",
                "write numbers with a point, and without marks between thousands",
            )
    values = np.stack([found.values for found in cells], axis=1)
    if not degrees and utm_zone is None:
        raise ConfigError(f"{path} has UTM positions, whose zone is not known", "give --utm-zone, such as 17N")
    points = _no_zeros(values) if degrees else from_utm(values, utm_zone or "")
    faults = faults_of(values, points)
    faults[np.logical_or(*(found.empty for found in cells))] = Fault.EMPTY
    paths = table.texts(names)
    named = np.asarray(pc.not_equal(paths, "").to_numpy(), dtype=bool)
    called = mapped(paths.filter(pa.array(named)), posix_path)
    return Coords.of(path.name, called, points[named], values[named], faults[named])


def _no_zeros(values: Points) -> Points:
    """`values` [n, 2] with NaN in place of 0, 0, which is what a missing position often became."""
    return np.where(values.any(axis=1, keepdims=True), values, np.nan)


def from_utm(values: Points, zone: str) -> Points:
    """WGS84 degrees [n, 2] of UTM easting and northing [n, 2]; NaN for what is no position.

    That is 0, 0, which lies in the zone but in no city, and northings beyond a pole, which the formulas would accept.

    Raises:
        ConfigError: no zone, or one whose letter leaves open which hemisphere `values` are of.
    """
    refuse_unclear_hemisphere(zone, values)
    points = utm_to_wgs84(_no_zeros(values), zone)
    points[np.abs(values[:, 1]) > _FARTHEST_NORTHING_M] = np.nan
    return points


@dataclass(frozen=True)
class Located:
    """Positions and headings of n photos.

    Attributes:
        points: [n, 2] WGS84 degrees.
        headings: [n] degrees clockwise from north, NaN where unknown.
    """

    points: Points
    headings: npt.NDArray[np.float32]

    def where(self, mask: npt.NDArray[np.bool_]) -> Located:
        """Those where `mask` [n] is True."""
        return Located(self.points[mask], self.headings[mask])


def without_headings(points: Points) -> Located:
    """`points` [n, 2] of photos with unknown headings."""
    return Located(points, np.full(len(points), np.nan, np.float32))
