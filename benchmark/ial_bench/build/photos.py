"""Photos with positions: from a CSV, from GeoJSON points, or from a folder of photos with GPS in their EXIF."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ial_bench.build.exif import SUFFIXES, read_exif
from ial_bench.build.geojson_streets import NotNumbersError, read_features
from ial_bench.build.union import UnionFind
from ial_bench.errors import DataError
from ial_bench.files import check_regular, safe_relative
from ial_bench.geo.points import EARTH_RADIUS_M, Points, unit_vectors

SAME_PLACE_M = 3.0
"""Photos without a place's id that are no farther apart are of one place: the views of a panorama share a position up
to rounding, and panoramas are taken at greater steps."""

NO_EXIF = "no GPS position in its EXIF data"
_COLUMNS = {
    "path": ("path", "filename", "file", "image"),
    "id": ("photo_id", "id"),
    "lat": ("lat", "latitude", "y"),
    "lon": ("lon", "lng", "longitude", "x"),
    "heading": ("heading", "bearing", "compass_angle", "yaw"),
    "place": ("place_id", "place", "pano_id"),
    "date": ("date", "captured_at", "timestamp", "datetime"),
    "sequence": ("sequence", "sequence_id", "sequence_key"),
}


@dataclass(frozen=True)
class SourcePhoto:
    """A photo as its source tells of it.

    Attributes:
        path: below the images folder.
        photo_id: unique.
        lat: degrees; NaN where it has none.
        lon: degrees.
        heading: degrees clockwise from north, NaN where unknown.
        place: the place's id, empty where it has none.
        date: ISO 8601, empty where unknown.
        sequence: the drive it is of, empty where unknown.
    """

    path: str
    photo_id: str
    lat: float
    lon: float
    heading: float = np.nan
    place: str = ""
    date: str = ""
    sequence: str = ""


@dataclass
class PhotoSet:
    """The photos of a source.

    Attributes:
        photos: those that can be used, sorted by id.
        images: the folder that paths lie below.
        set_aside: (photo, reason) of the others.
    """

    photos: list[SourcePhoto]
    images: Path
    set_aside: list[tuple[str, str]] = field(default_factory=list)

    @property
    def positions(self) -> Points:
        """[n, 2] degrees."""
        return self.positions_of(range(len(self.photos)))

    def positions_of(self, which: Iterable[int]) -> Points:
        """[n, 2] degrees, of some photos."""
        return np.array([(self.photos[i].lat, self.photos[i].lon) for i in which], dtype=np.float64).reshape(-1, 2)


def read_photos(source: Path, images: Path | None = None) -> PhotoSet:
    """Read what a CSV, a GeoJSON file or a folder tells of photos.

    A photo without a position, or with one that is no latitude and longitude, and one whose file is missing or empty,
    is set aside with the reason.

    Args:
        source: the file or the folder.
        images: the folder that paths lie below; None: the folder of the file, or `source` itself.

    Raises:
        DataError: not readable, without the columns that are needed, an id twice, or without a usable photo.
    """
    if source.is_dir():
        rows = _from_folder(source)
        root = source
    else:
        rows = _from_geojson(source) if source.suffix.lower() in {".geojson", ".json"} else _from_csv(source)
        root = images or source.parent
    if not root.is_dir():
        raise DataError(f"no such folder of images: {root}", "give --images DIR")
    _refuse_doubles(source, rows)
    found = PhotoSet([], root)
    for photo in sorted(rows, key=lambda p: p.photo_id):
        if reason := _fault(photo, root, from_folder=source.is_dir()):
            found.set_aside.append((photo.photo_id, reason))
        else:
            found.photos.append(photo)
    if not found.photos:
        reasons = ", ".join(f"{n:,} x {r}" for r, n in Counter(r for _, r in found.set_aside).most_common(3))
        raise DataError(f"no photo of {source} can be used: {reasons or 'it has none'}", _mend(found.set_aside))
    return found


def _mend(set_aside: Sequence[tuple[str, str]]) -> str:
    reasons = {r for _, r in set_aside}
    if reasons == {NO_EXIF}:
        return "give positions in a CSV: --photos CSV with the columns path, lat, lon"
    if reasons == {"no such file"}:
        return "name the folder that paths lie below: --images DIR"
    return "mend the data"


def _from_csv(source: Path) -> list[SourcePhoto]:
    check_regular(source)
    try:
        with source.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header = list(reader.fieldnames or ())
            rows = [{k: v or "" for k, v in row.items() if isinstance(k, str)} for row in reader]
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror or error}", "give --photos CSV") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{source} is not a well-formed CSV: {error}", "its first line names the columns") from error
    if {"utm_easting", "utm_northing"} <= set(header) and not set(_COLUMNS["lat"]) & set(header):
        raise DataError(
            f"{source} has UTM metres where degrees are expected", "give columns lat and lon in WGS84 degrees"
        )
    for needed in ("path", "lat", "lon"):
        if not set(_COLUMNS[needed]) & set(header):
            raise DataError(
                f"{source} has the columns {', '.join(header) or '(none)'}, and none for {needed}",
                f"name one {_COLUMNS[needed][0]}",
            )
    return [_photo(row) for row in rows]


def _from_geojson(source: Path) -> list[SourcePhoto]:
    features, degrees = read_features(source, None)
    rows = []
    for feature in features:
        geometry = feature.get("geometry") or {}
        lat, lon = np.nan, np.nan
        if geometry.get("type") == "Point":
            try:
                lat, lon = degrees([geometry.get("coordinates")])[0].tolist()
            except NotNumbersError:
                lat, lon = np.nan, np.nan
        rows.append(_photo({**(feature.get("properties") or {}), "lat": lat, "lon": lon}))
    return rows


def _from_folder(folder: Path) -> list[SourcePhoto]:
    rows = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()):
        told = read_exif(path)
        name = path.relative_to(folder).as_posix()
        rows.append(SourcePhoto(name, name, told.lat, told.lon, told.heading, "", told.date))
    if not rows:
        raise DataError(f"no photo in {folder}", f"its files should end in {', '.join(sorted(SUFFIXES))}")
    return rows


def _photo(row: Mapping[str, Any]) -> SourcePhoto:
    def text(what: str) -> str:
        value = next((row[c] for c in _COLUMNS[what] if row.get(c) not in {None, ""}), "")
        return str(value).strip()

    path = text("path").replace("\\", "/").removeprefix("./")
    lat, lon, heading = (_number(text(what)) for what in ("lat", "lon", "heading"))
    return SourcePhoto(path, text("id") or path, lat, lon, heading, text("place"), text("date"), text("sequence"))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _refuse_doubles(source: Path, rows: Iterable[SourcePhoto]) -> None:
    photos = list(rows)
    for what, values in (("id", [p.photo_id for p in photos]), ("path", [p.path for p in photos])):
        twice = sorted(v for v, n in Counter(values).items() if n > 1 and v)
        if twice:
            shown = ", ".join(repr(v) for v in twice[:10])
            raise DataError(f"{source}: {len(twice):,} photos have their {what} twice: {shown}", "keep one row a photo")


def _fault(photo: SourcePhoto, root: Path, *, from_folder: bool) -> str:
    """Why a photo cannot be used; empty if it can. Numbers that are no degrees are looked at later, all together."""
    if not photo.path:
        return "no path"
    if not np.isfinite([photo.lat, photo.lon]).all():
        return NO_EXIF if from_folder else "no position"
    if photo.lat == photo.lon == 0:
        return "position 0, 0"
    try:
        file = root / safe_relative(photo.path)
        size = file.stat().st_size
    except DataError:
        return "unsafe path"
    except OSError:
        return "no such file"
    return "" if size else "empty file"


@dataclass(frozen=True)
class Place:
    """Photos that share a camera position.

    Attributes:
        name: the place's id.
        photos: as numbers of the photos.
        position: [2], the mean of theirs, degrees.
    """

    name: str
    photos: tuple[int, ...]
    position: Points


def places_of(photos: Sequence[SourcePhoto], same_place_m: float = SAME_PLACE_M) -> list[Place]:
    """The places of photos, by name.

    Photos with a place's id are of that place. Of the others, those of one date within `same_place_m` of each other
    are one; chains of such count as one place. It is called by its first photo.

    Args:
        photos: in order of their ids.
        same_place_m: see `SAME_PLACE_M`.
    """
    members: dict[str, list[int]] = defaultdict(list)
    loose = [i for i, p in enumerate(photos) if not p.place]
    for i, photo in enumerate(photos):
        if photo.place:
            members[photo.place].append(i)
    for group in _near(photos, loose, same_place_m):
        first = photos[group[0]].photo_id
        members[first if first not in members else f"{first} (photo)"] += group
    return [
        Place(name, tuple(which), np.array([(photos[i].lat, photos[i].lon) for i in which]).mean(axis=0))
        for name, which in sorted(members.items())
    ]


def _near(photos: Sequence[SourcePhoto], which: Sequence[int], same_place_m: float) -> list[list[int]]:
    from scipy.spatial import KDTree

    if not which:
        return []
    vectors = unit_vectors(np.array([(photos[i].lat, photos[i].lon) for i in which])) * EARTH_RADIUS_M
    same: UnionFind[int] = UnionFind()
    for a, b in sorted(KDTree(vectors).query_pairs(same_place_m)):
        if photos[which[a]].date[:10] == photos[which[b]].date[:10]:
            same.join([a, b])
    groups: dict[int, list[int]] = defaultdict(list)
    for k, i in enumerate(which):
        groups[same.find(k)].append(i)
    return list(groups.values())
