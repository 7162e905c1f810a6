"""Where the photos of an annotation were taken, and which way they look."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ial_bench.datasets.importing.annotation import Records
from ial_bench.datasets.importing.positions import read_coords
from ial_bench.datasets.importing.report import Reject
from ial_bench.datasets.importing.sf_ial import Located, from_names, without_headings
from ial_bench.datasets.matlab import read_mats
from ial_bench.datasets.places import SAME_PLACE_M
from ial_bench.datasets.table import Bounds
from ial_bench.errors import ConfigError
from ial_bench.geo.points import haversine_m, valid


def locate(
    records: Records,
    files: pa.ChunkedArray,
    rejects: list[Reject],
    notes: list[str],
    coords: Path | None,
    mats: Path | None,
    utm_zone: str | None,
) -> tuple[Located, npt.NDArray[np.bool_]]:
    """Positions from a CSV, from MATLAB files, or from file names if neither is given.

    Args:
        records: n records.
        files: [n] what their photos are called in the data set that they come from, where that is not the path of the
            record; looked up where that path is not known.
        rejects: records without a usable position are added.
        notes: what is odd is added.
        coords: a CSV.
        mats: folder of the MATLAB files of Pitts-250k.
        utm_zone: zone of UTM positions; needed for `mats`.

    Returns:
        where the usable records are, and [n] which are usable.

    Raises:
        DataError: a file is missing, damaged or of another layout.
        ConfigError: UTM positions without a zone, or with one that contradicts them.
    """
    if coords is None and mats is None:
        located, reasons = from_names(records.path, utm_zone)
        usable = valid(located.points)
        rejects.extend(records.rejected(i, reasons[i]) for i in np.flatnonzero(~usable).tolist())
        return located.where(usable), usable
    if mats is not None:
        if utm_zone is None:
            raise ConfigError(f"{mats} has UTM positions, whose zone is not known", "give --utm-zone, such as 17N")
        found, absent = read_mats(mats, utm_zone)
        if absent:
            notes.append(f"{', '.join(absent)} not in {mats}: their photos have no position")
        rows = found.rows(files)
    else:
        found = read_coords(coords or Path(), utm_zone)
        rows = found.rows(records.path)
        if files is not records.path:
            rows = np.where(rows < 0, found.rows(files), rows)
    points = found.at(rows)
    usable = valid(points)
    unusable = np.flatnonzero(~usable)
    absent_rows = unusable[rows[unusable] < 0]
    like = found.like(records.path[int(absent_rows[0])].as_py()) if len(absent_rows) else ""
    rejects.extend(
        records.rejected(i, found.why_none(int(rows[i]), records.path[i].as_py(), like)) for i in unusable.tolist()
    )
    return without_headings(points[usable]), usable


def inside_city(records: Records, located: Located, rejects: list[Reject]) -> tuple[Bounds, npt.NDArray[np.bool_]]:
    """The city's box, and [n] which records lie in it; others are added to `rejects`."""
    if not len(records):
        return Bounds(0.0, 0.0, 0.0, 0.0), np.zeros(0, np.bool_)
    bounds = Bounds.around(located.points)
    inside = bounds.contain(located.points)
    for i in np.flatnonzero(~inside).tolist():
        lat, lon = located.points[i]
        rejects.append(records.rejected(i, f"position far outside the city: {lat:.5f}, {lon:.5f}"))
    return bounds, inside


def note_wide_places(codes: npt.NDArray[np.int64], located: Located, notes: list[str]) -> None:
    """Tell in `notes` if photos of one place, told by `codes` [n], were taken apart."""
    _, first = np.unique(codes, return_index=True)
    apart = haversine_m(located.points, located.points[first][codes])
    if n := len(np.unique(codes[apart > SAME_PLACE_M])):
        notes.append(f"{n:,} places have photos taken apart, by up to {apart.max():,.0f} m from the first of the place")
