"""Import of the field's released annotation.

    NAME_train.json, NAME_database.json, NAME_queries.json
        {"./images/0001_1.jpg": [caption, verbose address, canonical address], ...}
    a CSV of positions
        filename, utm_easting, utm_northing     (metres, with --utm-zone)
        filename, lat, lon                      (WGS84 degrees)

Positions may also stand in the MATLAB files of Pitts-250k, or in the file names, in SF-XL's form. Photos stay where
they are. A record that cannot be used is listed in a report with the reason, and never given made-up values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ial_bench.datasets.columns import mapped, numbered
from ial_bench.datasets.importing.annotation import find_annotations, number_addresses, read_records, verbose_forms
from ial_bench.datasets.importing.found_photos import FoundPhotos, find_photos, inside_city, locate, note_wide_places
from ial_bench.datasets.importing.photo_files import checksums
from ial_bench.datasets.importing.pitts_ial import places_apart
from ial_bench.datasets.importing.positions import Located
from ial_bench.datasets.importing.report import REPORT, ImportSummary, Reject, kinds, write_report
from ial_bench.datasets.known import DatasetCard, another_name, own_name
from ial_bench.datasets.photos import SPLITS
from ial_bench.datasets.places import PlaceRule, cut_val, detect_rule, named_rule
from ial_bench.datasets.table import Bounds, Description, new_dataset, write_dataset
from ial_bench.errors import ConfigError, DataError
from ial_bench.files import make_folder
from ial_bench.geo.regions import whereabouts
from ial_bench.progress import NoReport, Reporter

_TRAIN, _VAL, _DATABASE, _QUERY = range(len(SPLITS))  # in a column of splits


@dataclass(frozen=True)
class ReleasedOptions:
    """What to import, and how.

    Attributes:
        annotations: folder of the JSON files.
        images: folder that the keys of the JSON files lie below.
        name: the dataset's name. That of `card` is for an import of the published counts alone.
        out: the dataset folder to write.
        coords: CSV of positions; None, and no `mats`, reads them from SF-XL file names.
        utm_zone: zone of UTM positions, such as ``17N``.
        place_rule: name of a rule or a regular expression; None detects it.
        val_fraction: share of the train photos that becomes the val split.
        seed: of the val split.
        max_bad: share of records that may be unusable.
        title: for people; the name by default.
        licence: terms of the photos, in words.
        force: replace a dataset that is there.
        mats: folder of the MATLAB files of Pitts-250k; not with `coords`.
        card: the known dataset this should be; its counts are compared.
        contents: whether to read every photo for its content digest.
        train_on_database: whether the database file's photos become train and val photos.
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
    mats: Path | None = None
    card: DatasetCard | None = None
    contents: bool = True
    train_on_database: bool = False

    def published_as(self, card: DatasetCard) -> ReleasedOptions:
        """These, for the dataset of `card`: with its places, zone and terms, and its title if it has its name."""
        title = card.title if self.name == card.name else ""
        return replace(
            self, card=card, utm_zone=card.utm_zone or None, place_rule=card.place_rule or None, title=title,
            licence=card.licence,
        )  # fmt: skip


def import_released(options: ReleasedOptions, reporter: Reporter | None = None) -> ImportSummary:
    """Import, and write the dataset folder with its report.

    Args:
        options: what to import.
        reporter: shows each step and the progress.

    Raises:
        DataError: a file is missing, cut off, unreadable or of another layout, too many records cannot be used, or what
            there is is not the dataset whose name it was to have; a dataset that is in the folder stays as it is.
        ConfigError: an option is missing or contradicts the data, the name is kept for another dataset, the output is a
            dataset already, or another process writes there.
        StorageError: the output cannot be written.
    """
    _check(options)
    parts = {**vars(options), "force": None, "card": options.card and options.card.name}
    with new_dataset(options.out, options.force, "bench data import", *parts.items()):
        return _import(options, reporter or NoReport())


def _import(options: ReleasedOptions, reporter: Reporter) -> ImportSummary:
    rejects: list[Reject] = []
    notes: list[str] = []
    files = find_annotations(options.annotations)
    reporter.log(f"reading {', '.join(p.name for p in files.values())}")
    records, n_read = read_records(files, rejects, reporter)
    n_all = len(records) + len(rejects)
    found = find_photos(options.images, records, rejects, reporter)
    reporter.log("reading positions")
    located, usable = locate(found.records, found.names, rejects, notes, options.coords, options.mats, options.utm_zone)
    found = found.where(usable)
    bounds, inside = inside_city(found.records, located, rejects)
    found, located = found.where(inside), located.where(inside)
    records = found.records
    _refuse_bad(options, n_all, rejects, found)
    notes += [found.without_image] if found.without_image else []
    if not (records.split == _QUERY).any():
        notes.append("no query record can be used: methods can be trained, but not measured")

    rule, places = _places_of(options, found, located, notes)
    codes, place_names = numbered(places)
    addresses, rows = number_addresses(records, notes)
    split = records.split.copy()
    if options.train_on_database:
        split[split == _DATABASE] = _TRAIN
    train = np.flatnonzero(split == _TRAIN)
    in_val = cut_val(places.take(pa.array(train)), rows[train], options.val_fraction, options.seed)
    split[train[in_val]] = _VAL
    _note_straddling(codes, place_names, split, notes)
    if pc.max(pc.binary_length(records.caption)).as_py() == 0:
        notes.append("the annotation has no captions")

    counts = {name: int((split == i).sum()) for i, name in enumerate(SPLITS)}
    candidates = np.unique(rows[np.isin(split, [_TRAIN, _DATABASE])])
    _refuse_another(options, len(candidates), counts["query"], n_all, rejects)

    contents = checksums(found.root, found.files, found.sizes, reporter) if options.contents else None
    reporter.log(f"writing {options.out}")
    make_folder(options.out)
    write_report(options.out / REPORT, rejects, found.layout)
    write_dataset(
        options.out,
        _description(options, found, bounds, rule, n_all, len(rejects)),
        addresses,
        verbose_forms(records, rows, addresses),
        {
            "photo_id": records.path,
            "path": found.files,
            "bytes": pa.array(found.sizes),
            "split": pa.array(SPLITS).take(pa.array(split)),
            "place_id": places,
            "address": pa.array(rows, pa.int32()),
            "lat": pa.array(located.points[:, 0]),
            "lon": pa.array(located.points[:, 1]),
            "heading": pa.array(located.headings, pa.float32(), mask=np.isnan(located.headings)),
            "caption": records.caption,
        },
        contents=contents,
    )
    query_addresses = np.unique(rows[split == _QUERY])
    n_places = [len(np.unique(codes[records.split == part])) for part in (_TRAIN, _DATABASE, _QUERY)]
    counted = {
        "records of the train file": n_read["train"], "records of the database file": n_read.get("database", 0),
        "records of the queries file": n_read["queries"], "records of all files": sum(n_read.values()),
        "places of the train file": n_places[0], "places of the database file": n_places[1],
        "places of the queries file": n_places[2], "places": len(place_names),
        "train, val and database photos": counts["train"] + counts["val"] + counts["database"],
        "query photos": counts["query"], "addresses of train, val and database photos": len(candidates),
        "addresses of query photos": len(query_addresses), "addresses": len(addresses),
    }  # fmt: skip
    return ImportSummary(
        options.out, counts, len(addresses), len(candidates), rule, len(place_names), rejects, notes,
        [expected.compare(counted[expected.what]) for expected in options.card.expected] if options.card else [],
        whereabouts(located.points), [f"{file}: {line}" for file, line in found.layout],
    )  # fmt: skip


def _check(options: ReleasedOptions) -> None:
    if options.card is None or options.name != options.card.name:
        own_name(options.name)
    if not 0 <= options.val_fraction < 1:
        raise ConfigError(f"--val-fraction {options.val_fraction} is not in [0, 1)", "give a share such as 0.1")
    if options.coords and options.mats:
        raise ConfigError("positions are given twice, by --coords and by --mats", "give one of the two")
    if not options.images.is_dir():
        raise DataError(f"no such folder of images: {options.images}", "give --images DIR")


def _refuse_bad(options: ReleasedOptions, n_all: int, rejects: list[Reject], found: FoundPhotos) -> None:
    """Go no further if too much is wrong; the report says what."""
    records, missing = found.records, found.without_image
    report = options.out / REPORT
    too_many = not n_all or len(rejects) / n_all > options.max_bad or not len(records)
    if not too_many and (records.split == _TRAIN).any():
        return
    make_folder(options.out)
    write_report(report, rejects, found.layout)
    if not n_all:
        raise DataError(f"no records in {options.annotations}", "get the annotation again")
    if too_many:
        raise DataError(
            f"{len(rejects):,} of {n_all:,} records cannot be used, more than --max-bad {options.max_bad:.2%}: "
            + "; ".join(kinds(rejects))
            + (f". {missing}" if missing else ""),
            f"see {report}; mend the data, or raise --max-bad if that share is to be expected",
        )
    raise DataError("no train record can be used", f"see {report}; mend the data")


def _refuse_another(
    options: ReleasedOptions, n_candidates: int, n_queries: int, n_all: int, rejects: list[Reject]
) -> None:
    """Go no further if it has the name of a published dataset and is another; nothing has been written yet."""
    card = options.card
    if card is None or options.name != card.name or card.admits(n_candidates, n_queries):
        return
    lost = f"; {len(rejects):,} of {n_all:,} records cannot be used: {'; '.join(kinds(rejects))}" if rejects else ""
    raise DataError(
        f"this is not {card.title} as it is published: {n_candidates:,} candidates and {n_queries:,} queries, not "
        f"{card.size}{lost}. The name {card.name} is kept for that one, and nothing was written",
        f"give it a name of its own, such as --name {another_name(card)}, or import the whole release",
    )


def _places_of(
    options: ReleasedOptions, found: FoundPhotos, located: Located, notes: list[str]
) -> tuple[PlaceRule, pa.ChunkedArray]:
    """The rule, and the place of each photo: its path where the rule finds none."""
    named = options.place_rule
    paths = found.records.path
    rule = named_rule(named) if named else detect_rule(paths, located.points)
    places = places_apart(paths, found.names, rule) if found.layout else mapped(paths, rule.place)
    if alone := places.null_count:
        notes.append(f"{alone:,} paths have no place by rule {rule.name}; each such photo is a place of its own")
        places = pc.coalesce(places, paths)
    if options.card:
        note_wide_places(numbered(places)[0], located, notes)
    return rule, places


def _note_straddling(
    codes: npt.NDArray[np.int64], names: pa.Array, split: npt.NDArray[np.int8], notes: list[str]
) -> None:
    trained_on = np.isin(split, [_TRAIN, _VAL])
    straddling = np.intersect1d(codes[trained_on], codes[split == _QUERY])
    if len(straddling):
        first = pc.min(names.take(pa.array(straddling))).as_py()
        notes.append(f"{len(straddling):,} places have photos in train and query alike, such as {first!r}")


def _description(
    options: ReleasedOptions, found: FoundPhotos, bounds: Bounds, rule: PlaceRule, n_all: int, n_bad: int
) -> Description:
    return Description(
        options.name,
        options.title or options.name,
        str(found.root.resolve()),
        bounds,
        options.licence,
        {
            "importer": options.card.name if options.card else "released",
            "place_rule": rule.name,
            "place_rule_meaning": rule.meaning,
            "val_fraction": options.val_fraction,
            "val_seed": options.seed,
            "records": n_all,
            "records_not_used": n_bad,
            **({"utm_zone": options.utm_zone} if options.utm_zone else {}),
            **({"train_on_database": True} if options.train_on_database else {}),
            **({"keys": [f"{file}: {line}" for file, line in found.layout]} if found.layout else {}),
        },
    )
