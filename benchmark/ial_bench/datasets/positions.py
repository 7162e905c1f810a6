"""Where the photos of an annotation were taken, and which way they look."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ial_bench.datasets.annotation import Records
from ial_bench.datasets.columns import chunks
from ial_bench.datasets.coords import parse_sf_xl, read_coords
from ial_bench.datasets.matlab import read_mats
from ial_bench.datasets.places import SAME_PLACE_M
from ial_bench.datasets.rejects import Reject
from ial_bench.datasets.table import Bounds
from ial_bench.errors import ConfigError
from ial_bench.geo.points import Points, haversine_m, valid


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


def locate(
    records: Records,
    rejects: list[Reject],
    notes: list[str],
    coords: Path | None,
    mats: Path | None,
    utm_zone: str | None,
) -> tuple[Located, npt.NDArray[np.bool_]]:
    """Positions from a CSV, from MATLAB files, or from file names if neither is given.

    Args:
        records: n records.
        rejects: records without a usable position are added.
        notes: what is odd is added.
        coords: a CSV.
        mats: folder of the MATLAB files of Pitts-250k.
        utm_zone: zone of UTM positions; needed for `mats`.

    Returns:
        where the usable records are, and [n] which are usable.

    Raises:
        DataError: a file is missing, damaged or of another layout.
        ConfigError: UTM positions without a zone.
    """
    if coords is None and mats is None:
        located, reasons = _from_names(records)
    elif mats is not None:
        if utm_zone is None:
            raise ConfigError(f"{mats} has UTM positions, whose zone is not known", "give --utm-zone, such as 17N")
        found, absent = read_mats(mats, utm_zone)
        if absent:
            notes.append(f"{', '.join(absent)} not in {mats}: their photos have no position")
        located, reasons = _without_headings(found.look_up(records.path)), {}
    else:
        located, reasons = _without_headings(read_coords(coords or Path(), utm_zone).look_up(records.path)), {}
    usable = valid(located.points)
    otherwise = "position missing, contradictory, 0, 0 or not finite and in range"
    rejects.extend(records.rejected(i, reasons.get(i, otherwise)) for i in np.flatnonzero(~usable).tolist())
    return located.where(usable), usable


def _without_headings(points: Points) -> Located:
    return Located(points, np.full(len(points), np.nan, np.float32))


def _from_names(records: Records) -> tuple[Located, dict[int, str]]:
    """Of all records, and by row, why a name tells no position."""
    located = _without_headings(np.full((len(records), 2), np.nan))
    reasons: dict[int, str] = {}
    i = 0
    for chunk in chunks(records.path):
        for path in chunk:
            name = parse_sf_xl(path)
            if isinstance(name, str):
                reasons[i] = f"position missing: no --coords, and none in the file name ({name})"
            else:
                located.points[i] = name.lat, name.lon
                located.headings[i] = name.heading
            i += 1
    return located, reasons


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
