"""The streets of a real city for a drawn one: which file, which part of it, and the sub-streets found there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ial_bench.addresses import Address
from ial_bench.errors import ConfigError, DataError
from ial_bench.files import sha256_file
from ial_bench.geo.points import Points, rolled, unrolled
from ial_bench.synth.scene import Floats

if TYPE_CHECKING:
    from ial_bench.partition.network import Edge, StreetNetwork, StreetSource
    from ial_bench.partition.options import BuildOptions
    from ial_bench.partition.substreets import SubStreet

Box = tuple[float, float, float, float]
"""South, west, north, east; degrees."""

_RIM_M = 450.0
"""How far streets and houses reach beyond the part that is photographed: farther than a house is drawn."""
_CONTEXT_M = 1_500.0
"""How far beyond it streets are read, so that sub-streets at the edge are cut as in the whole city."""
_M_PER_DEGREE = 111_195.0


@dataclass(frozen=True)
class StreetMap:
    """A street map, and what to take of it.

    Attributes:
        path: .osm, .osm.bz2, .osm.pbf or .geojson.
        bbox: sub-streets that lie wholly within are photographed, west of its east across the antimeridian; None: all.
        neighbourhoods: GeoJSON polygons; None: the map's own, else its nearest named place.
        neighbourhood_key: their property with the name.
        neighbourhood: what to say where none is known.
        name_key: property or tag with a street's name.
        crs: reference system of GeoJSON lines; None: the file's own, or degrees.
        language: of street names.
        licence: terms, in words.

    Raises:
        ConfigError: `bbox` is no box.
    """

    path: Path
    bbox: Box | None = None
    neighbourhoods: Path | None = None
    neighbourhood_key: str | None = None
    neighbourhood: str = ""
    name_key: str = "name"
    crs: str | None = None
    language: str = "en"
    licence: str = ""

    def __post_init__(self) -> None:
        if self.bbox is not None:
            south, west, north, east = self.bbox
            if not (-90 <= south < north <= 90 and -180 <= west <= 180 and -180 <= east <= 180 and west != east):
                raise ConfigError(
                    f"--bbox {','.join(f'{b:g}' for b in self.bbox)} is no box in degrees",
                    "write south,west,north,east, such as --bbox 37.77,-122.43,37.79,-122.40",
                )

    @property
    def box(self) -> Box | None:
        """`bbox` with an east that is greater than its west, beyond 180 across the antimeridian."""
        if self.bbox is None:
            return None
        south, west, north, east = self.bbox
        return south, west, north, east if west < east else east + 360

    def to_json(self) -> dict[str, Any]:
        """What the city depends on, for ``dataset.toml``; files by name and digest.

        Raises:
            DataError: a file cannot be read.
        """
        found: dict[str, Any] = {"file": self.path.name, "sha256": _digest(self.path, "--streets")}
        if self.bbox is not None:
            found["bbox"] = list(self.bbox)
        if self.neighbourhoods is not None:
            found["neighbourhoods"] = self.neighbourhoods.name
            found["neighbourhoods_sha256"] = _digest(self.neighbourhoods, "--neighbourhoods")
        for name in ("neighbourhood_key", "neighbourhood", "name_key", "crs", "language", "licence"):
            if getattr(self, name):
                found[name] = getattr(self, name)
        return found


@dataclass(frozen=True)
class MappedStreets:
    """What was found in a map.

    Attributes:
        network: all streets that were read.
        edges: those of the city and its rim.
        subs: the sub-streets to be photographed; those that would be called the same are one.
        addresses: of `subs`.
        rim: sub-streets around them, which have houses too.
        areas: the neighbourhood of each sub-street.
        notes: what is worth knowing.
    """

    network: StreetNetwork
    edges: Sequence[Edge]
    subs: Sequence[Sequence[SubStreet]]
    addresses: Sequence[Address]
    rim: Sequence[SubStreet]
    areas: Callable[[SubStreet], str]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Survey:
    """What ties a drawn city to a real map.

    Attributes:
        source: the map and what was taken of it, for ``dataset.toml``.
        title: for people.
        licence: terms, in the user's words.
        origin: [2], degrees, where local metres start.
        corner: [2], local metres, where the city's x = y = 0 lies.
        lines: of each sub-street, its lines on the map, [points, 2] degrees each.
    """

    source: dict[str, Any]
    title: str
    licence: str
    origin: Points
    corner: Floats
    lines: Sequence[Sequence[Points]]


def read_map(street_map: StreetMap, say: Callable[[str], object] = lambda _: None) -> MappedStreets:
    """Read a map and cut it into sub-streets.

    Args:
        street_map: which.
        say: called with a line for the user at each step.

    Raises:
        DataError: the map cannot be used: no named street, none in the box, one sub-street only, metres for degrees.
        ConfigError: an extra is not installed.
    """
    from ial_bench.geocoding.street_names import NameNormalizer, street_words
    from ial_bench.partition.dataset import read_streets
    from ial_bench.partition.network import StreetNetwork
    from ial_bench.partition.substreets import Partition

    say(f"reading {street_map.path}")
    source = read_streets(_as_build(street_map))
    segments, box = source.segments, street_map.box
    if box is not None:
        wide = _widened(box, _CONTEXT_M)
        segments = [s for s in segments if _touches(s.points, wide)]
        if not segments:
            raise _nothing_in(box, [s.points for s in source.segments])
    normalizer = NameNormalizer(street_words(street_map.language))
    network = StreetNetwork.of(segments, normalizer)
    say(f"cutting {len(network.names):,} street names into sub-streets")
    partition = Partition.of(network)
    inside = [box is None or all(_within(line, box) for line in s.lines) for s in partition.subs]
    chosen = [s for s, of in zip(partition.subs, inside, strict=True) if of]
    if box is not None and not chosen:
        raise _nothing_in(box, [s.points for s in source.segments if s.name])
    areas = _areas(street_map, source, normalizer)
    grouped: dict[Any, list[tuple[str, SubStreet]]] = {}
    for sub in chosen:
        address = partition.address(sub, areas(sub))
        grouped.setdefault(address.key, []).append((address.text, sub))
    if len(grouped) < 2:
        raise DataError(
            f"{street_map.path.name} has a single sub-street{'' if box is None else ' in the box'}: there is nothing "
            "to tell apart",
            "give a map of several streets that meet" + ("" if box is None else ", or a larger --bbox"),
        )
    notes = list(source.notes)
    if joined := len(chosen) - len(grouped):
        notes.append(f"{joined:,} sub-streets have the address of another and were made one with it")
    rim_box = None if box is None else _widened(box, _RIM_M)
    rim = [
        s for s, of in zip(partition.subs, inside, strict=True)
        if not of and (rim_box is None or any(_touches(line, rim_box) for line in s.lines))
    ]  # fmt: skip
    edges = [e for e in network.edges if rim_box is None or _touches(e.points, rim_box)]
    groups = list(grouped.values())
    return MappedStreets(
        network, edges, [[s for _, s in g] for g in groups], [Address.parse(min(t for t, _ in g)) for g in groups],
        rim, areas, notes,
    )  # fmt: skip


def _digest(path: Path, option: str) -> str:
    if not path.is_file():
        raise DataError(f"no such file: {path}", f"give {option} FILE")
    return sha256_file(path)


def _as_build(street_map: StreetMap) -> BuildOptions:
    from ial_bench.partition.geojson import StreetKeys
    from ial_bench.partition.options import BuildOptions

    path = street_map.path
    keys = StreetKeys(street_map.name_key)
    return BuildOptions(path, path, path.name, path, street_keys=keys, streets_crs=street_map.crs)


def _areas(street_map: StreetMap, source: StreetSource, normalizer: Any) -> Callable[[SubStreet], str]:
    """The neighbourhood of a sub-street, found once."""
    from ial_bench.partition.neighbourhoods import ByAttribute, ByNearestPlace, ByPolygon, Chain, Neighbourhoods

    ways: list[Neighbourhoods] = []
    if street_map.neighbourhoods is not None:
        ways.append(ByPolygon(street_map.neighbourhoods, street_map.neighbourhood_key))
    ways += [ByAttribute(), ByNearestPlace(source.places)]
    stem = normalizer.display(street_map.path.name.split(".")[0].replace("_", " ").replace("-", " "))
    chain = Chain(ways, normalizer.display(street_map.neighbourhood) or stem or "City", normalizer)
    known: dict[int, str] = {}

    def area(sub: SubStreet) -> str:
        if id(sub) not in known:
            known[id(sub)] = chain.of(sub)
        return known[id(sub)]

    return area


def _widened(box: Box, metres: float) -> Box:
    south, west, north, east = box
    up = metres / _M_PER_DEGREE
    aside = up / max(float(np.cos(np.radians(max(abs(south), abs(north))))), 0.01)
    return south - up, west - aside, north + up, east + aside


def _beside(points: Points, box: Box) -> Points:
    """A line by longitudes that are counted from where the box's are."""
    line = unrolled(points)
    turns = np.round(((box[1] + box[3]) / 2 - (line[:, 1].min() + line[:, 1].max()) / 2) / 360)
    return line + np.array([0.0, 360.0 * turns]) if turns else line


def _within(points: Points, box: Box) -> bool:
    line = _beside(points, box)
    return bool(((line >= np.array(box[:2])) & (line <= np.array(box[2:]))).all())


def _touches(points: Points, box: Box) -> bool:
    """Whether the line's own box meets another."""
    line = _beside(points, box)
    return bool((line.max(axis=0) >= np.array(box[:2])).all() and (line.min(axis=0) <= np.array(box[2:])).all())


def _nothing_in(box: Box, lines: Sequence[Points]) -> DataError:
    corners = unrolled(np.concatenate(lines))
    (south, west), (north, east) = rolled(np.array([corners.min(axis=0), corners.max(axis=0)]))
    asked = (*box[:3], box[3] if box[3] <= 180 else box[3] - 360)
    return DataError(
        f"no named sub-street lies wholly in --bbox {','.join(f'{b:g}' for b in asked)}; the map's streets lie in "
        f"{south:.5f},{west:.5f},{north:.5f},{east:.5f}",
        "write south,west,north,east, a box within the map's and larger than a block",
    )
