"""Reverse geocoders: what a position is called. One of towns, without a network; `service` has those that are asked."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ial_bench.errors import SkipMethod
from ial_bench.geo.points import Points

# Where services put the name of a street, and those of the parts of a city, from the smallest to the largest.
_STREET_KEYS = ("road", "street", "route", "pedestrian", "footway", "residential", "path", "square", "streetname")
_AREA_KEYS = (
    "neighbourhood", "neighborhood", "quarter", "suburb", "locality", "sublocality", "city_district", "district",
    "borough", "hamlet", "village", "town", "city",
)  # fmt: skip


@dataclass(frozen=True)
class PlaceName:
    """What a geocoder calls a position.

    Attributes:
        streets: names of the street it is on, the likeliest first; none where it is on no named one.
        areas: names of parts of the city it lies in, the smallest first.
    """

    streets: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()


class ReverseGeocoder(Protocol):
    """Looks up what a position is called."""

    def names(self, positions: Points) -> list[PlaceName | None]:
        """The name of each position [n, 2]; None where it has none."""
        ...

    def facts(self) -> Mapping[str, Any]:
        """What is worth keeping in a run's record. JSON values."""
        ...


class NearestTown:
    """City and district of a position, from GeoNames' towns of more than 1,000 people, by the reverse_geocoder package.

    It knows no streets: as the look-up of a pipeline it answers nothing, and its row in a table shows that.

    Raises:
        SkipMethod: the package is not installed.
    """

    def __init__(self) -> None:
        try:
            import reverse_geocoder
        except ImportError as error:
            raise SkipMethod("reverse_geocoder is not installed: pip install 'ial-bench[geo]'") from error
        # Given its own table as a stream, it neither prints, nor starts processes, nor leaves a file open.
        table = Path(reverse_geocoder.__file__).with_name(reverse_geocoder.RG_FILE)
        stream = io.StringIO(table.read_text(encoding="utf-8"))
        self._geocoder = reverse_geocoder.RGeocoder(mode=1, verbose=False, stream=stream)
        self._towns = set[str]()

    def names(self, positions: Points) -> list[PlaceName | None]:
        """Town, district and region."""
        found = self._geocoder.query([tuple(p) for p in positions.tolist()]) if len(positions) else []
        self._towns.update(one["name"] for one in found)
        return [PlaceName(areas=tuple(one[k] for k in ("name", "admin2", "admin1") if one[k])) for one in found]

    def facts(self) -> Mapping[str, Any]:
        """The towns it named, ten at most."""
        return {"towns": sorted(self._towns)[:10]}


def parts_of(raw: Any, text: str = "") -> PlaceName:
    """The names in a service's answer.

    Read are the layouts of Nominatim (``address``), Photon (``properties``) and Google (``address_components``), and
    whatever else has keys of their names. Without any, the parts between the commas of `text` may be either.

    Args:
        raw: the answer, JSON.
        text: its address in one line.
    """
    found = _named(raw)
    streets = [found[key] for key in _STREET_KEYS if key in found]
    areas = [found[key] for key in _AREA_KEYS if key in found]
    if not found:
        # A line may begin with a house number.
        streets = areas = [clean for part in text.split(",") if (clean := re.sub(r"^\s*\d+\w?\s+", "", part).strip())]
    return PlaceName(tuple(dict.fromkeys(streets)), tuple(dict.fromkeys(areas)))


def _named(raw: Any) -> dict[str, str]:
    if not isinstance(raw, Mapping):
        return {}
    if isinstance(components := raw.get("address_components"), list):
        return {
            str(kind): str(one["long_name"])
            for one in reversed(components)  # the first of a kind counts
            if isinstance(one, Mapping) and one.get("long_name")
            for kind in one.get("types", ())
        }
    parts = next((raw[k] for k in ("address", "properties") if isinstance(raw.get(k), Mapping)), raw)
    return {
        k.casefold(): v for k, v in parts.items() if k.casefold() in {*_STREET_KEYS, *_AREA_KEYS} and isinstance(v, str)
    }
