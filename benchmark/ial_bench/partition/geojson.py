"""GeoJSON: files of features, their coordinates as degrees, and the streets in them.

A file is a collection, a feature a line, or a text sequence (RFC 8142). Streets are lines with a name, with the ids of
their nodes or with geometry alone.
"""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ial_bench.errors import DataError
from ial_bench.files import read_file
from ial_bench.geo.points import Points, signed, valid
from ial_bench.json_files import parse_json
from ial_bench.partition.network import Segment, StreetSource
from ial_bench.partition.tags import (
    ObjectValueError,
    Tags,
    has_key,
    id_of,
    is_roundabout,
    keys_of,
    level_of,
    list_of,
    name_keys,
    name_of,
    texts_of,
    value_at,
    why_no_street,
)

SUFFIXES = (".geojson", ".json", ".geojsonl", ".geojsons", ".geojsonseq", ".ndjson", ".ndgeojson", ".jsonl")
OVERPASS_FIX = (
    "ask Overpass for XML, [out:xml] in the query, and name the file .osm; or convert it by osmtogeojson, and name "
    "that .geojson"
)
_SEPARATOR = b"\x1e"
_NODE_PAIRS = (("f_node", "t_node"), ("from_node", "to_node"), ("u", "v"), ("fnode", "tnode"), ("source", "target"))
_AREAS = ("neighbourhood", "neighborhood", "nhood", "suburb", "quarter", "district")


@dataclass(frozen=True)
class StreetKeys:
    """Which properties of a feature are read.

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
    coordinates are no numbers, and those that are no streets by their kind, are skipped and counted.

    Args:
        path: the file: a collection, or a feature a line.
        keys: which properties to read; ``names.primary`` is an entry of an object.
        crs: of the coordinates, such as ``EPSG:26910``; None: that of the file's ``crs`` member, or degrees.

    Raises:
        DataError: it is not GeoJSON, has no line, has an object where a text belongs, or metres where degrees are
            expected.
    """
    features, to_degrees = read_features(path, crs)
    keys = keys or StreetKeys()
    properties = [properties_of(f) for f in features]
    have = {key for tags in properties for key in tags}
    if features and not any(has_key(tags, key) for tags in properties for key in name_keys(keys.name)):
        shown = sorted({key for tags in properties for key in keys_of(tags)})
        raise DataError(
            f"no feature of {path} has a property {keys.name!r}; there are {', '.join(shown[:20]) or 'none'}",
            "name the one with the streets' names by --name-key",
        )
    area = keys.neighbourhood or next((k for k in _AREAS if k in have), "")
    pair = keys.nodes or next((p for p in _NODE_PAIRS if set(p) <= have), None)
    skipped: Counter[str] = Counter()
    segments: list[Segment] = []
    for feature, tags in zip(features, properties, strict=True):
        lines = list(_lines(feature.get("geometry"), to_degrees, skipped))
        if not lines:
            continue
        with refused_objects(path, tags, {keys.name: "--name-key", area: "--street-neighbourhood-key"}):
            name = name_of(tags, keys.name)
            closed = all(np.array_equal(points[0], points[-1]) for points in lines)
            if why := why_no_street(tags, name, closed=closed):
                skipped[why] += 1
                continue
            where, level, ring = name_of(tags, area), level_of(tags), is_roundabout(tags)
            for i, points in enumerate(lines):
                ids = _ids(tags, points, pair, first=i == 0, last=i == len(lines) - 1)
                segments.append(Segment(name, points, ids, where, level, ring))
    if not segments:
        reasons = ", ".join(f"{n:,} x {r}" for r, n in skipped.most_common(3)) or "it has no feature"
        raise DataError(f"no street in {path}: {reasons}", "give a file of named lines")
    return StreetSource(segments, skipped)


def properties_of(feature: Tags) -> Tags:
    """A feature's properties, none where they are no object."""
    tags = feature.get("properties")
    return tags if isinstance(tags, dict) else {}


@contextmanager
def refused_objects(path: Path, tags: Tags, options: Mapping[str, str]) -> Iterator[None]:
    """Turn an object where a text belongs into an error that names its entries.

    Args:
        path: the file.
        tags: the properties.
        options: those of the command that choose properties, by property.

    Raises:
        DataError: there was one.
    """
    try:
        yield
    except ObjectValueError as error:
        key = next((k for k in (*options, *tags) if _entries(tags, k) == error.entries), "")
        fix = f"write a text into {key!r}, or take it out"
        if key in options:
            fix = f"name one of its entries, such as {key}.{error.entries[0]}, by {options[key]}"
        entries = ", ".join(error.entries[:10])
        raise DataError(
            f"{path}: the property {key!r} holds an object ({entries}), where a text or a number belongs", fix
        ) from error


def _entries(tags: Tags, key: str) -> list[str] | None:
    """The entries of the object that a property holds; None where it holds none."""
    try:
        texts_of(value_at(tags, key))
    except ObjectValueError as error:
        return error.entries
    return None


def read_features(path: Path, crs: str | None) -> tuple[list[dict[str, Any]], Callable[[Any], Points]]:
    """The features of a GeoJSON file, and what turns a list of its coordinates into degrees [n, 2], lat and lon.

    Raises:
        DataError: it is not GeoJSON, or is of an unknown reference system.
    """
    features, declared = _read_collection(path)
    return features, to_degrees(crs or declared, path)


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
        if not (np.isfinite(lon).all() and np.isfinite(lat).all()):  # a placeholder, far outside what the system covers
            raise NotNumbersError("coordinates outside of the reference system")
        return _checked(np.stack([lat, lon], axis=1), source)

    return transformed


class NotNumbersError(ValueError):
    """Coordinates that are no numbers, or none that can be used; its text says which."""


def _pairs(coordinates: Any) -> Points:
    try:
        pairs = np.array([c[:2] for c in coordinates], dtype=np.float64)
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise NotNumbersError("coordinates are no numbers") from error
    if not len(pairs):
        return np.zeros((0, 2))
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.isfinite(pairs).all():
        raise NotNumbersError("coordinates are no numbers")
    return pairs


def _checked(points: Points, source: Path) -> Points:
    points = signed(points)
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
    if kind not in ("LineString", "MultiLineString"):
        skipped["not a line" if kind else "no geometry"] += 1
        return
    coordinates = geometry.get("coordinates")
    if not coordinates:
        skipped["an empty geometry"] += 1
        return
    parts = [coordinates] if kind == "LineString" or not isinstance(coordinates, list) else coordinates
    for part in parts:
        try:
            points = degrees(part)
        except NotNumbersError as error:
            skipped[str(error)] += 1
            continue
        if len(points) < 2 or not np.ptp(points, axis=0).any():
            skipped["a line of no length"] += 1
            continue
        yield points


def _ids(
    tags: Tags, points: Points, pair: tuple[str, str] | None, *, first: bool, last: bool
) -> tuple[str, ...] | None:
    """The ids of a line's points; only the first and the last of several lines have those of the pair."""
    listed = list_of(tags.get("nodes"))
    if listed is not None and len(listed) == len(points):
        ids = tuple(id_of(node) for node in listed)
        if ids[0] and ids[-1]:
            return ids
    if pair is None or not (first and last):
        return None
    start, end = (id_of(value_at(tags, key)) for key in pair)
    return (start, *[""] * (len(points) - 2), end) if start and end else None


def _read_collection(path: Path) -> tuple[list[dict[str, Any]], str | None]:
    """The features of a file, and the reference system that it declares.

    Raises:
        DataError: it is not GeoJSON, or declares two reference systems.
    """
    features: list[dict[str, Any]] = []
    declared: set[str] = set()
    for name, text in _texts(read_file(path), str(path)):
        features += [f for f in _features(text, name) if isinstance(f, dict)]
        declared |= _crs(text)
    if len(declared) > 1:
        raise DataError(f"{path} declares several reference systems: {', '.join(sorted(declared))}", "give one a file")
    return features, next(iter(declared), None)


def _texts(data: bytes, name: str) -> Iterator[tuple[str, Any]]:
    """The JSON texts in a file, each with what errors call it."""
    data = data.removeprefix(codecs.BOM_UTF8)
    if data.lstrip().startswith(_SEPARATOR):
        for number, record in enumerate((r for r in data.split(_SEPARATOR) if r.strip()), 1):
            yield f"{name} record {number}", parse_json(record, f"{name} record {number}")
        return
    try:
        yield name, parse_json(data, name)
    except DataError:
        lines = [(i, line) for i, line in enumerate(data.splitlines(), 1) if line.strip()]
        if len(lines) < 2 or not _is_json(lines[0][1]):
            raise
        for number, line in lines:
            yield f"{name} line {number}", parse_json(line, f"{name} line {number}")


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(parse_json(line, ""), dict)
    except DataError:
        return False


def _features(text: Any, name: str) -> list[Any]:
    kind = text.get("type") if isinstance(text, dict) else None
    features = text.get("features") if kind == "FeatureCollection" else [text] if kind == "Feature" else None
    if isinstance(features, list):
        return features
    if isinstance(text, dict) and isinstance(text.get("elements"), list):
        raise DataError(f"{name} is no GeoJSON, but JSON of OpenStreetMap's elements, as Overpass gives", OVERPASS_FIX)
    raise DataError(f"{name} is no GeoJSON: it has no features", "give a FeatureCollection, or a Feature a line")


def _crs(text: Any) -> set[str]:
    member = text.get("crs")
    properties = member.get("properties") if isinstance(member, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    return {name} if isinstance(name, str) else set()
