"""Streets from GeoJSON: lines with a name, with the ids of their nodes or with geometry alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ial_bench.build.network import Segment, StreetSource
from ial_bench.errors import DataError
from ial_bench.geo.points import Points, valid
from ial_bench.json_files import read_json

ROUNDABOUTS = frozenset({"roundabout", "circular", "mini_roundabout"})
WALKED = frozenset({
    "footway", "path", "steps", "cycleway", "bridleway", "corridor", "track", "proposed", "construction", "platform",
    "elevator", "raceway",
})  # fmt: skip
"""Kinds of way (OpenStreetMap's ``highway``) that are left out: no street is addressed by them."""

_NODE_PAIRS = (("f_node", "t_node"), ("from_node", "to_node"), ("u", "v"), ("fnode", "tnode"), ("source", "target"))
_AREAS = ("neighbourhood", "neighborhood", "nhood", "suburb", "quarter", "district")
_SKIPPED_LEVELS = frozenset({"", "0", "no", "none", "false"})


@dataclass(frozen=True)
class StreetKeys:
    """Which properties of a feature tell what.

    Attributes:
        name: the street's name.
        neighbourhood: its neighbourhood; None: the first of the usual ones that a file has.
        nodes: its first and last node; None: the first of the usual pairs that a file has.
    """

    name: str = "name"
    neighbourhood: str | None = None
    nodes: tuple[str, str] | None = None


def read_geojson_streets(path: Path, keys: StreetKeys | None = None, crs: str | None = None) -> StreetSource:
    """Read the lines of a GeoJSON file.

    Points have ids where features have a list ``nodes``, one for each, or ids of their first and last node, such as
    ``f_node`` and ``t_node``; if any feature lacks them, geometry alone counts. Features that are no line, or whose
    coordinates are no numbers, are skipped and counted.

    Args:
        path: the file.
        keys: which properties to read.
        crs: of the coordinates, such as ``EPSG:26910``; None: that of the file's ``crs`` member, or degrees.

    Raises:
        DataError: it is not GeoJSON, has no line, or has metres where degrees are expected.
    """
    features, to_degrees = read_features(path, crs)
    keys = keys or StreetKeys()
    properties = [f.get("properties") or {} for f in features]
    have = set().union(*(p.keys() for p in properties)) if properties else set()
    if features and keys.name not in have:
        raise DataError(
            f"no feature of {path} has a property {keys.name!r}; there are {', '.join(sorted(have)[:20]) or 'none'}",
            "name the one with the streets' names by --name-key",
        )
    area = keys.neighbourhood or next((k for k in _AREAS if k in have), "")
    pair = keys.nodes or next((p for p in _NODE_PAIRS if set(p) <= have), None)
    skipped: Counter[str] = Counter()
    segments: list[Segment] = []
    for feature, told in zip(features, properties, strict=True):
        if told.get("highway") in WALKED:
            skipped[f"highway={told['highway']}"] += 1
            continue
        lines = list(_lines(feature.get("geometry"), to_degrees, skipped))
        for i, points in enumerate(lines):
            ids = _ids(told, points, pair, first=i == 0, last=i == len(lines) - 1)
            segments.append(
                Segment(_text(told.get(keys.name)), points, ids, _text(told.get(area)), level_of(told),
                        told.get("junction") in ROUNDABOUTS)
            )  # fmt: skip
    if not segments:
        reasons = ", ".join(f"{n:,} x {r}" for r, n in skipped.most_common(3)) or "it has no feature"
        raise DataError(f"no street in {path}: {reasons}", "give a file of named lines")
    return StreetSource(segments, skipped)


def read_features(path: Path, crs: str | None) -> tuple[list[dict[str, Any]], Callable[[Any], Points]]:
    """The features of a GeoJSON file, and what turns a list of its coordinates into degrees [n, 2], lat and lon.

    Raises:
        DataError: it is not GeoJSON, or is of a reference system that nobody knows.
    """
    data = read_json(path)
    kind = data.get("type") if isinstance(data, dict) else None
    features = data.get("features") if kind == "FeatureCollection" else [data] if kind == "Feature" else None
    if not isinstance(features, list):
        raise DataError(f"{path} is no GeoJSON: it has no features", "give a FeatureCollection")
    member = data.get("crs")
    declared = member.get("properties", {}).get("name") if isinstance(member, dict) else None
    return [f for f in features if isinstance(f, dict)], to_degrees(crs or declared, path)


def to_degrees(crs: str | None, source: Path) -> Callable[[Any], Points]:
    """What turns coordinates, east before north, into degrees, latitude before longitude.

    The function raises `DataError` for numbers that are no degrees.

    Args:
        crs: a name that PROJ knows; None: degrees.
        source: the file, for errors.

    Raises:
        DataError: PROJ does not know it.
    """
    if crs is None or crs.upper().endswith(("CRS84", "EPSG::4326", "EPSG:4326")):
        return lambda coordinates: _checked(_pairs(coordinates)[:, ::-1], source)
    from pyproj import Transformer
    from pyproj.exceptions import CRSError

    try:
        transformer = Transformer.from_crs(crs, 4326, always_xy=True)
    except CRSError as error:
        raise DataError(f"{source}: unknown reference system {crs!r}", "write it as EPSG:26910") from error

    def transformed(coordinates: Any) -> Points:
        east, north = _pairs(coordinates).T
        lon, lat = transformer.transform(east, north)
        return _checked(np.stack([lat, lon], axis=1), source)

    return transformed


class NotNumbersError(ValueError):
    """Coordinates that are no numbers."""


def _pairs(coordinates: Any) -> Points:
    try:
        pairs = np.array([c[:2] for c in coordinates], dtype=np.float64).reshape(-1, 2)
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise NotNumbersError from error
    if not np.isfinite(pairs).all():
        raise NotNumbersError
    return pairs


def _checked(points: Points, source: Path) -> Points:
    if len(points) and not valid(points).all():
        lat, lon = points[~valid(points)][0]
        if abs(lat) <= 180 and abs(lon) <= 90:
            raise DataError(
                f"{source} has latitude and longitude swapped: {lat:g} is no latitude, {lon:g} could be one",
                "GeoJSON writes longitude first: swap the two",
            )
        raise DataError(
            f"{source} has coordinates that are no degrees, such as {lon:.1f}, {lat:.1f}: they look like metres of a "
            "map projection",
            "name their reference system, such as --streets-crs EPSG:26910",
        )
    return points


def _lines(geometry: Any, degrees: Callable[[Any], Points], skipped: Counter[str]) -> Iterator[Points]:
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind not in {"LineString", "MultiLineString"}:
        skipped["not a line" if kind else "no geometry"] += 1
        return
    parts: Sequence[Any] = [geometry.get("coordinates")] if kind == "LineString" else geometry.get("coordinates") or ()
    for part in parts:
        try:
            points = degrees(part)
        except NotNumbersError:
            skipped["coordinates are no numbers"] += 1
            continue
        if len(points) < 2 or not np.ptp(points, axis=0).any():
            skipped["a line of no length"] += 1
            continue
        yield points


def _ids(
    told: dict[str, Any], points: Points, pair: tuple[str, str] | None, *, first: bool, last: bool
) -> tuple[str, ...] | None:
    """The ids of a line's points; only the first and the last of several lines have those of the pair."""
    listed = told.get("nodes")
    if isinstance(listed, list) and len(listed) == len(points) and all(n is not None for n in (listed[0], listed[-1])):
        return tuple("" if n is None else str(n) for n in listed)
    if pair is None or not (first and last) or any(told.get(k) in {None, ""} for k in pair):
        return None
    return (str(told[pair[0]]), *[""] * (len(points) - 2), str(told[pair[1]]))


def level_of(told: Mapping[str, Any]) -> str:
    """What keeps lines apart that cross; San Francisco's ``layer`` of words is none."""
    parts = []
    for key in ("layer", "bridge", "tunnel"):
        text = _text(told.get(key)).casefold()
        if text not in _SKIPPED_LEVELS and (key != "layer" or text.lstrip("-+").isdigit()):
            parts.append(f"{key}={text}")
    return " ".join(parts)


def _text(value: Any) -> str:
    if isinstance(value, list):  # several names, as osmnx writes them
        value = value[0] if value else None
    return "" if value is None or (isinstance(value, float) and np.isnan(value)) else str(value).strip()
