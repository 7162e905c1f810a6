"""A release of the field in a folder, to import: JSON files, a CSV of positions, images that are stand-ins."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ial_bench.addresses import Address
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.importing.released import ReleasedOptions, import_released
from ial_bench.datasets.importing.report import REPORT, ImportSummary

ADDRESSES = (
    "Ash Lane, Old Town (Elm Street, Fir Way)",
    "Birch Lane, Old Town (Elm Street)",
    "Cedar Avenue, Harbour",
)
TRAIN_PLACES, QUERY_PLACES, VIEWS = 5, 1, 2  # of each address
N_TRAIN, N_QUERY = 3 * TRAIN_PLACES * VIEWS, 3 * QUERY_PLACES * VIEWS

Records = dict[str, Any]


@dataclass
class Tree:
    """A release in a folder: JSON files, a CSV of positions, images. Change it, then write it."""

    root: Path
    train: Records = field(default_factory=dict)
    queries: Records = field(default_factory=dict)
    database: Records | None = None
    coords: dict[str, tuple[object, object]] = field(default_factory=dict)
    header: str = "filename,lat,lon"

    @property
    def images(self) -> Path:
        return self.root / "images"

    def photo(self, name: str, content: bytes | None = None) -> str:
        """Make an image file; gives the key it has in the JSON files."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if content is not None else name.encode())
        return f"./{name}"

    def options(self, **changes: Any) -> ReleasedOptions:
        """Write the annotation; gives the options to import it."""
        folder = self.root / "annotations"
        folder.mkdir(exist_ok=True)
        for kind, records in (("train", self.train), ("database", self.database), ("queries", self.queries)):
            if records is not None:
                (folder / f"town_{kind}.json").write_text(json.dumps(records), encoding="utf-8")
        rows = [",".join(map(str, ('"' + name + '"', a, b))) for name, (a, b) in self.coords.items()]
        (folder / "coords.csv").write_text("\n".join([self.header, *rows]) + "\n", encoding="utf-8")
        options = ReleasedOptions(
            folder, self.images, "town", self.root / "out", folder / "coords.csv", val_fraction=0.2, max_bad=1.0
        )
        return replace(options, **changes)

    def load(self, **changes: Any) -> tuple[ImportSummary, Dataset]:
        """Import it."""
        summary = import_released(self.options(**changes))
        return summary, Dataset(summary.folder)


def record(address: str, caption: str = "") -> list[str]:
    return [caption, Address.parse(address).verbose, address]


def sound_release(folder: Path) -> Tree:
    """A sound release: 15 train and 3 query places of 2 views each, on 3 addresses."""
    tree = Tree(folder)
    for place in range(3 * (TRAIN_PLACES + QUERY_PLACES)):
        records = tree.train if place < 3 * TRAIN_PLACES else tree.queries
        for view in range(VIEWS):
            key = tree.photo(f"images/{place}_{view}.jpg")
            records[key] = record(ADDRESSES[place % 3])
            tree.coords[key.removeprefix("./")] = (40.0 + 1e-4 * place, -80.0)
    return tree


def report(summary_or_folder: ImportSummary | Path) -> list[tuple[str, str, str]]:
    """The rows of the report, without its header."""
    folder = summary_or_folder if isinstance(summary_or_folder, Path) else summary_or_folder.folder
    with (folder / REPORT).open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["file", "key", "reason"]
    return [(a, b, c) for a, b, c in rows]


def only_bad(summary: ImportSummary, data: Dataset, file: str, key: str, reason: str, n_good: int) -> None:
    """One record is listed, with this reason; all others are in the dataset."""
    told = [(f, k.replace("\0", "\\0"), r) for f, k, r in summary.bad]  # a CSV cannot hold NUL everywhere
    assert told == report(summary)
    assert [(f, k) for f, k, _ in summary.bad] == [(file, key)]
    assert reason in summary.bad[0][2]
    assert len(data) == n_good == sum(summary.counts.values())
    assert data.description.made_by["records"] == n_good + 1
    assert data.description.made_by["records_not_used"] == 1
