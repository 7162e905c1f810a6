"""Records that an import cannot use: each is listed with its reason."""

from __future__ import annotations

import csv
from pathlib import Path

from ial_bench.files import atomic_path

REPORT = "import-report.csv"

Reject = tuple[str, str, str]
"""File, key, reason. What stands before the reason's first colon is its kind."""


def write_report(path: Path, rejects: list[Reject]) -> None:
    """Write a CSV of the columns file, key, reason.

    Raises:
        StorageError: it cannot be written.
    """
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["file", "key", "reason"])
        writer.writerows([_defused(cell) for cell in row] for row in rejects)


def _defused(cell: str) -> str:
    """`cell` so that no spreadsheet takes it for a formula; NUL, which Python 3.10 cannot write, is spelled out."""
    cell = cell.replace("\0", "\\0")
    return f"'{cell}" if cell[:1] in {"=", "+", "-", "@", "\t", "\r", "\n"} else cell
