"""SF-IAL: positions, headings and panoramas in the file names of SF-XL.

``@utm_east@utm_north@zone@letter@lat@lon@pano_id@tile@heading@pitch@roll@height@timestamp@note@.jpg``
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from ial_bench.datasets.columns import chunks
from ial_bench.datasets.importing.positions import (
    Fault,
    Located,
    fault_reason,
    faults_of,
    from_utm,
    without_headings,
)
from ial_bench.errors import ConfigError
from ial_bench.geo.points import heading_of, valid
from ial_bench.geo.projections import refuse_unclear_hemisphere, utm_epsg, zone_in_name

_FIELDS = 14
_UTM_FIELDS = 2
_WHERE = "in the file name"


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
    """Read an SF-XL file name; of one in another form, say what is wrong with it."""
    before, *fields = path.rsplit("/", 1)[-1].split("@")
    if before or len(fields) != _FIELDS + 1:
        return "the file name is not @ and 14 fields, each ending in @"
    try:
        lat, lon = float(fields[4]), float(fields[5])
    except ValueError:
        return f"latitude {fields[4]!r} or longitude {fields[5]!r} in the file name is not a number"
    if not (lat or lon):
        return "the file name has the position 0, 0"
    return SfXlName(lat, lon, fields[6], _heading(fields[8]))


class _UtmName(NamedTuple):
    """What the file name of a photo says that is known by its UTM position.

    Attributes:
        easting: metres.
        northing: metres.
        number: of the zone, as it is written; empty where there is none.
        letter: of the zone's band of latitude; empty where there is none.
        heading: degrees clockwise from north, NaN where there is none.
    """

    easting: float
    northing: float
    number: str
    letter: str
    heading: float


def _parse_utm_name(path: str) -> _UtmName | None:
    """Read a file name that begins ``@utm_east@utm_north@``, as SF-XL's do; None for one that does not.

    Zone and band are its next two fields; the heading is read from SF-XL's form alone.
    """
    before, *fields = path.rsplit("/", 1)[-1].split("@")
    if before or len(fields) < _UTM_FIELDS + 1:
        return None
    try:
        easting, northing = float(fields[0]), float(fields[1])
    except ValueError:
        return None
    number, letter = (fields[2], fields[3]) if len(fields) > _UTM_FIELDS + 2 else ("", "")
    whole = len(fields) == _FIELDS + 1
    return _UtmName(easting, northing, number, letter, _heading(fields[8]) if whole else math.nan)


def _lacks_degrees(path: str) -> bool:
    """Whether the file name at `path` is of SF-XL's form, but for an empty latitude and longitude."""
    fields = path.rsplit("/", 1)[-1].split("@")
    return len(fields) == _FIELDS + 2 and not (fields[0] or fields[5] or fields[6])


def _heading(text: str) -> float:
    """As of `heading_of`; NaN where `text` is no number."""
    try:
        return heading_of(text)
    except ValueError:
        return math.nan


def from_names(paths: pa.ChunkedArray, utm_zone: str | None) -> tuple[Located, dict[int, str]]:
    """Positions and headings of all photos, and by row, why a name has no usable position.

    Names in SF-XL's form have degrees. Those of that form without degrees, and all where no name has degrees, are
    read as ``@utm_east@utm_north@zone@letter@``.

    Args:
        paths: [n].
        utm_zone: of UTM positions in names that have no zone.

    Raises:
        ConfigError: UTM positions without a zone, or with another than `utm_zone`.
    """
    located = without_headings(np.full((len(paths), 2), np.nan))
    reasons: dict[int, str] = {}
    points, headings, i = located.points, located.headings, 0
    for chunk in chunks(paths):
        for path in chunk:
            name = parse_sf_xl(path)
            if isinstance(name, str):
                kind = "position 0, 0" if name.endswith(" 0, 0") else "position missing"
                reasons[i] = f"{kind}: no --coords, and none {_WHERE} ({name})"
            else:
                points[i] = name.lat, name.lon
                headings[i] = name.heading
            i += 1
    faults = faults_of(points, points)
    for row in np.flatnonzero(faults).tolist():
        reasons.setdefault(row, fault_reason(Fault(int(faults[row])), _WHERE, located.points[row]))
    none_at_all = len(reasons) == len(paths)
    metric: dict[int, _UtmName] = {}
    for row in reasons:
        path = paths[row].as_py()
        if (none_at_all or _lacks_degrees(path)) and (utm := _parse_utm_name(path)):
            metric[row] = utm
    _from_metres(paths, metric, utm_zone, located, reasons)
    located.headings[located.headings >= 360] = 0.0  # what a float32 rounds to a full turn
    return located, reasons


def _from_metres(
    paths: pa.ChunkedArray, metric: dict[int, _UtmName], utm_zone: str | None, located: Located, reasons: dict[int, str]
) -> None:
    """Put the positions of `metric`, by row, into `located`, and take their rows out of `reasons`, or say why not."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, name in metric.items():
        groups[name.number, name.letter].append(row)
    for (number, letter), rows in groups.items():
        metres = np.array([metric[row][:2] for row in rows], dtype=np.float64)
        zone = zone_in_name(number, letter, metres)
        if zone is None and utm_zone is None:
            for row in rows:
                reasons[row] = f"position without a zone: UTM metres {_WHERE}, but no zone; --utm-zone tells it"
            continue
        if zone is not None and utm_zone is not None:
            refuse_unclear_hemisphere(utm_zone, metres)
            if utm_epsg(zone) != utm_epsg(utm_zone):
                raise ConfigError(
                    f"--utm-zone {utm_zone} is not that of file names, such as {paths[rows[0]].as_py()}",
                    f"leave it out: the names tell their zone, {zone}",
                )
        points = from_utm(metres, zone or utm_zone or "")
        faults = faults_of(metres, points)
        for k, row in enumerate(rows):
            if faults[k]:
                reasons[row] = fault_reason(Fault(int(faults[k])), _WHERE, metres[k])
            else:
                del reasons[row]
        located.points[rows] = points
        located.headings[rows] = [metric[row].heading for row in rows]
    if metric and not valid(located.points).any() and all("--utm-zone" in reasons[row] for row in metric):
        raise ConfigError(
            f"file names have UTM positions whose zone is not known, such as {paths[next(iter(metric))].as_py()}",
            "give --utm-zone, such as 10N",
        )
