"""Streets from OpenStreetMap: extracts as XML or PBF through pyosmium, or a named city through osmnx."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ial_bench.errors import ConfigError, DataError
from ial_bench.partition.geojson import level_of
from ial_bench.partition.kinds import is_roundabout, why_no_street
from ial_bench.partition.network import Segment, StreetSource
from ial_bench.partition.osm_file import Way, read_osm_file
from ial_bench.partition.tags import Told, name_of
from ial_bench.report.escape import one_line

_PLACES = frozenset({"suburb", "neighbourhood", "quarter", "borough", "village", "hamlet", "city_block"})
_SHOWN = 10
_FEW, _MISSING = "a way with fewer than two nodes", "nodes that are not in the extract (ways are cut there)"
_NODES_FIX = "give an extract with the ways' nodes: from Overpass, `out geom`, or `(._;>;);` before `out`"


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
    data = read_osm_file(path)
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


def _name(tags: Told, key: str) -> str:
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
