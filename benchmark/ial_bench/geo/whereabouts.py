"""Where on Earth photos were taken, in words and numbers: what a wrong zone or hemisphere is seen by."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from ial_bench.geo.points import Points, haversine_m, valid
from ial_bench.geo.regions import region_of

_SAMPLE = 200
_REGIONS = 3


def whereabouts(points: Points) -> str:
    """A line such as ``western United States, latitude 37.70000 to 37.80000, ... (8.8 x 11.1 km)``.

    Regions are told by a rough table and may be several; the box is that of all points, across the antimeridian where
    that is shorter.

    Args:
        points: [n, 2] degrees; those that are not finite or out of range do not count.
    """
    points = points[valid(points)]
    if not len(points):
        return "nowhere: there are no positions"
    (south, north), (west, east) = (points[:, 0].min(), points[:, 0].max()), _shortest_arc(points[:, 1])
    middle = (south + north) / 2
    ends = np.array([[middle, west], [middle, (west + east) / 2], [middle, east], [south, west], [north, west]])
    width = haversine_m(ends[0], ends[1]) + haversine_m(ends[1], ends[2])  # in two parts: it may pass half the Earth
    height = haversine_m(ends[3], ends[4])
    counts = Counter(region_of(lat, lon) for lat, lon in points[:: -(-len(points) // _SAMPLE)].tolist())
    regions = "; ".join(name for name, _ in counts.most_common(_REGIONS)) + ("; ..." if len(counts) > _REGIONS else "")
    return (
        f"{regions}, latitude {south:.5f} to {north:.5f}, longitude {west:.5f} to {_wrapped(east):.5f} "
        f"({width / 1000:,.1f} x {height / 1000:,.1f} km)"
    )


def _shortest_arc(lon: npt.NDArray[np.float64]) -> tuple[float, float]:
    """West and east end of the shortest arc that holds all longitudes; the east end may pass 180."""
    ordered = np.unique(lon)
    gaps = np.diff(ordered, append=ordered[0] + 360)
    widest = int(gaps.argmax())
    if widest == len(ordered) - 1:
        return float(ordered[0]), float(ordered[-1])
    return float(ordered[widest + 1]), float(ordered[widest]) + 360


def _wrapped(lon: float) -> float:
    return lon - 360 if lon > 180 else lon
