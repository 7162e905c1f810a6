"""Photos with positions: from a CSV, from GeoJSON points, or from a folder of photos with GPS in their EXIF."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ial_bench.datasets.columns import read_csv
from ial_bench.datasets.importing.photo_files import FileNames, is_absolute, plain_path
from ial_bench.errors import DataError, ImageError
from ial_bench.files import safe_relative
from ial_bench.geo.points import Points, haversine_m, heading_of, middle, signed, valid
from ial_bench.partition.exif import date_of, read_exif
from ial_bench.partition.geojson import NotNumbersError, read_features

REACH_M = 1e6
"""Where local metres are 0.4 % long."""
SWAP = "swap the two columns, or the two numbers of each GeoJSON point: GeoJSON writes longitude first"
_STRAYS = 0.1  # of the photos, at most: what wrong positions may be

ABSOLUTE = "an absolute path that does not lie below the images"
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


_SHOWN = 60  # characters of a cell in a reason


@dataclass(frozen=True)
class SourcePhoto:
    """A photo as its source describes it.

    Attributes:
        path: below the images folder.
        photo_id: unique.
        lat: degrees; NaN where it has none.
        lon: degrees.
        heading: degrees clockwise from north, NaN where unknown.
        place: the place's id, empty where it has none.
        taken: the moment, in its own zone; None where unknown.
        sequence: the drive it is of, empty where unknown.
    """

    path: str
    photo_id: str
    lat: float
    lon: float
    heading: float = np.nan
    place: str = ""
    taken: datetime | None = None
    sequence: str = ""

    @property
    def seconds(self) -> float:
        """Since 1970 when it was taken; minus infinity where that is unknown."""
        return -np.inf if self.taken is None else self.taken.timestamp()


@dataclass
class PhotoSet:
    """The photos of a source.

    Attributes:
        photos: those that can be used, sorted by id.
        images: the folder that paths lie below.
        set_aside: (photo, reason) of the others.
        notes: what is worth knowing.
    """

    photos: list[SourcePhoto]
    images: Path
    set_aside: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def positions(self) -> Points:
        """[n, 2] degrees."""
        return self.positions_of(range(len(self.photos)))

    def positions_of(self, which: Iterable[int]) -> Points:
        """[n, 2] degrees, of some photos."""
        return np.array([(self.photos[i].lat, self.photos[i].lon) for i in which], dtype=np.float64).reshape(-1, 2)

    def drop(self, which: npt.NDArray[np.bool_], reason: Callable[[SourcePhoto], str]) -> None:
        """Set aside the photos in `which` [n], each with its reason."""
        dropped = which.tolist()
        self.set_aside += [(p.photo_id, reason(p)) for p, out in zip(self.photos, dropped, strict=True) if out]
        self.photos = [p for p, out in zip(self.photos, dropped, strict=True) if not out]


def read_photos(source: Path, images: Path | None = None) -> PhotoSet:
    """Read the photos of a CSV, a GeoJSON file or a folder.

    A photo without a position, or with one that is no latitude and longitude, and one whose file is missing or empty,
    is set aside with the reason; of a folder, every file that is no photo.

    Args:
        source: the file or the folder.
        images: the folder that paths lie below; None: the folder of the file, or `source` itself.

    Raises:
        DataError: not readable, without the columns that are needed, an id twice, a date that cannot be read, or
            without a usable photo.
    """
    root = source if source.is_dir() else images or source.parent
    if not root.is_dir():
        raise DataError(f"no such folder of images: {root}", "give --images DIR")
    reader = _Reader(source, root)
    if source.is_dir():
        rows = reader.folder()
    else:
        rows = reader.geojson() if source.suffix.lower() in {".geojson", ".json"} else reader.csv()
    _refuse_doubles(source, [photo for photo, _ in rows])
    found = PhotoSet([], root, notes=reader.notes())
    for photo, fault in sorted(rows, key=lambda row: row[0].photo_id):
        if reason := fault or _fault(photo, root):
            found.set_aside.append((photo.photo_id, reason))
        else:
            found.photos.append(photo)
    if not found.photos:
        tally = Counter(r for _, r in found.set_aside)
        reasons = ", ".join(f"{n:,} x {r}" for r, n in tally.most_common(3))
        raise DataError(f"no photo of {source} can be used: {reasons or 'it has none'}", _mend(source, tally))
    return found


def _mend(source: Path, reasons: Counter[str]) -> str:
    if source.is_dir():
        return "give positions in a CSV: --photos CSV with the columns path, lat, lon"
    if reasons.keys() <= {"no such file", ABSOLUTE}:
        return "name the folder that paths lie below: --images DIR"
    return "mend the data"


class _Reader:
    """Reads the photos of one source, each with its fault, which is empty where none is known yet."""

    def __init__(self, source: Path, root: Path) -> None:
        self.source, self.root = source, root
        self._files = FileNames(root)
        self._headings: list[str] = []  # that are no numbers
        self._dates: list[str] = []  # that cannot be read
        self._exif_dates = 0

    def csv(self) -> list[tuple[SourcePhoto, str]]:
        table = read_csv(self.source, "--photos")
        named = {what: table.first_of(names) for what, names in _COLUMNS.items()}
        if named["lat"] is None and {"utm_easting", "utm_northing"} <= set(table.header):
            raise DataError(
                f"{self.source} has UTM metres where degrees are expected", "give columns lat and lon in WGS84 degrees"
            )
        for needed in ("path", "lat", "lon"):
            if named[needed] is None:
                raise DataError(
                    f"{self.source} has the columns {', '.join(table.header)}, and none for {needed}",
                    f"name one {_COLUMNS[needed][0]}",
                )
        lat, lon = (table.numbers(named[c] or "") for c in ("lat", "lon"))
        present = [name for names in _COLUMNS.values() for name in names if name in table.header]
        columns = {c: table.texts(c).to_pylist() for c in present}
        rows = []
        for i in range(len(table)):
            fault = ""
            for column, numbers in (("lat", lat), ("lon", lon)):
                if numbers.odd[i]:
                    fault = f"its {column} is not a number: {columns[named[column] or ''][i][:_SHOWN]!r}"
            rows.append(
                (self._photo({c: texts[i] for c, texts in columns.items()}, lat.values[i], lon.values[i]), fault)
            )
        self._check_dates()
        return rows

    def geojson(self) -> list[tuple[SourcePhoto, str]]:
        features, degrees = read_features(self.source, None)
        rows = []
        for feature in features:
            geometry, fault = feature.get("geometry") or {}, ""
            lat, lon = np.nan, np.nan
            if geometry.get("type") == "Point" and geometry.get("coordinates"):
                try:
                    lat, lon = degrees([geometry["coordinates"]])[0].tolist()
                except NotNumbersError:
                    fault = "its position is not two numbers"
            elif geometry.get("type"):
                fault = f"a {str(geometry['type'])[:_SHOWN]} is no position" if geometry["type"] != "Point" else ""
            row = {str(key).strip().lower(): value for key, value in (feature.get("properties") or {}).items()}
            rows.append((self._photo(row, lat, lon), fault))
        self._check_dates()
        return rows

    def folder(self) -> list[tuple[SourcePhoto, str]]:
        rows = []
        for path in sorted(p for p in self.source.rglob("*") if p.is_file()):
            name = path.relative_to(self.source).as_posix()
            try:
                exif = read_exif(path)
            except ImageError as error:
                why = error.problem.removeprefix(f"{path} is ")
                rows.append((SourcePhoto(name, name, np.nan, np.nan), why))
                continue
            self._exif_dates += exif.odd_date
            rows.append((SourcePhoto(name, name, exif.lat, exif.lon, exif.heading, "", exif.taken), exif.fault))
        if not rows:
            raise DataError(f"no photo in {self.source}", "name the folder that has them")
        return rows

    def notes(self) -> list[str]:
        """What could not be read, and was done without."""
        found = []
        if self._headings:
            such = f"such as {self._headings[0]!r}"
            found.append(f"{len(self._headings):,} photos have a heading that is not a number, {such}: it is left out")
        if self._exif_dates:
            found.append(f"{self._exif_dates:,} photos have a date in their EXIF data that cannot be read")
        return found

    def _photo(self, row: Mapping[str, Any], lat: float, lon: float) -> SourcePhoto:
        def text(what: str) -> str:
            value = next((row[c] for c in _COLUMNS[what] if row.get(c) not in {None, ""}), "")
            return str(value).strip()

        path = plain_path(text("path"), self.root)
        heading, taken = np.nan, None
        try:
            heading = heading_of(text("heading"))
        except ValueError:
            self._headings.append(text("heading")[:_SHOWN])
        try:
            taken = date_of(text("date"))
        except ValueError:
            self._dates.append(text("date")[:_SHOWN])
        own = text("id") or path
        return SourcePhoto(self._files.spelled(path), own, lat, lon, heading, text("place"), taken, text("sequence"))

    def _check_dates(self) -> None:
        if self._dates:
            such = f"such as {self._dates[0]!r}"
            raise DataError(
                f"{self.source}: {len(self._dates):,} photos have a date that cannot be read, {such}",
                "write dates as 2024-05-31 or 2024-05-31T08:30:00Z, or as seconds or milliseconds since 1970",
            )


def _refuse_doubles(source: Path, photos: Sequence[SourcePhoto]) -> None:
    for what, values in (("id", [p.photo_id for p in photos]), ("path", [p.path for p in photos])):
        twice = sorted(v for v, n in Counter(values).items() if n > 1 and v)
        if twice:
            shown = ", ".join(repr(v) for v in twice[:10])
            raise DataError(f"{source}: {len(twice):,} photos have their {what} twice: {shown}", "keep one row a photo")


def _fault(photo: SourcePhoto, root: Path) -> str:
    """Why a photo cannot be used; empty if it can. Numbers that are no degrees are looked at later, all together."""
    if not photo.path:
        return "no path"
    if not np.isfinite([photo.lat, photo.lon]).all():
        return "no position"
    if photo.lat == photo.lon == 0:
        return "position 0, 0"
    return ABSOLUTE if is_absolute(photo.path) else _fault_of_file(photo.path, root)


def _fault_of_file(path: str, root: Path) -> str:
    try:
        size = (root / safe_relative(path)).stat().st_size
    except DataError:
        return "unsafe path"
    except OSError:
        return "no such file"
    return "" if size else "empty file"


def check_degrees(photos: PhotoSet, source: Path) -> None:
    """Set photos aside whose positions are no latitude and longitude; longitudes to 360 are brought within 180.

    Raises:
        DataError: more than half of them are; it says what they look like.
    """
    positions = signed(photos.positions)
    photos.photos = [replace(p, lon=lon) for p, lon in zip(photos.photos, positions[:, 1].tolist(), strict=True)]
    fine = valid(positions)
    if (~fine).sum() * 2 > len(fine):
        lat, lon = positions[~fine][0]
        if valid(positions[~fine][:, ::-1]).all():
            raise DataError(
                f"{source} has latitude and longitude swapped: {lat:g} is no latitude, {lon:g} could be one", SWAP
            )
        raise DataError(
            f"{source} has positions that are no degrees, such as {lat:g}, {lon:g}: they look like metres of a map "
            "projection",
            "give lat and lon in WGS84 degrees",
        )
    photos.drop(~fine, lambda p: f"no latitude and longitude: {p.lat:g}, {p.lon:g}")


def check_reach(photos: PhotoSet) -> Points:
    """The middle of the photos, [2] degrees, without those that are too far from it for metres to be true.

    Raises:
        DataError: these are more than strays: the photos are of several cities.
    """
    far = haversine_m(photos.positions, middle(photos.positions)) > REACH_M
    if far.sum() > _STRAYS * len(far):
        raise DataError(
            f"{far.sum():,} of {len(far):,} photos lie more than {REACH_M / 1e3:,.0f} km from the middle of all: "
            "they are of several cities",
            "build a dataset of each, then `bench data join`",
        )
    photos.drop(far, lambda _: f"more than {REACH_M / 1e3:,.0f} km from the middle of all photos")
    return middle(photos.positions)
