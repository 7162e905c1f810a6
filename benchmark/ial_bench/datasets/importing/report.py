"""The report of an import: what it did, and each record that it could not use, with the reason."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ial_bench.datasets.places import PlaceRule
from ial_bench.files import atomic_path

REPORT = "import-report.csv"
_KINDS = 8  # of reasons that are listed one by one

Reject = tuple[str, str, str]
"""File, key, reason. What stands before the reason's first colon is its kind."""


@dataclass
class ImportSummary:
    """What an import did.

    Attributes:
        folder: the dataset folder.
        counts: photos per split.
        n_addresses: addresses of all photos.
        n_candidates: addresses of train and database photos.
        rule: how the place of a photo is read from its path.
        n_places: places of all photos.
        bad: file, key and reason of records that were not used.
        notes: what is odd.
        expected: of a known dataset, a line for each of its published counts, and whether it was met.
        where: where on Earth the photos are.
        layout: of annotation on Pitts-250k, how keys were read, a line for each file and kind of key.
    """

    folder: Path
    counts: dict[str, int]
    n_addresses: int
    n_candidates: int
    rule: PlaceRule
    n_places: int
    bad: list[Reject] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    expected: list[tuple[str, bool]] = field(default_factory=list)
    where: str = ""
    layout: list[str] = field(default_factory=list)


def kinds(rejects: list[Reject]) -> list[str]:
    """The most frequent kinds of reasons, each with its count and the first record of it."""
    counts = Counter(reason.partition(":")[0] for _, _, reason in rejects)
    first: dict[str, Reject] = {}
    for reject in rejects:
        first.setdefault(reject[2].partition(":")[0], reject)
    lines = []
    for kind, count in counts.most_common(_KINDS):
        _, key, reason = first[kind]
        detail = reason.partition(":")[2]
        lines.append(f"{count:,} x {kind} ({key}{':' + detail if detail else ''})")
    if len(counts) > _KINDS:
        lines.append(f"{len(counts) - _KINDS:,} other reasons")
    return lines


def write_report(path: Path, rejects: list[Reject], layout: Sequence[tuple[str, str]] = ()) -> None:
    """Write a CSV of the columns file, key, reason.

    Args:
        path: where.
        rejects: what was not used.
        layout: files, and how their keys were read; rows without a key, before the others.

    Raises:
        StorageError: it cannot be written.
    """
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["file", "key", "reason"])
        writer.writerows([_defused(file), "", _defused(line)] for file, line in layout)
        writer.writerows([_defused(cell) for cell in row] for row in rejects)


def _defused(cell: str) -> str:
    """`cell` so that no spreadsheet takes it for a formula; NUL, which Python 3.10 cannot write, is spelled out."""
    cell = cell.replace("\0", "\\0")
    return f"'{cell}" if cell[:1] in {"=", "+", "-", "@", "\t", "\r", "\n"} else cell
