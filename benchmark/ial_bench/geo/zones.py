"""UTM zones as people and file names write them, where a letter may be a hemisphere or a band of latitude.

``S`` is both: the southern hemisphere, and the band from 32° to 40° north. Where metres fit the band, they lie between
60° and 50° south if they are read as southern, where hardly anybody lives: that is asked about, never guessed.
"""

from __future__ import annotations

import re

import numpy as np

from ial_bench.errors import ConfigError
from ial_bench.geo.points import Points, utm_epsg, utm_to_wgs84

_BANDS = "CDEFGHJKLMNPQRSTUVWX"
"""Of 8 degrees each from 80° south; the last goes on to 84° north."""
_BAND_S = (32.0, 40.0)
_SAMPLE = 1000
_NUMBER = re.compile(r"0?[1-9]|[1-5]\d|60")


def zone_in_name(number: str, letter: str, metres: Points) -> str | None:
    """The zone that a file name's ``@10@S@`` means, as `utm_epsg` reads it; None where it tells none.

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
    middle = float(np.nanmedian(southern))
    band = _BANDS[int((np.clip(middle, -80, -1) + 80) // 8)]
    raise ConfigError(
        f"zone {number}S may mean the southern hemisphere, where these positions lie at latitude {middle:.1f}, or "
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
