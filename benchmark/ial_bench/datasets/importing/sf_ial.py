"""Positions and headings that the names of photos' files tell."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ial_bench.datasets.columns import chunks
from ial_bench.datasets.importing.positions import (
    Fault,
    UtmName,
    degree_faults,
    fault_reason,
    from_utm,
    metre_faults,
    parse_sf_xl,
    parse_utm_name,
    tells_no_degrees,
)
from ial_bench.errors import ConfigError
from ial_bench.geo.points import Points, valid
from ial_bench.geo.projections import refuse_unclear_hemisphere, utm_epsg, zone_in_name

_WHERE = "in the file name"


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
    """`points` [n, 2] of photos that look nobody knows where."""
    return Located(points, np.full(len(points), np.nan, np.float32))


def from_names(paths: pa.ChunkedArray, utm_zone: str | None) -> tuple[Located, dict[int, str]]:
    """Of all photos, and by row, why a name tells no usable position.

    Names in SF-XL's form tell degrees. Those of that form without degrees, and all where no name tells degrees, are
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
    told = degree_faults(located.points)
    for row in np.flatnonzero(told).tolist():
        reasons.setdefault(row, fault_reason(Fault(int(told[row])), _WHERE, located.points[row]))
    none_at_all = len(reasons) == len(paths)
    metric: dict[int, UtmName] = {}
    for row in reasons:
        path = paths[row].as_py()
        if (none_at_all or tells_no_degrees(path)) and (utm := parse_utm_name(path)):
            metric[row] = utm
    _from_metres(paths, metric, utm_zone, located, reasons)
    located.headings[located.headings >= 360] = 0.0  # what a float32 rounds to a full turn
    return located, reasons


def _from_metres(
    paths: pa.ChunkedArray, metric: dict[int, UtmName], utm_zone: str | None, located: Located, reasons: dict[int, str]
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
        faults = metre_faults(metres, points)
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
