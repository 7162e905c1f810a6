"""GeoJSON as files hold it: a collection, a feature a line, or a text sequence (RFC 8142)."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ial_bench.errors import DataError
from ial_bench.files import read_file
from ial_bench.json_files import parse_json

SUFFIXES = (".geojson", ".json", ".geojsonl", ".geojsons", ".geojsonseq", ".ndjson", ".ndgeojson", ".jsonl")
OVERPASS_FIX = (
    "ask Overpass for XML, [out:xml] in the query, and name the file .osm; or convert it by osmtogeojson, and name "
    "that .geojson"
)
_SEPARATOR = b"\x1e"


def read_collection(path: Path) -> tuple[list[dict[str, Any]], str | None]:
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
