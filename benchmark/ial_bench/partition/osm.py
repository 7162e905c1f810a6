"""Streets from OpenStreetMap: extracts as XML or PBF through pyosmium, or a named city through osmnx.

Ways are read with the positions of their nodes, in whatever order a file has them and whatever program wrote it.
"""

from __future__ import annotations

import bz2
import gzip
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from ial_bench.errors import ConfigError, DataError
from ial_bench.escape import one_line
from ial_bench.files import check_regular
from ial_bench.partition.geojson import OVERPASS_FIX
from ial_bench.partition.network import Segment, StreetSource
from ial_bench.partition.tags import Tags, is_roundabout, level_of, name_of, why_no_street

SUFFIXES = (".osm", ".osm.bz2", ".osm.gz", ".osm.pbf", ".pbf")
_AGAIN, _GEOMETRY = "get the extract again", "ask Overpass for `out geom` instead of `out center`"
_HEAD, _CHUNK = 4096, 1 << 20
_DELETES = re.compile(rb"""action\s*=\s*["']delete["']""")
_REMARK = re.compile(rb"<remark>\s*(.{1,400}?)\s*</remark>", re.DOTALL)  # Overpass' word on what went wrong
_OVERLAP = 512  # bytes, at least the longest that these find
_PACKED = {b"BZh": ".osm.bz2", b"\x1f\x8b": ".osm.gz", b"PK\x03\x04": ".zip"}
_PLACES = frozenset({"suburb", "neighbourhood", "quarter", "borough", "village", "hamlet", "city_block"})
_SHOWN = 10
_FEW, _MISSING = "a way with fewer than two nodes", "nodes that are not in the extract (ways are cut there)"
_NODES_FIX = "give an extract with the ways' nodes: from Overpass, `out geom`, or `(._;>;);` before `out`"


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
    """The streets and named places of a file.

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


def read_osm(path: Path, name_key: str = "name") -> StreetSource:
    """Read the streets of an extract, and the named places that lie in it.

    Left out are ways that are no streets by their kind, driveways without a name, areas, what is marked as deleted, and
    ways of which the extract has fewer than two nodes. A way that runs through nodes that the extract lacks is cut
    there.

    Args:
        path: ``.osm``, ``.osm.bz2``, ``.osm.gz`` or ``.osm.pbf``.
        name_key: the tag with the name, such as ``name:en``; where an element has none, ``name`` counts.

    Raises:
        ConfigError: pyosmium is not installed.
        DataError: the file is missing, damaged or of another kind, or has no street.
    """
    data = _read_osm_file(path)
    skipped: Counter[str] = Counter()
    if data.deleted:
        skipped["deleted on the map"] = data.deleted
    segments: list[Segment] = []
    cut: Counter[str] = Counter()
    for way in data.ways:
        name = _name(way.tags, name_key)
        closed = len(way.nodes) > 3 and way.nodes[0] == way.nodes[-1]
        if why := why_no_street(way.tags, name, closed=closed):
            skipped[why] += 1
            continue
        lines = list(_lines(way, name, skipped))
        segments += lines
        if lines and None in way.points:
            cut[name] += 1
    if not segments:
        reasons = ", ".join(f"{n:,} x {r}" for r, n in skipped.most_common(3)) or "it has no way with a highway tag"
        reasons += f"; the server's remark: {data.remark}" if data.remark else ""
        nodes = skipped[_FEW] > 0
        raise DataError(
            f"no street in {path}: {reasons}", _NODES_FIX if nodes else "give an extract of the city's streets"
        )
    names = ((_name(tags, name_key), tags, where) for tags, where in data.places)
    places = sorted((name, *where) for name, tags, where in names if name and tags["place"] in _PLACES)
    notes = _cut_notes(cut, skipped[_MISSING])
    if data.remark:
        notes.append(f"the street map may lack streets; the server's remark: {data.remark}")
    return StreetSource(segments, skipped, places, notes)


def _name(tags: Tags, key: str) -> str:
    return name_of(tags, key) or name_of(tags, "name")


def _lines(way: Way, name: str, skipped: Counter[str]) -> Iterator[Segment]:
    """A way's lines: one, or those between nodes that the extract lacks. None is drawn across these."""
    missing = way.points.count(None)
    if missing:
        skipped[_MISSING] += missing
    run: list[tuple[str, float, float]] = []
    runs = [run]
    for node, point in zip(way.nodes, way.points, strict=True):
        if point is not None:
            run.append((str(node), *point))
        elif run:
            runs.append(run := [])
    runs = [r for r in runs if len(r) > 1]
    if not runs:
        skipped[_FEW] += 1
    for known in runs:
        points = np.array([(lat, lon) for _, lat, lon in known])
        if not np.ptp(points, axis=0).any():
            skipped["a way of no length"] += 1
            continue
        ids = tuple(node for node, _, _ in known)
        yield Segment(name, points, ids, "", level_of(way.tags), is_roundabout(way.tags))


def _cut_notes(cut: Counter[str], missing: int) -> list[str]:
    if not cut:
        return []
    named = [one_line(name) for name, _ in sorted(cut.items(), key=lambda c: (-c[1], c[0])) if name]
    streets = ", ".join(named[:_SHOWN]) + (f" and {len(named) - _SHOWN:,} more" if len(named) > _SHOWN else "")
    where = f"({streets or 'without a name'})"
    return [f"nodes of ways that the extract lacks: {missing:,}; ways that are cut there: {cut.total():,} {where}"]


def fetch_osm(place: str) -> StreetSource:
    """The streets of a city by its name, from OpenStreetMap's servers.

    Args:
        place: such as ``Pittsburgh, Pennsylvania``.

    Raises:
        ConfigError: osmnx is not installed.
        DataError: there is no network, or no such place.
    """
    try:
        import osmnx
    except ImportError as error:
        raise ConfigError(
            f"streets of {place!r} by name need osmnx, which is not installed",
            "pip install 'ial-bench[osmnx]', or give a file: --streets CITY.osm.pbf",
        ) from error
    try:
        graph = osmnx.graph_from_place(place, network_type="drive", simplify=False)
    except Exception as error:  # osmnx raises its own, requests' and urllib's
        raise DataError(
            f"streets of {place!r} could not be fetched: {type(error).__name__}: {error}",
            "is there a network, and such a place? or give a file: --streets CITY.osm.pbf",
        ) from error
    position = {n: (data["y"], data["x"]) for n, data in graph.nodes(data=True)}
    segments, skipped = [], Counter[str]()
    for a, b, data in graph.edges(data=True):
        name = name_of(data, "name")
        if why := why_no_street(data, name, closed=False):
            skipped[why] += 1
            continue
        points = np.array([position[a], position[b]], dtype=np.float64)
        segments.append(Segment(name, points, (str(a), str(b)), "", level_of(data), is_roundabout(data)))
    if not segments:
        raise DataError(f"no street in {place!r}", "give a file: --streets CITY.osm.pbf")
    return StreetSource(segments, skipped)


def _read_osm_file(path: Path) -> OsmFile:
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
    """Type (``n``, ``w``) and id of elements with ``action="delete"``, as JOSM marks them; osmium does not read it."""
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
