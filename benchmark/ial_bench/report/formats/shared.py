"""What all formats share: numbers as they are shown, headings, what stands above columns and rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from ial_bench.report.table import Cell, Column, Row, Table

METHOD = "method"
DAGGER = "†"
_KINDS = {
    "measured": "", "stale": "by earlier code (not ranked)",
    "contradicted": "contradicted by their answers (not ranked)", "oracle": "oracles (not ranked)",
    "published": "published (not ranked)",
}  # fmt: skip


@dataclass(frozen=True)
class Style:
    """How tables are written, where a format leaves a choice.

    Attributes:
        intervals: whether intervals are shown; CSV and JSON always have them.
        siunitx: in LaTeX, numbers in columns of the siunitx package.
    """

    intervals: bool = True
    siunitx: bool = False


def number(cell: Cell, column: Column) -> str:
    """The value as shown: percent or unit, fixed decimals; the text of a column of texts; empty where there is none."""
    if column.text:
        return cell.text
    return "" if cell.value is None else _fixed(cell.value, column)


def interval(cell: Cell, column: Column, style: Style) -> str:
    """The interval as shown, in brackets."""
    if cell.ci95 is None or not style.intervals:
        return ""
    low, high = cell.ci95
    return f"[{_fixed(low, column)}, {_fixed(high, column)}]"


def _fixed(value: float, column: Column) -> str:
    return f"{value * 100 if column.percent else value:.{column.digits}f}"


def spans(columns: Sequence[Column]) -> list[tuple[str, int]]:
    """What stands above the columns, with the number of columns below it; empty if nothing stands above any."""
    found = [(group, len(list(below))) for group, below in groupby(columns, key=lambda c: c.group)]
    return found if any(group for group, _ in found) else []


def sections(table: Table) -> Iterator[tuple[str, list[Row]]]:
    """The rows that stand together, with the heading above them: one's own, or that of their kind."""
    for (kind, group), rows in groupby(table.rows, key=lambda r: (r.kind, r.group)):
        yield group or _KINDS[kind], list(rows)
