"""Planes in metres: around an origin true to distance or to area, and UTM with its zones as people write them.

``S`` at the end of a zone is two things: the southern hemisphere, and the band of latitude from 32° to 40° north. Where
metres fit the band, they lie between 60° and 50° south if they are read as southern, which is almost uninhabited: the
user is asked, nothing is guessed.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from ial_bench.errors import ConfigError
from ial_bench.geo.points import EARTH_RADIUS_M, Points, middle, points_of, unit_vectors

_ZONE = re.compile(r"^(?P<number>\d{1,2})(?P<band>[A-Z])$", re.IGNORECASE)
_NUMBER = re.compile(r"0?[1-9]|[1-5]\d|60")
_BANDS = "CDEFGHJKLMNPQRSTUVWX"
"""Of 8 degrees each from 80° south; the last reaches 84° north."""
_SOUTHERN_BANDS = _BANDS[: _BANDS.index("N")]
_BAND_S = (32.0, 40.0)
_SAMPLE = 1000


def to_local_m(points: Points, origin: Points) -> npt.NDArray[np.float64]:
    """[..., 2]: metres east and north of `origin` [2]; distance and direction from it are the great circle's.

    The azimuthal equidistant projection of the sphere. Right everywhere but at the origin's antipode, which has no
    direction. At a pole, east and north are those of the origin's own longitude.

    Args:
        points: [..., 2], degrees.
        origin: [2], degrees.
    """
    up, east, north = _axes(origin)
    vectors = unit_vectors(points)
    plane = np.stack([vectors @ east, vectors @ north], axis=-1)
    sine = np.linalg.norm(plane, axis=-1, keepdims=True)
    angle = np.arctan2(sine, (vectors @ up)[..., None])
    return np.asarray(EARTH_RADIUS_M * np.where(sine > 0, plane / np.where(sine > 0, sine, 1.0) * angle, 0.0))


def from_local_m(metres: npt.NDArray[np.float64], origin: Points) -> Points:
    """[..., 2]: degrees of the points that lie `metres` [..., 2] east and north of `origin` [2]."""
    up, east, north = _axes(origin)
    length = np.linalg.norm(metres, axis=-1, keepdims=True)
    angle = length / EARTH_RADIUS_M
    direction = metres / np.where(length > 0, length, 1.0)
    return points_of(np.cos(angle) * up + np.sin(angle) * (direction[..., :1] * east + direction[..., 1:] * north))


def _axes(origin: Points) -> tuple[Points, Points, Points]:
    """Unit vectors up, east and north at a point."""
    lat, lon = np.radians(origin)
    east = np.array([-np.sin(lon), np.cos(lon), 0.0])
    north = np.array([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)])
    return unit_vectors(np.asarray(origin, dtype=np.float64)), east, north


def to_equal_area_m(points: Points, origin: Points) -> npt.NDArray[np.float64]:
    """[n, 2]: metres east and north of `origin` [2] on the plane on which every region has its true area.

    Lambert's azimuthal projection of the WGS84 ellipsoid. Centred on the origin, so neither a pole nor the antimeridian
    is special, and within 20 km of it lengths are true to a hundred-thousandth as well. A projection of the whole globe
    that keeps areas, such as Equal Earth, stretches one direction at the cost of the other away from its own middle.
    Right everywhere but at the origin's antipode, which is no single point.

    Args:
        points: [n, 2], degrees.
        origin: [2], degrees.
    """
    from pyproj import Proj

    if len(points) == 0:
        return np.zeros((0, 2))
    lat, lon = (float(v) for v in origin)
    plane = Proj(proj="laea", lat_0=lat, lon_0=lon, ellps="WGS84")
    east, north = plane(points[:, 1], points[:, 0])
    return np.stack([east, north], axis=-1).astype(np.float64)


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
    if not 1 <= number <= 60 or band not in _BANDS:
        raise ConfigError(f"{zone!r} is not a UTM zone", "write the zone and the hemisphere, such as 17N or 56S")
    return _epsg(number, southern=band == "S" or band in _SOUTHERN_BANDS)


def _epsg(number: int, *, southern: bool) -> int:
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


def utm_metres(points: Points) -> Points:
    """[n, 2]: easting and northing in metres, all in the UTM zone of their mean position.

    One zone for all, so that a city on a zone's border is not torn apart.
    """
    from pyproj import Transformer

    if len(points) == 0:
        return np.zeros((0, 2))
    lat, lon = middle(points)
    number = int((lon + 180) // 6) % 60 + 1
    transformer = Transformer.from_crs(4326, _epsg(number, southern=lat < 0), always_xy=True)
    east, north = transformer.transform(points[:, 1], points[:, 0])
    return np.stack([east, north], axis=-1).astype(np.float64)


def zone_in_name(number: str, letter: str, metres: Points) -> str | None:
    """The zone that a file name's ``@10@S@`` means, as `utm_epsg` reads it; None where it is none.

    The letter is a band of latitude in this form, and taken for the hemisphere where its `metres` do not fit band S.

    Args:
        number: of the zone.
        letter: of the band.
        metres: [n, 2] easting and northing of photos whose names have this zone.
    """
    letter = letter.upper()
    if not _NUMBER.fullmatch(number) or len(letter) != 1 or letter not in _BANDS:
        return None
    return f"{number}N" if letter == "S" and _fit_band_s(number, metres) else f"{number}{letter}"


def refuse_unclear_hemisphere(zone: str, metres: Points) -> None:
    """Ask which hemisphere is meant where `zone` is such as ``10S`` and most of `metres` [n, 2] fit band S.

    Raises:
        ConfigError: they do, or it is no zone.
    """
    utm_epsg(zone)
    number, letter = zone.strip()[:-1], zone.strip()[-1].upper()
    if letter != "S" or not _fit_band_s(number, metres):
        return
    southern = utm_to_wgs84(_some(metres), f"{number}S")[:, 0]
    lat = float(np.nanmedian(southern))
    band = _BANDS[int((np.clip(lat, -80, -1) + 80) // 8)]
    raise ConfigError(
        f"zone {number}S may mean the southern hemisphere, where these positions lie at latitude {lat:.1f}, or "
        f"latitude band S of the northern hemisphere (32 to 40), where they lie at "
        f"{np.nanmedian(utm_to_wgs84(_some(metres), f'{number}N')[:, 0]):.1f}",
        f"give {number}N if they are of the northern hemisphere, {number}{band} if they are of the southern one",
    )


def _fit_band_s(number: str, metres: Points) -> bool:
    """Whether most of `metres` lie in latitude band S if they are of the northern hemisphere."""
    lat = utm_to_wgs84(_some(metres), f"{number}N")[:, 0]
    lat = lat[np.isfinite(lat)]
    return bool(len(lat)) and float(((lat >= _BAND_S[0]) & (lat <= _BAND_S[1])).mean()) > 0.5


def _some(metres: Points) -> Points:
    """A sample of those that are positions at all."""
    sound = metres[np.isfinite(metres).all(axis=1) & metres.any(axis=1)]
    return sound[:: max(1, len(sound) // _SAMPLE)]
