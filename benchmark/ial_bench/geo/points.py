"""Points in WGS84 degrees: distances, means, projections. Arrays are [..., 2]: latitude, longitude."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from ial_bench.errors import ConfigError

EARTH_RADIUS_M = 6_371_008.8
"""Mean radius of the WGS84 ellipsoid, (2a + b) / 3."""

Points = npt.NDArray[np.float64]
_ZONE = re.compile(r"^(?P<number>\d{1,2})(?P<band>[A-Z])$", re.IGNORECASE)
_NORTHERN_BANDS = "NPQRSTUVWX"
_SOUTHERN_BANDS = "CDEFGHJKLM"


def haversine_m(a: Points, b: Points) -> npt.NDArray[np.float64]:
    """Great-circle distance in metres between [..., 2] and [..., 2] (broadcast).

    On a sphere of the Earth's mean radius: within 0.6 % of the geodesic on the ellipsoid.
    """
    lat_a, lon_a = np.radians(a[..., 0]), np.radians(a[..., 1])
    lat_b, lon_b = np.radians(b[..., 0]), np.radians(b[..., 1])
    h = np.sin((lat_b - lat_a) / 2) ** 2 + np.cos(lat_a) * np.cos(lat_b) * np.sin((lon_b - lon_a) / 2) ** 2
    return np.asarray(2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.clip(h, 0.0, 1.0))))


def unit_vectors(points: Points) -> npt.NDArray[np.float64]:
    """[..., 3]: the points on the unit sphere, where nearest in space is nearest on the Earth."""
    lat, lon = np.radians(points[..., 0]), np.radians(points[..., 1])
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def centroids(points: Points, groups: npt.NDArray[np.integer], n_groups: int) -> Points:
    """[n_groups, 2]: the mean position of each group, right across the antimeridian; NaN for an empty one.

    Args:
        points: [n, 2].
        groups: [n], 0..n_groups - 1.
        n_groups: number of groups.
    """
    vectors = unit_vectors(points)
    sums = np.stack([np.bincount(groups, vectors[:, axis], minlength=n_groups) for axis in range(3)], axis=-1)
    lat = np.degrees(np.arctan2(sums[:, 2], np.hypot(sums[:, 0], sums[:, 1])))
    lon = np.degrees(np.arctan2(sums[:, 1], sums[:, 0]))
    means = np.stack([lat, lon], axis=-1)
    means[np.bincount(groups, minlength=n_groups) == 0] = np.nan
    return means


def valid(points: Points) -> npt.NDArray[np.bool_]:
    """[n]: whether each is finite and a latitude within 90 and a longitude within 180 degrees."""
    return np.asarray((np.isfinite(points) & (np.abs(points) <= np.array([90.0, 180.0]))).all(axis=-1))


def utm_epsg(zone: str) -> int:
    """The EPSG code of a UTM zone such as ``17N``, ``31N`` or ``10S`` (with a band letter: ``10T``).

    ``N`` and ``S`` alone are read as the hemispheres; as band letters, N is just north of the equator too,
    and S, a northern band (32° to 40°), must be written as the hemisphere ``N``.

    Raises:
        ConfigError: not a zone.
    """
    match = _ZONE.match(zone.strip())
    number = int(match["number"]) if match else 0
    band = match["band"].upper() if match else ""
    if not 1 <= number <= 60 or (band not in _NORTHERN_BANDS and band != "S" and band not in _SOUTHERN_BANDS):
        raise ConfigError(f"{zone!r} is not a UTM zone", "write the zone and the hemisphere, such as 17N or 56S")
    southern = band == "S" or band in _SOUTHERN_BANDS
    return (32700 if southern else 32600) + number


def utm_to_wgs84(easting_northing: Points, zone: str) -> Points:
    """[n, 2] UTM metres (easting, northing) to [n, 2] WGS84 degrees (latitude, longitude).

    A point outside the projection becomes NaN; it is the caller's to report.
    """
    from pyproj import Transformer

    transformer = Transformer.from_crs(utm_epsg(zone), 4326, always_xy=True)
    lon, lat = transformer.transform(easting_northing[:, 0], easting_northing[:, 1])
    points = np.stack([lat, lon], axis=-1).astype(np.float64)
    points[~np.isfinite(points).all(axis=1)] = np.nan
    return points
