"""Streets from OpenStreetMap: extracts as XML or PBF through pyosmium, or a named city through osmnx."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ial_bench.build.geojson_streets import ROUNDABOUTS, WALKED, level_of
from ial_bench.build.network import Segment, StreetSource
from ial_bench.errors import ConfigError, DataError

SUFFIXES = (".osm", ".osm.bz2", ".osm.gz", ".osm.pbf", ".pbf")
_PLACES = frozenset({"suburb", "neighbourhood", "quarter", "borough", "village", "hamlet", "city_block"})
_UNNAMED_SERVICE = frozenset({"service"})  # driveways and car parks; a named one is a lane


def read_osm(path: Path, name_key: str = "name") -> StreetSource:
    """Read the streets of an extract, and the named places that lie in it.

    Left out are ways for feet and cycles alone, driveways without a name, areas, and ways of which the extract has
    fewer than two nodes.

    Args:
        path: ``.osm``, ``.osm.bz2``, ``.osm.gz`` or ``.osm.pbf``.
        name_key: the tag with the name, such as ``name:en``.

    Raises:
        ConfigError: pyosmium is not installed.
        DataError: the file is missing or damaged, or has no street.
    """
    try:
        import osmium
    except ImportError as error:
        raise ConfigError("pyosmium is not installed", "pip install 'ial-bench[build]'") from error
    if not path.is_file():
        raise DataError(f"no such file: {path}", "give --streets FILE")
    skipped: Counter[str] = Counter()
    segments: list[Segment] = []
    places: list[tuple[str, float, float]] = []
    try:
        wanted = osmium.filter.KeyFilter("highway", "place")
        item: Any
        for item in osmium.FileProcessor(str(path)).with_locations().with_filter(wanted):
            if item.is_node() and item.tags.get("place") in _PLACES and item.tags.get(name_key):
                places.append((item.tags[name_key], item.location.lat, item.location.lon))
            elif item.is_way() and "highway" in item.tags:
                _add(dict(item.tags), item.nodes, name_key, segments, skipped)
    except (RuntimeError, ValueError, OSError) as error:
        raise DataError(f"{path} is no OpenStreetMap data, or damaged: {error}", "get the extract again") from error
    if not segments:
        reasons = ", ".join(f"{n:,} x {r}" for r, n in skipped.most_common(3)) or "it has no way with a highway tag"
        raise DataError(f"no street in {path}: {reasons}", "give an extract of the city's streets")
    return StreetSource(segments, skipped, sorted(places))


def _add(tags: dict[str, str], nodes: Any, name_key: str, segments: list[Segment], skipped: Counter[str]) -> None:
    kind, name = tags["highway"], tags.get(name_key, tags.get("name", ""))
    if kind in WALKED or (kind in _UNNAMED_SERVICE and not name):
        skipped[f"highway={kind}"] += 1
        return
    if tags.get("area") == "yes":
        skipped["an area"] += 1
        return
    known = [(str(n.ref), n.location.lat, n.location.lon) for n in nodes if n.location.valid()]
    if len(known) < len(nodes):
        skipped["nodes that are not in the extract (the rest of the way is used)"] += len(nodes) - len(known)
    if len(known) < 2:
        skipped["a way with fewer than two nodes"] += 1
        return
    points = np.array([(lat, lon) for _, lat, lon in known])
    if not np.ptp(points, axis=0).any():
        skipped["a way of no length"] += 1
        return
    segments.append(
        Segment(
            name, points, tuple(ref for ref, _, _ in known), "", level_of(tags), tags.get("junction") in ROUNDABOUTS
        )
    )


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
    segments = []
    for a, b, data in graph.edges(data=True):
        name = data.get("name")
        first = name[0] if isinstance(name, list) else name
        segments.append(
            Segment(str(first or ""), np.array([position[a], position[b]], dtype=np.float64), (str(a), str(b)), "",
                    level_of(data), data.get("junction") in ROUNDABOUTS)
        )  # fmt: skip
    if not segments:
        raise DataError(f"no street in {place!r}", "give a file: --streets CITY.osm.pbf")
    return StreetSource(segments)
