"""Records that an import cannot use: each is listed with its reason."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ial_bench.files import atomic_path

REPORT = "import-report.csv"

Reject = tuple[str, str, str]
"""File, key, reason. What stands before the reason's first colon is its kind."""


_KINDS = 8  # that are told apart


def kinds(rejects: list[Reject]) -> list[str]:
    """The most frequent kinds of reasons, each with its count and the first record of it."""
    counts = Counter(reason.partition(":")[0] for _, _, reason in rejects)
    first: dict[str, Reject] = {}
    for reject in rejects:
        first.setdefault(reject[2].partition(":")[0], reject)
    told = []
    for kind, count in counts.most_common(_KINDS):
        _, key, reason = first[kind]
        detail = reason.partition(":")[2]
        told.append(f"{count:,} x {kind} ({key}{':' + detail if detail else ''})")
    if len(counts) > _KINDS:
        told.append(f"{len(counts) - _KINDS:,} other reasons")
    return told


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
