"""OpenStreetMap files: their ways with the positions of their nodes, in whatever order and by whatever program."""

from __future__ import annotations

import bz2
import gzip
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.parsers import expat

from ial_bench.errors import ConfigError, DataError
from ial_bench.files import check_regular
from ial_bench.partition.geojson_file import OVERPASS_FIX
from ial_bench.report.escape import one_line

SUFFIXES = (".osm", ".osm.bz2", ".osm.gz", ".osm.pbf", ".pbf")
_AGAIN, _GEOMETRY = "get the extract again", "ask Overpass for `out geom` instead of `out center`"
_HEAD, _CHUNK = 4096, 1 << 20
_DELETES = re.compile(rb"""action\s*=\s*["']delete["']""")
_REMARK = re.compile(rb"<remark>\s*(.{1,400}?)\s*</remark>", re.DOTALL)  # Overpass' word on what went wrong
_OVERLAP = 512  # bytes, at least the longest that these find
_PACKED = {b"BZh": ".osm.bz2", b"\x1f\x8b": ".osm.gz", b"PK\x03\x04": ".zip"}

LatLon = tuple[float, float]


@dataclass(frozen=True)
class Way:
    """A way with a ``highway`` tag.

    Attributes:
        tags: its tags.
        nodes: ids of its nodes.
        points: where each is, (lat, lon) in degrees; None: the file does not say.
    """

    tags: dict[str, str]
    nodes: list[int]
    points: list[LatLon | None]


@dataclass(frozen=True)
class OsmFile:
    """What a file tells of streets.

    Attributes:
        ways: those with a ``highway`` tag.
        places: nodes with a ``place`` tag: tags, latitude and longitude.
        deleted: how many such elements are marked as deleted, and left out.
        remark: what the server said of the file, such as that it ran out of time; mostly nothing.
    """

    ways: list[Way]
    places: list[tuple[dict[str, str], LatLon]]
    deleted: int
    remark: str = ""


def read_osm_file(path: Path) -> OsmFile:
    """Read a file whose ways may stand before their nodes, or hold positions themselves (Overpass' ``out geom``).

    Elements that an editor or the server marked as deleted are left out.

    Args:
        path: ``.osm``, ``.osm.bz2``, ``.osm.gz``, ``.osm.pbf`` or ``.pbf``.

    Raises:
        ConfigError: pyosmium is not installed.
        DataError: the file is missing, damaged, or of another kind.
    """
    try:
        import osmium
    except ImportError as error:
        raise ConfigError("pyosmium is not installed", "pip install 'ial-bench[build]'") from error
    check_regular(path)
    if not path.is_file():
        raise DataError(f"no such file: {path}", "give --streets FILE")
    try:
        _check_kind(path)
        marked, remark = _scanned(path)
        return replace(_read(osmium, path, _deleted(path) if marked else set()), remark=remark)
    except (RuntimeError, ValueError, OSError, EOFError, expat.ExpatError) as error:
        fix = _GEOMETRY if "in <way>: center" in str(error) else _AGAIN
        raise DataError(f"{path} is no OpenStreetMap data, or damaged: {error}", fix) from error


def _read(osmium: Any, path: Path, gone: Collection[tuple[str, int]]) -> OsmFile:
    """Ways first, then the nodes that they need, so that no order of the file is asked for."""
    ways: list[Way] = []
    places: list[tuple[dict[str, str], LatLon]] = []
    deleted = 0
    item: Any
    for item in osmium.FileProcessor(str(path)).with_filter(osmium.filter.KeyFilter("highway", "place")):
        node = item.is_node()
        if not node and not (item.is_way() and "highway" in item.tags):
            continue
        if item.deleted or not item.visible or (item.type_str(), item.id) in gone:
            deleted += 1
        elif not node:
            points = [(n.location.lat, n.location.lon) if n.location.valid() else None for n in item.nodes]
            ways.append(Way(dict(item.tags), [n.ref for n in item.nodes], points))
        elif "place" in item.tags and item.location.valid():
            places.append((dict(item.tags), (item.location.lat, item.location.lon)))
    wanted = {n for way in ways for n, point in zip(way.nodes, way.points, strict=True) if point is None}
    at = {n: where for n, where in _positions(osmium, path, wanted) if ("n", n) not in gone}
    for way in ways:
        way.points[:] = [point or at.get(n) for n, point in zip(way.nodes, way.points, strict=True)]
    return OsmFile(ways, places, deleted)


def _positions(osmium: Any, path: Path, wanted: Collection[int]) -> Iterator[tuple[int, LatLon]]:
    if not wanted:
        return
    nodes = osmium.FileProcessor(str(path), osmium.osm.NODE)
    if min(wanted) > 0:  # its filter knows no ids below 0, which editors give to what is new
        nodes = nodes.with_filter(osmium.filter.IdFilter(wanted))
    for node in nodes:
        if node.id in wanted and node.visible and not node.deleted and node.location.valid():
            yield node.id, (node.location.lat, node.location.lon)


def _check_kind(path: Path) -> None:
    """Refuse what is plainly something else under the name of a map.

    Raises:
        DataError: it is.
    """
    name = path.name.lower()
    with path.open("rb") as file:
        raw = file.read(_HEAD)
    for magic, suffix in _PACKED.items():
        if raw.startswith(magic) and not name.endswith(suffix):
            fix = "unpack it" if suffix == ".zip" else f"let its name end in {suffix}"
            raise DataError(f"{path} is packed as {suffix.rpartition('.')[2]}, which its name does not tell", fix)
    if b"OSMHeader" in raw[:64]:
        if not name.endswith(".pbf"):
            raise DataError(f"{path} is PBF, which its name does not tell", "let its name end in .osm.pbf")
        return
    head = _head(path, raw).removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith((b"{", b"[")):
        if b"FeatureCollection" in head or b'"Feature"' in head:
            raise DataError(f"{path} is GeoJSON, not OpenStreetMap's XML", "let its name end in .geojson")
        raise DataError(f"{path} is JSON, as Overpass gives it, not OpenStreetMap's XML", OVERPASS_FIX)
    if re.match(rb"<!doctype html|<html", head, re.IGNORECASE) or b"<html" in head:
        raise DataError(f"{path} is a web page, not a map", "open it to see what the server answered, and get it again")
    if head.startswith(b"<") and name.endswith(".pbf"):
        raise DataError(f"{path} is XML, which its name does not tell", "let its name end in .osm")
    if head.startswith(b"<") and b"<osm" not in head and (root := re.search(rb"<([A-Za-z][\w:.-]*)", head)):
        raise DataError(
            f"{path} is XML of another kind: it starts with <{root[1].decode()}>, not <osm>",
            "give an OpenStreetMap extract, or GeoJSON",
        )


def _head(path: Path, raw: bytes) -> bytes:
    if not path.name.lower().endswith((".bz2", ".gz")):
        return raw
    with _opened(path) as file:
        return bytes(file.read(_HEAD))


def _opened(path: Path) -> Any:
    name = path.name.lower()
    return (bz2.open if name.endswith(".bz2") else gzip.open if name.endswith(".gz") else open)(path, "rb")


def _deleted(path: Path) -> set[tuple[str, int]]:
    """Type (``n``, ``w``) and id of elements with ``action="delete"``, as JOSM marks them; osmium does not tell."""
    found: set[tuple[str, int]] = set()

    def start(element: str, attributes: dict[str, str]) -> None:
        if attributes.get("action") == "delete" and element in {"node", "way"}:
            found.add((element[0], int(attributes.get("id", "0"))))

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    with _opened(path) as file:
        parser.ParseFile(file)
    return found


def _scanned(path: Path) -> tuple[bool, str]:
    """Whether an XML file marks anything as deleted, which few do, and the server's remark in it."""
    marked, remark, tail = False, "", b""
    if path.name.lower().endswith(".pbf"):
        return marked, remark
    with _opened(path) as file:
        while chunk := file.read(_CHUNK):
            text = tail + chunk
            marked = marked or _DELETES.search(text) is not None
            if found := _REMARK.search(text):
                remark = one_line(found[1].decode(errors="replace"))
            tail = text[-_OVERLAP:]
    return marked, remark
