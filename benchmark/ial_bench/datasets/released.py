"""Import of the field's released annotation.

    NAME_train.json, NAME_database.json, NAME_queries.json
        {"./images/0001_1.jpg": [caption, verbose address, canonical address], ...}
    a CSV of positions
        filename, utm_easting, utm_northing     (metres, with --utm-zone)
        filename, lat, lon                      (WGS84 degrees)

Positions may also stand in the file names, in SF-XL's form. Photos stay where they are. A record that cannot
be used is listed in a report with the reason, and never given made-up values.
"""

from __future__ import annotations

import csv
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ial_bench.addresses import Address
from ial_bench.datasets.coords import read_coords, sf_xl_position
from ial_bench.datasets.places import PlaceRule, detect_rule, named_rule
from ial_bench.datasets.splits import cut_val
from ial_bench.datasets.table import DESCRIPTION, SPLITS, Bounds, Description, write_dataset
from ial_bench.errors import AddressError, ConfigError, DataError
from ial_bench.files import atomic_path, make_folder, read_json, safe_relative
from ial_bench.geo.points import Points, valid

REPORT = "import-report.csv"
_KINDS = ("train", "database", "queries")
_SPLIT_OF = {"train": "train", "database": "database", "queries": "query"}


@dataclass(frozen=True)
class ReleasedOptions:
    """What to import, and how.

    Attributes:
        annotations: folder of the JSON files.
        images: folder that the keys of the JSON files lie below.
        name: the dataset's name.
        out: the dataset folder to write.
        coords: CSV of positions; None reads them from SF-XL file names.
        utm_zone: zone of UTM positions, such as ``17N``.
        place_rule: name of a rule or a regular expression; None detects it.
        val_fraction: share of the train photos that becomes the val split.
        seed: of the val split.
        max_bad: share of records that may be unusable.
        title: for people; the name by default.
        licence: terms of the photos, in words.
        force: replace a dataset that is there.
    """

    annotations: Path
    images: Path
    name: str
    out: Path
    coords: Path | None = None
    utm_zone: str | None = None
    place_rule: str | None = None
    val_fraction: float = 0.1
    seed: int = 0
    max_bad: float = 0.01
    title: str = ""
    licence: str = ""
    force: bool = False


@dataclass
class ImportSummary:
    """What an import did."""

    folder: Path
    counts: dict[str, int]
    n_addresses: int
    n_candidates: int
    rule: PlaceRule
    n_places: int
    bad: list[tuple[str, str, str]] = field(default_factory=list)  # file, key, reason
    notes: list[str] = field(default_factory=list)


@dataclass
class _Record:
    source: str
    key: str
    path: str
    split: str
    caption: str
    verbose: str
    address: Address
    size: int = 0


def import_released(options: ReleasedOptions, progress: Callable[[str], None] = lambda _: None) -> ImportSummary:
    """Import, and write the dataset folder with its report.

    Args:
        options: what to import.
        progress: told each step.

    Raises:
        DataError: a file is missing, cut off or of another layout, or too many records cannot be used.
        ConfigError: an option is missing or contradicts the data.
        StorageError: the output cannot be written.
    """
    if not 0 <= options.val_fraction < 1:
        raise ConfigError(f"--val-fraction {options.val_fraction} is not in [0, 1)", "give a share such as 0.1")
    if (options.out / DESCRIPTION).exists() and not options.force:
        raise ConfigError(f"{options.out} is already a dataset", "give --force to replace it, or another --out")
    if not options.images.is_dir():
        raise DataError(f"no such folder of images: {options.images}", "give --images DIR")
    bad: list[tuple[str, str, str]] = []
    notes: list[str] = []
    files = find_annotations(options.annotations)
    progress(f"reading {', '.join(p.name for p in files.values())}")
    records = list(_read_records(files, bad))
    n_all = len(records) + len(bad)
    root, records = _locate_images(options.images, records, bad)
    progress("reading positions")
    records, positions = _locate_positions(options, records, bad)
    records, positions, bounds = _inside_city(records, positions, bad)
    make_folder(options.out)
    _write_report(options.out / REPORT, bad)
    if not n_all:
        raise DataError(f"no records in {options.annotations}", "get the annotation again")
    if len(bad) / n_all > options.max_bad or not records:
        reasons = Counter(reason.split(":")[0] for _, _, reason in bad).most_common(3)
        shown = "; ".join(f"{count:,} x {reason}" for reason, count in reasons)
        raise DataError(
            f"{len(bad):,} of {n_all:,} records cannot be used, more than --max-bad {options.max_bad:.2%}: {shown}",
            f"see {options.out / REPORT}; mend the data, or raise --max-bad if that share is to be expected",
        )
    if not any(r.split == "train" for r in records):
        raise DataError("no train record can be used", f"see {options.out / REPORT}; mend the data")
    if not any(r.split == "query" for r in records):
        notes.append("no query record can be used: methods can be trained, but not measured")
    rule = named_rule(options.place_rule) if options.place_rule else detect_rule([r.path for r in records], positions)
    found = [rule.place(r.path) for r in records]
    if alone := sum(not place for place in found):
        notes.append(f"{alone:,} paths have no place by rule {rule.name}; each such photo is a place of its own")
    places = [place or record.path for place, record in zip(found, records, strict=True)]
    addresses, rows = _number_addresses(records, notes)
    splits = np.array([r.split for r in records], dtype=object)
    train = np.flatnonzero(splits == "train")
    in_val = cut_val([places[i] for i in train], rows[train], options.val_fraction, options.seed)
    splits[train[in_val]] = "val"
    _note_straddling(places, splits, notes)
    if not any(r.caption for r in records):
        notes.append("the annotation has no captions")
    verbose = _verbose_forms(records, rows, addresses)
    counts = {name: int((splits == name).sum()) for name in SPLITS}
    progress(f"writing {options.out}")
    write_dataset(
        options.out,
        Description(
            options.name,
            options.title or options.name,
            str(root.resolve()),
            bounds,
            options.licence,
            {
                "importer": "released",
                "place_rule": rule.name,
                "place_rule_meaning": rule.meaning,
                "val_fraction": options.val_fraction,
                "val_seed": options.seed,
                "records": n_all,
                "records_not_used": len(bad),
                **({"utm_zone": options.utm_zone} if options.utm_zone else {}),
            },
        ),
        addresses,
        verbose,
        {
            "photo_id": [r.path for r in records],
            "path": [r.path for r in records],
            "bytes": [r.size for r in records],
            "split": list(splits),
            "place_id": places,
            "address": pa.array(rows, pa.int32()),
            "lat": positions[:, 0],
            "lon": positions[:, 1],
            "heading": pa.nulls(len(records), pa.float32()),
            "caption": [r.caption for r in records],
        },
    )
    candidates = np.unique(rows[np.isin(splits.astype(str), ("train", "database"))])
    return ImportSummary(
        options.out, counts, len(addresses), len(candidates), rule, len(set(places)), bad, notes
    )  # fmt: skip


def find_annotations(folder: Path) -> dict[str, Path]:
    """The annotation files in `folder`, by kind: train, database, queries.

    Raises:
        DataError: no train or queries file, or several of one kind.
    """
    if not folder.is_dir():
        raise DataError(f"no such folder of annotations: {folder}", "give --annotations DIR")
    found: dict[str, Path] = {}
    for kind in _KINDS:
        matches = sorted(folder.glob(f"*_{kind}.json"))
        if len(matches) > 1:
            names = ", ".join(m.name for m in matches)
            raise DataError(f"several *_{kind}.json in {folder}: {names}", "keep one dataset's files in the folder")
        if matches:
            found[kind] = matches[0]
    for kind in ("train", "queries"):
        if kind not in found:
            raise DataError(f"no *_{kind}.json in {folder}", "point --annotations at the released JSON files")
    return found


def _read_records(files: dict[str, Path], bad: list[tuple[str, str, str]]) -> Iterator[_Record]:
    """The usable records of all files; a database photo that is in train as well is a train photo."""
    seen: dict[str, tuple[str, Address]] = {}  # split and address, by path
    parsed: dict[str, Address] = {}
    for kind in _KINDS:
        if kind not in files:
            continue
        file = files[kind]
        data = read_json(file)
        if not isinstance(data, dict):
            raise DataError(
                f"{file} holds a {type(data).__name__}, not an object of records",
                "see `bench data import released --help`",
            )
        for key, value in data.items():
            if not (isinstance(value, list) and len(value) == 3 and all(isinstance(v, str) for v in value)):
                bad.append((file.name, key, "not [caption, verbose address, canonical address]"))
                continue
            caption, verbose, canonical = value
            try:
                "".join((key, *value)).encode()
                path = safe_relative(key)
                address = parsed.get(canonical) or parsed.setdefault(canonical, Address.parse(canonical))
            except (AddressError, DataError) as error:
                bad.append((file.name, key, error.problem))
                continue
            except UnicodeEncodeError:
                bad.append((file.name, key, "half a character (a lone surrogate) in its texts"))
                continue
            split = _SPLIT_OF[kind]
            if path not in seen:
                seen[path] = split, address
                yield _Record(file.name, key, path, split, caption.strip(), verbose.strip(), address)
            elif clash := _clash(*seen[path], split, address):
                bad.append((file.name, key, clash))


def _clash(earlier: str, earlier_address: Address, split: str, address: Address) -> str | None:
    """What is wrong with a second record of a photo; None where train and database agree on it."""
    if earlier == split:
        return f"photo is twice in {split}"
    if split != "database":
        return f"photo is in {earlier} as well"
    return None if earlier_address.key == address.key else f"photo is in {earlier} as well, with another address"


def _locate_images(folder: Path, records: list[_Record], bad: list[tuple[str, str, str]]) -> tuple[Path, list[_Record]]:
    """The folder the keys lie below: `folder`, or its parent where the keys repeat its name; sizes filled in."""
    roots = [folder]
    if any(r.path.startswith(f"{folder.resolve().name}/") for r in records[:1000]):
        roots.append(folder.resolve().parent)
    sample = records[:: max(1, len(records) // 200)]
    # Path.is_file would raise at a name that is too long.
    root = max(roots, key=lambda r: sum(os.path.isfile(r / s.path) for s in sample))  # noqa: PTH113
    kept = []
    for record in records:
        try:
            status = (root / record.path).stat()
        except OSError as error:
            bad.append((record.source, record.key, f"image missing: {root / record.path} ({error.strerror})"))
            continue
        if not stat.S_ISREG(status.st_mode):
            bad.append((record.source, record.key, f"image is no file: {root / record.path}"))
            continue
        if not status.st_size:
            bad.append((record.source, record.key, f"image is empty: {root / record.path}"))
            continue
        record.size = status.st_size
        kept.append(record)
    return root, kept


def _locate_positions(
    options: ReleasedOptions, records: list[_Record], bad: list[tuple[str, str, str]]
) -> tuple[list[_Record], Points]:
    where = read_coords(options.coords, options.utm_zone) if options.coords else None
    positions = np.full((len(records), 2), np.nan)
    for i, record in enumerate(records):
        point = where.get(record.path) if where is not None else sf_xl_position(record.path)
        if point is not None:
            positions[i] = point
    usable = valid(positions)
    missing = (
        "position missing, contradictory, 0, 0 or not finite and in range"
        if where is not None
        else "position missing: no --coords, and none in the file name"
    )
    bad.extend((records[i].source, records[i].key, missing) for i in np.flatnonzero(~usable))
    return [r for r, ok in zip(records, usable, strict=True) if ok], positions[usable]


def _inside_city(
    records: list[_Record], positions: Points, bad: list[tuple[str, str, str]]
) -> tuple[list[_Record], Points, Bounds]:
    if not records:
        return records, positions, Bounds(0.0, 0.0, 0.0, 0.0)
    bounds = Bounds.around(positions)
    inside = bounds.contain(positions)
    for i in np.flatnonzero(~inside):
        lat, lon = positions[i]
        bad.append((records[i].source, records[i].key, f"position far outside the city: {lat:.5f}, {lon:.5f}"))
    return [r for r, ok in zip(records, inside, strict=True) if ok], positions[inside], bounds


def _number_addresses(records: list[_Record], notes: list[str]) -> tuple[list[Address], npt.NDArray[np.int32]]:
    """Distinct addresses sorted by text, and each record's row among them. Spellings of one key are merged."""
    spellings: dict[Any, Counter[str]] = {}
    for record in records:
        spellings.setdefault(record.address.key, Counter())[record.address.text] += 1
    if merged := sum(len(texts) - 1 for texts in spellings.values()):
        notes.append(f"{merged:,} other spellings of an address (case, blanks, order of cross streets) were merged")
    chosen = {key: min(texts, key=lambda t: (-texts[t], t)) for key, texts in spellings.items()}
    addresses = [Address.parse(t) for t in sorted(chosen.values())]
    row_of = {address.key: i for i, address in enumerate(addresses)}
    rows = np.fromiter((row_of[r.address.key] for r in records), dtype=np.int32, count=len(records))
    return addresses, rows


def _verbose_forms(records: list[_Record], rows: npt.NDArray[np.int32], addresses: list[Address]) -> list[str]:
    """The form most of an address's records give, whatever their order; its own where none gives one."""
    given: dict[int, Counter[str]] = {}
    for record, row in zip(records, rows.tolist(), strict=True):
        if record.verbose:
            given.setdefault(row, Counter())[record.verbose] += 1
    chosen = {row: min(texts, key=lambda t: (-texts[t], t)) for row, texts in given.items()}
    return [chosen.get(i, address.verbose) for i, address in enumerate(addresses)]


def _note_straddling(places: list[str], splits: npt.NDArray[np.object_], notes: list[str]) -> None:
    queried = {p for p, s in zip(places, splits, strict=True) if s == "query"}
    if straddling := queried.intersection(p for p, s in zip(places, splits, strict=True) if s in {"train", "val"}):
        notes.append(f"{len(straddling):,} places have photos in train and query alike, such as {min(straddling)!r}")


def _write_report(path: Path, bad: list[tuple[str, str, str]]) -> None:
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["file", "key", "reason"])
        writer.writerows([[_defused(cell) for cell in row] for row in bad])


def _defused(cell: str) -> str:
    """`cell` so that no spreadsheet takes it for a formula; NUL, which Python 3.10 cannot write, is spelled out."""
    cell = cell.replace("\0", "\\0")
    return f"'{cell}" if cell[:1] in {"=", "+", "-", "@", "\t", "\r", "\n"} else cell
