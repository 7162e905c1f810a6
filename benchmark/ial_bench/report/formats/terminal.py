"""A table for a terminal, intervals below their values."""

from __future__ import annotations

from rich.table import Table as RichTable
from rich.text import Text

from ial_bench.escape import one_line, short_line
from ial_bench.report.formats.shared import DAGGER, METHOD, Style, interval, number, sections
from ial_bench.report.table import Cell, Column, Mark, Table

_STYLES = {Mark.BEST: "bold", Mark.SECOND: "underline", Mark.NONE: ""}


def drawn(table: Table, style: Style) -> RichTable:
    """The table as rich draws it."""
    # Everything is a Text: rich would take brackets in a plain string for its markup.
    title, caption = f"Leaderboard: {short_line(table.dataset)}", "\n".join(short_line(n) for n in table.notes)
    shown = RichTable(title=Text(title), caption=Text(caption), caption_justify="left")
    shown.add_column(METHOD)
    for c in table.columns:
        heading = " ".join(short_line(t) for t in (c.group, c.title or c.name, c.unit) if t)
        shown.add_column(Text(heading), justify="left" if c.text else "right")
    for heading, rows in sections(table):
        shown.add_section()
        if rows[0].group:
            shown.add_row(Text(short_line(heading), style="italic"))
        for row in rows:
            text = Text(short_line(row.title) + (f" [{one_line(row.cite)}]" if row.cite else ""))
            shown.add_row(text, *(_cell(row.cell(c), c, style) for c in table.columns))
    return shown


def _cell(cell: Cell, column: Column, style: Style) -> Text:
    text = Text(short_line(number(cell, column)), style=_STYLES[cell.mark])
    text.append(DAGGER if cell.tied else "", style="not bold not underline")
    if extent := interval(cell, column, style):
        text.append(f"\n{extent}", style="dim not bold not underline")
    return text
