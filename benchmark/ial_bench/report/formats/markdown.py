"""A GitHub table: best in bold, second underlined, intervals in small print."""

from __future__ import annotations

from collections.abc import Sequence

from ial_bench.escape import escape_markdown
from ial_bench.report.formats.shared import DAGGER, METHOD, Style, interval, number, sections
from ial_bench.report.table import Cell, Column, Mark, Table


def as_markdown(tables: Sequence[Table], style: Style) -> str:
    """Tables below their names, each with its notes."""
    return "\n".join(_table(table, style) for table in tables)


def _table(table: Table, style: Style) -> str:
    header = [METHOD, *(_heading(c) for c in table.columns)]
    lines = [
        f"**{escape_markdown(table.dataset)}**",
        "",
        f"| {' | '.join(header)} |",
        "|---|" + "".join("---|" if c.text else "---:|" for c in table.columns),
    ]
    for heading, rows in sections(table):
        if rows[0].group:
            lines.append(f"| **{escape_markdown(heading)}** |" + "  |" * len(table.columns))
        for row in rows:
            title = escape_markdown(row.title)
            if row.kind != "measured":
                title = f"*{title}*" + (f" \\[{escape_markdown(row.cite)}\\]" if row.cite else "")
            cells = [_cell(row.cell(c), c, style) for c in table.columns]
            lines.append(f"| {' | '.join([title, *cells])} |")
    notes = [f"- {escape_markdown(n)}" for n in table.notes]
    return "\n".join([*lines, "", *notes]) + "\n"


def _heading(column: Column) -> str:
    texts = [escape_markdown(t) for t in (column.group, column.title or column.name) if t]
    return " ".join([*texts, *([column.unit] if column.unit else [])])


def _cell(cell: Cell, column: Column, style: Style) -> str:
    text = number(cell, column)
    if column.text or not text[:1].isdigit():
        text = escape_markdown(text)
    if cell.mark is Mark.BEST:
        text = f"**{text}**"
    elif cell.mark is Mark.SECOND:
        text = f"<ins>{text}</ins>"
    extent = interval(cell, column, style)
    return text + (DAGGER if cell.tied else "") + (f" <sub>{extent}</sub>" if extent else "")
