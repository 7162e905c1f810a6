"""From the records of an annotation to the files of their photos, and to where these were taken."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ial_bench.datasets.columns import mapped
from ial_bench.datasets.importing.annotation import Records, one_a_photo
from ial_bench.datasets.importing.photo_files import FileNames, composed, find_photo_folder, measure
from ial_bench.datasets.importing.pitts_ial import of_pitts, read_mats, resolve
from ial_bench.datasets.importing.positions import Located, read_coords, without_headings
from ial_bench.datasets.importing.report import Reject
from ial_bench.datasets.importing.sf_ial import from_names
from ial_bench.datasets.places import SAME_PLACE_M
from ial_bench.datasets.table import Bounds
from ial_bench.errors import ConfigError
from ial_bench.geo.points import haversine_m, valid
from ial_bench.progress import Reporter

_SHOWN = 10  # keys without an image


@dataclass(frozen=True)
class FoundPhotos:
    """The records that have a photo, n of them.

    Attributes:
        root: the folder that files lie below.
        records: those with a file.
        files: text [n], where each photo lies below `root`.
        names: text [n], what each is called in Pitts-250k; the path of its record for other annotation.
        sizes: int64 [n], bytes.
        missing: keys that match no file.
        layout: of annotation on Pitts-250k, file by file how its keys were read.
    """

    root: Path
    records: Records
    files: pa.ChunkedArray
    names: pa.ChunkedArray
    sizes: npt.NDArray[np.int64]
    missing: list[str] = field(default_factory=list)
    layout: list[tuple[str, str]] = field(default_factory=list)

    def where(self, mask: npt.NDArray[np.bool_]) -> FoundPhotos:
        """Those where `mask` [n] is True."""
        if mask.all():
            return self
        chosen, kept = pa.array(mask), self.records.where(mask)
        names = kept.path if self.names is self.records.path else self.names.filter(chosen)
        return FoundPhotos(
            self.root, kept, self.files.filter(chosen), names, self.sizes[mask], self.missing, self.layout
        )

    @property
    def without_image(self) -> str:
        """The first keys that match no image, and where it was looked for; empty if there are none."""
        keys = self.missing
        if not keys:
            return ""
        shown = ", ".join(keys[:_SHOWN]) + (", ..." if len(keys) > _SHOWN else "")
        return f"{len(keys):,} keys match no image below {self.root}: {shown}"


def find_photos(folder: Path, records: Records, rejects: list[Reject], reporter: Reporter) -> FoundPhotos:
    """The files of `records` below `folder`; records without one, and second ones of a photo, are added to `rejects`.

    Args:
        folder: that the user gave.
        records: n records.
        rejects: added to.
        reporter: shows progress.
    """
    below = find_photo_folder(folder, records.path)
    root, files, names = below.root, below.files(records.path), records.path
    readings: list[tuple[str, str]] = []
    if of_pitts(records.path):
        pitts = resolve(below, folder, records, reporter)
        root, files, names, readings = pitts.root, pitts.files, pitts.names, pitts.readings
        sizes, wrong = pitts.sizes, pitts.wrong
    else:
        sizes, wrong = measure(root, files, reporter)
    files = _respelled(root, files, sizes, wrong, reporter)
    listed = [records.rejected(i, reason) for i, reason in wrong.items()]
    rejects.extend(listed)
    missing = [key for _, key, reason in listed if reason.startswith("image missing")]
    found = FoundPhotos(root, records, files, names, sizes, missing, readings).where(sizes > 0)
    meant = _files_meant(found) if readings or not pc.all(pc.string_is_ascii(found.files)).as_py() else None
    return found if meant is None else found.where(one_a_photo(found.records, meant, rejects))


def _respelled(
    root: Path, files: pa.ChunkedArray, sizes: npt.NDArray[np.int64], wrong: dict[int, str], reporter: Reporter
) -> pa.ChunkedArray:
    """`files` as the disk spells those that are missing as they are written; `sizes` and `wrong` follow."""
    disk = FileNames(root)
    spelled = {}
    for row in wrong:
        written = files[row].as_py()
        if (other := disk.spelled(written)) != written:
            spelled[row] = other
    if not spelled:
        return files
    rows = np.array(list(spelled), dtype=np.int64)
    again, still_wrong = measure(root, pa.chunked_array([pa.array(list(spelled.values()))]), reporter)
    sizes[rows] = again
    for i, row in enumerate(rows.tolist()):
        del wrong[row]
        if i in still_wrong:
            wrong[row] = still_wrong[i]
    mask = np.zeros(len(files), dtype=np.bool_)
    mask[rows] = True
    ordered = [spelled[row] for row in sorted(spelled)]
    return pc.replace_with_mask(files.combine_chunks(), pa.array(mask), pa.array(ordered, pa.string()))


def _files_meant(found: FoundPhotos) -> pa.ChunkedArray:
    """[n]: the same text for two photos that are one file, also where its name is spelled in two ways."""
    meant = mapped(found.files, composed)
    counts = Counter(name for name in meant.to_pylist() if not name.isascii())
    if not any(count > 1 for count in counts.values()):
        return meant

    def identity(written: str) -> str:
        name = composed(written)
        if counts[name] < 2:
            return name
        status = os.stat(found.root / written)  # noqa: PTH116 - two spellings may be two files, or one
        return f"//{status.st_dev}/{status.st_ino}"

    return mapped(found.files, identity)


def locate(
    records: Records,
    files: pa.ChunkedArray,
    rejects: list[Reject],
    notes: list[str],
    coords: Path | None,
    mats: Path | None,
    utm_zone: str | None,
) -> tuple[Located, npt.NDArray[np.bool_]]:
    """Positions from a CSV, from MATLAB files, or from file names if neither is given.

    Args:
        records: n records.
        files: [n] what their photos are called in the data set that they come from, where that is not the path of the
            record; looked up where that path is not known.
        rejects: records without a usable position are added.
        notes: what is odd is added.
        coords: a CSV.
        mats: folder of the MATLAB files of Pitts-250k.
        utm_zone: zone of UTM positions; needed for `mats`.

    Returns:
        where the usable records are, and [n] which are usable.

    Raises:
        DataError: a file is missing, damaged or of another layout.
        ConfigError: UTM positions without a zone, or with one that contradicts them.
    """
    if mats is not None:
        if utm_zone is None:
            raise ConfigError(f"{mats} has UTM positions, whose zone is not known", "give --utm-zone, such as 17N")
        found, absent = read_mats(mats, utm_zone)
        if absent:
            notes.append(f"{', '.join(absent)} not in {mats}: their photos have no position")
        rows = found.rows(files)
    elif coords is not None:
        found = read_coords(coords, utm_zone)
        rows = found.rows(records.path)
        if files is not records.path:
            rows = np.where(rows < 0, found.rows(files), rows)
    else:
        located, reasons = from_names(records.path, utm_zone)
        usable = valid(located.points)
        rejects.extend(records.rejected(i, reasons[i]) for i in np.flatnonzero(~usable).tolist())
        return located.where(usable), usable
    points = found.at(rows)
    usable = valid(points)
    unusable = np.flatnonzero(~usable)
    absent_rows = unusable[rows[unusable] < 0]
    like = found.like(records.path[int(absent_rows[0])].as_py()) if len(absent_rows) else ""
    rejects.extend(
        records.rejected(i, found.why_none(int(rows[i]), records.path[i].as_py(), like)) for i in unusable.tolist()
    )
    return without_headings(points[usable]), usable


def inside_city(records: Records, located: Located, rejects: list[Reject]) -> tuple[Bounds, npt.NDArray[np.bool_]]:
    """The city's box, and [n] which records lie in it; others are added to `rejects`."""
    if not len(records):
        return Bounds(0.0, 0.0, 0.0, 0.0), np.zeros(0, np.bool_)
    bounds = Bounds.around(located.points)
    inside = bounds.contain(located.points)
    for i in np.flatnonzero(~inside).tolist():
        lat, lon = located.points[i]
        rejects.append(records.rejected(i, f"position far outside the city: {lat:.5f}, {lon:.5f}"))
    return bounds, inside


def note_wide_places(codes: npt.NDArray[np.int64], located: Located, notes: list[str]) -> None:
    """Add to `notes` if photos of one place, by `codes` [n], were taken apart."""
    _, first = np.unique(codes, return_index=True)
    apart = haversine_m(located.points, located.points[first][codes])
    if n := len(np.unique(codes[apart > SAME_PLACE_M])):
        notes.append(f"{n:,} places have photos taken apart, by up to {apart.max():,.0f} m from the first of the place")
