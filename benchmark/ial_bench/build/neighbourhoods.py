"""Which neighbourhood a sub-street lies in: by polygons, by the street map's own word, or by the nearest place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ial_bench.build.geojson_streets import NotNumbersError, read_features
from ial_bench.build.names import StreetNamer
from ial_bench.build.noding import shapely
from ial_bench.build.partition import SubStreet
from ial_bench.errors import DataError
from ial_bench.geo.points import Points, haversine_m

_NAMES = ("name", "neighbourhood", "neighborhood", "nhood", "NAME", "Name", "title")


class Neighbourhoods(Protocol):
    """Names the part of the city."""

    def of(self, sub: SubStreet) -> str:
        """The neighbourhood of a sub-street; empty where none is known."""
        ...


class ByAttribute:
    """The one that most of the sub-street's length has in the street map."""

    def of(self, sub: SubStreet) -> str:
        """Of equals, the first by name."""
        shares: dict[str, float] = defaultdict(float)
        for piece in sub.pieces:
            if piece.neighbourhood:
                shares[piece.neighbourhood] += piece.length_m
        return min(shares, key=lambda n: (-shares[n], n)) if shares else ""


class ByNearestPlace:
    """The named place nearest to the sub-street's middle.

    Args:
        places: (name, lat, lon).
    """

    def __init__(self, places: Sequence[tuple[str, float, float]]) -> None:
        ordered = sorted(places)
        self._names = [name for name, _, _ in ordered]
        self._positions = np.array([(lat, lon) for _, lat, lon in ordered])

    def of(self, sub: SubStreet) -> str:
        """The nearest, however far."""
        return self._names[int(haversine_m(self._positions, middle(sub)).argmin())] if self._names else ""


class ByPolygon:
    """The polygon that most of the sub-street's length lies in.

    Args:
        path: GeoJSON of polygons with names.
        name_key: their property; None: the first of the usual ones.

    Raises:
        DataError: not GeoJSON, or without polygons that have a name.
    """

    def __init__(self, path: Path, name_key: str | None = None) -> None:
        lib = shapely()
        features, degrees = read_features(path, None)
        found = []
        for feature in features:
            told, geometry = feature.get("properties") or {}, feature.get("geometry") or {}
            name = next((told[k] for k in ((name_key,) if name_key else _NAMES) if told.get(k)), None)
            for rings in _polygons(geometry):
                try:
                    shell, *holes = [degrees(ring)[:, ::-1] for ring in rings]
                    if name:
                        found.append((str(name), lib.make_valid(lib.Polygon(shell, holes))))
                except (NotNumbersError, TypeError, ValueError):
                    continue  # a ring that is none; counted below if nothing is left
        if not found:
            raise DataError(f"no polygon with a name in {path}", "give GeoJSON of polygons, their names in `name`")
        found.sort(key=lambda f: (f[0], f[1].wkb))
        self._names = [name for name, _ in found]
        self._shapes = [shape for _, shape in found]
        self._tree = lib.STRtree(self._shapes)

    def of(self, sub: SubStreet) -> str:
        """Of equals, the first by name; empty where it lies in none."""
        lib = shapely()
        lines = lib.MultiLineString([line[:, ::-1] for line in sub.lines])
        near = self._tree.query(lines, predicate="intersects").tolist()
        shares: dict[str, float] = defaultdict(float)
        for i in near:
            shares[self._names[i]] += lib.length(lib.intersection(lines, self._shapes[i]))
        return min(shares, key=lambda n: (-shares[n], n)) if shares else ""


def _polygons(geometry: dict[str, Any]) -> list[Any]:
    """The rings of each polygon."""
    coordinates = geometry.get("coordinates") or []
    kinds: dict[Any, list[Any]] = {"Polygon": [coordinates], "MultiPolygon": coordinates}
    return kinds.get(geometry.get("type"), [])


class Chain:
    """The first of several that knows one.

    Args:
        ways: in their order.
        otherwise: where none does.
        namer: takes out what would break an address.
    """

    def __init__(self, ways: Sequence[Neighbourhoods], otherwise: str, namer: StreetNamer) -> None:
        self._ways, self._otherwise, self._namer = ways, otherwise, namer

    def of(self, sub: SubStreet) -> str:
        """Never empty."""
        found = (self._namer.display(way.of(sub)) for way in self._ways)
        return next((name for name in found if name), self._otherwise)


def middle(sub: SubStreet) -> Points:
    """[2]: the middle of a sub-street's box, degrees."""
    corners = np.concatenate(sub.lines)
    return np.asarray((corners.min(axis=0) + corners.max(axis=0)) / 2)
