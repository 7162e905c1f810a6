"""Which neighbourhood a sub-street lies in: by polygons, by the street map's own word, or by the nearest place."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ial_bench.errors import DataError
from ial_bench.geo.lines import shapely
from ial_bench.geo.points import Points, box_middle, haversine_m, unrolled
from ial_bench.geocoding.street_names import NameNormalizer
from ial_bench.partition.geojson import NotNumbersError, properties_of, read_features, refused_objects
from ial_bench.partition.substreets import SubStreet
from ial_bench.partition.tags import name_of

_NAMES = ("name", "neighbourhood", "neighborhood", "nhood", "NAME", "Name", "title")
_TOUCH_DEGREES = 1e-5  # of latitude, a metre: what rounding of coordinates puts on the other side of a border


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
    """The polygon that most of the sub-street's length lies in; one that it only touches, to a metre, does not count.

    Args:
        path: GeoJSON of polygons with names.
        name_key: their property; None: the first of the usual ones.

    Attributes:
        notes: what of the file cannot be used.

    Raises:
        DataError: not GeoJSON, or without polygons that have a name.
    """

    def __init__(self, path: Path, name_key: str | None = None) -> None:
        lib = shapely()
        features, degrees = read_features(path, None)
        found: list[tuple[str, Any]] = []
        unused: Counter[str] = Counter()
        names = (name_key,) if name_key else _NAMES
        for feature in features:
            tags = properties_of(feature)
            with refused_objects(path, tags, dict.fromkeys(names, "--neighbourhood-key")):
                name = next((n for k in names if (n := name_of(tags, k))), "")
            if not name:
                unused["without a name"] += 1
                continue
            shapes = [_shape(lib, rings, degrees) for rings in _polygons(feature.get("geometry"))]
            found += [(name, shape) for shape in shapes if shape is not None]
            if not shapes:
                unused["no polygon, or an empty one"] += 1
            elif None in shapes:
                unused["with a polygon that is broken"] += 1
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in unused.most_common())
        if not found:
            raise DataError(
                f"no polygon with a name in {path}{': ' * bool(reasons)}{reasons}",
                "give GeoJSON of polygons, their names in `name` or in the property that --neighbourhood-key names",
            )
        self.notes = [f"{unused.total():,} features of {path.name} cannot be used whole: {reasons}"] if reasons else []
        found.sort(key=lambda f: (f[0], f[1].wkb))
        self._names = [name for name, _ in found]
        self._shapes = [shape for _, shape in found]
        self._tree = lib.STRtree(self._shapes)

    def of(self, sub: SubStreet) -> str:
        """Of equals, the first by name; empty where it lies in none."""
        lib = shapely()
        together = [unrolled(line)[:, ::-1] for line in sub.lines]
        shares: dict[str, float] = defaultdict(float)
        for turn in (0.0, 360.0, -360.0):  # a polygon may lie on either side of the antimeridian, or across it
            lines = lib.MultiLineString([line + np.array([turn, 0.0]) for line in together])
            for i in self._tree.query(lines, predicate="intersects").tolist():
                shares[self._names[i]] += lib.length(lib.intersection(lines, self._shapes[i]))
        least = min(_TOUCH_DEGREES, lib.length(lib.MultiLineString(together)) / 2)
        inside = {name: share for name, share in shares.items() if share > least}
        return min(inside, key=lambda n: (-inside[n], n)) if inside else ""


def _polygons(geometry: Any) -> list[Any]:
    """The rings of each polygon."""
    coordinates = geometry.get("coordinates") if isinstance(geometry, dict) else None
    if not isinstance(coordinates, list) or not coordinates:
        return []
    kinds: dict[str, list[Any]] = {"Polygon": [coordinates], "MultiPolygon": coordinates}
    return kinds.get(str(geometry.get("type")), [])


def _shape(lib: Any, rings: Any, degrees: Callable[[Any], Points]) -> Any:
    """A polygon, mended where its rings cross; None where nothing of it has an area."""
    try:
        shell, *holes = [unrolled(degrees(ring))[:, ::-1] for ring in rings]
        mended = lib.make_valid(lib.Polygon(shell, holes))
    except (NotNumbersError, TypeError, ValueError, lib.errors.ShapelyError):
        return None
    return mended if mended.area > 0 else None


class Chain:
    """The first of several that knows one.

    Args:
        ways: in their order.
        otherwise: where none does.
        normalizer: takes out what would break an address.
    """

    def __init__(self, ways: Sequence[Neighbourhoods], otherwise: str, normalizer: NameNormalizer) -> None:
        self._ways, self._otherwise, self._normalizer = ways, otherwise, normalizer

    def of(self, sub: SubStreet) -> str:
        """Never empty."""
        found = (self._normalizer.display(way.of(sub)) for way in self._ways)
        return next((name for name in found if name), self._otherwise)


def middle(sub: SubStreet) -> Points:
    """[2]: the middle of a sub-street's box, degrees."""
    return box_middle(np.concatenate(sub.lines))
