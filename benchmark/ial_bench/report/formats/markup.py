"""Tables for readers: GitHub Markdown, a page of HTML that needs nothing beside it, a table drawn on a terminal.

Best is bold, second underlined, intervals are in small print.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ial_bench.escape import escape_html, escape_markdown, one_line, short_line
from ial_bench.report.table import (
    DAGGER,
    METHOD,
    Cell,
    Column,
    Mark,
    Row,
    Style,
    Table,
    interval,
    number,
    sections,
    spans,
    with_interval,
)

if TYPE_CHECKING:
    from rich.table import Table as RichTable
    from rich.text import Text

_STYLES = {Mark.BEST: "bold", Mark.SECOND: "underline", Mark.NONE: ""}
_CSS = """\
:root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; border-block: 2px solid; }
caption, th { text-align: left; padding: .2rem .6rem; }
caption { font-weight: bold; }
thead { border-bottom: 1px solid; }
td { padding: .2rem .6rem; white-space: nowrap; }
td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 12rem; }
th[colspan] { text-align: center; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
tbody + tbody { border-top: 1px solid; }
tbody th { font-style: italic; font-weight: normal; text-align: left; }
small { opacity: .75; }
b small, u small { font-weight: normal; }
ul { overflow-wrap: anywhere; }
"""


def as_markdown(tables: Sequence[Table], style: Style) -> str:
    """Tables below their names, each with its notes."""
    return "\n".join(_markdown(table, style) for table in tables)


def _markdown(table: Table, style: Style) -> str:
    columns = table.columns
    stub = [METHOD] if table.ranking else []
    lines = [f"**{escape_markdown(table.title)}**", ""] if table.title else []
    lines += [
        _line([*stub, *map(_markdown_heading, columns)]),
        "|" + "---|" * len(stub) + "".join("---|" if c.text else "---:|" for c in columns),
    ]
    for heading, rows in sections(table):
        if rows[0].group:
            lines.append(f"| **{escape_markdown(heading)}** |" + "  |" * len(columns))
        for row in rows:
            cells = [_markdown_cell(row.cell(c), c, style, table.ranking) for c in columns]
            lines.append(_line([_markdown_title(row), *cells] if table.ranking else cells))
    notes = [f"- {escape_markdown(n)}" for n in table.notes]
    text = "\n".join([*lines, "", *notes])
    return (text if table.ranking else text.rstrip("\n")) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_title(row: Row) -> str:
    title = escape_markdown(row.title)
    if row.kind == "measured":
        return title
    return f"*{title}*" + (f" \\[{escape_markdown(row.cite)}\\]" if row.cite else "")


def _markdown_heading(column: Column) -> str:
    texts = [escape_markdown(t) for t in (column.group, column.title or column.name) if t]
    return " ".join([*texts, *([column.unit] if column.unit else [])])


def _markdown_cell(cell: Cell, column: Column, style: Style, ranking: bool) -> str:
    if not ranking:
        return escape_markdown(with_interval(cell, column))
    text = number(cell, column)
    if column.text or not text[:1].isdigit():
        text = escape_markdown(text)
    if cell.mark is Mark.BEST:
        text = f"**{text}**"
    elif cell.mark is Mark.SECOND:
        text = f"<ins>{text}</ins>"
    extent = interval(cell, column, style)
    return text + (DAGGER if cell.tied else "") + (f" <sub>{extent}</sub>" if extent else "")


def as_html(tables: Sequence[Table], style: Style) -> str:
    """One page with all tables, each below its name and above its notes."""
    what = "Leaderboard: " if any(t.ranking for t in tables) else ""
    title = escape_html(what + ", ".join(t.title for t in tables))
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>{title}</title>",
            f"<style>\n{_CSS}</style>",
            *(_html(t, style) for t in tables),
            "</html>",
            "",
        ]
    )


def _html(table: Table, style: Style) -> str:
    columns = table.columns
    lines = ['<div class="wide">', "<table>", f"<caption>{escape_html(table.title)}</caption>", "<thead>"]
    if spans(columns):
        above = [f'<th colspan="{n}" scope="colgroup">{escape_html(group)}</th>' for group, n in spans(columns)]
        lines.append(f"<tr><td></td>{''.join(above)}</tr>")
    stub = [f'<th scope="col">{METHOD}</th>'] if table.ranking else []
    heads = [*stub, *map(_html_heading, columns)]
    lines += [f"<tr>{''.join(heads)}</tr>", "</thead>"]
    for heading, rows in sections(table):
        lines.append("<tbody>")
        if heading:
            lines.append(f'<tr><th colspan="{len(heads)}">{escape_html(heading)}</th></tr>')
        for row in rows:
            title = f"<td>{_html_title(row)}</td>" if table.ranking else ""
            lines.append(f"<tr>{title}{''.join(_html_cell(row.cell(c), c, style) for c in columns)}</tr>")
        lines.append("</tbody>")
    notes = [f"<li>{escape_html(n)}</li>" for n in table.notes]
    return "\n".join([*lines, "</table>", "</div>", "<ul>", *notes, "</ul>"])


def _html_heading(column: Column) -> str:
    text = escape_html(column.title or column.name) + (f" {column.unit}" if column.unit else "")
    return f'<th scope="col"{_class(column)}>{text}</th>'


def _class(column: Column) -> str:
    return "" if column.text else ' class="number"'


def _html_title(row: Row) -> str:
    return escape_html(row.title) + (f" [{escape_html(row.cite)}]" if row.cite else "")


def _html_cell(cell: Cell, column: Column, style: Style) -> str:
    text = escape_html(number(cell, column))
    if cell.mark is not Mark.NONE:
        tag = "b" if cell.mark is Mark.BEST else "u"
        text = f"<{tag}>{text}</{tag}>"
    extent = interval(cell, column, style)
    after = (DAGGER if cell.tied else "") + (f" <small>{extent}</small>" if extent else "")
    return f"<td{_class(column)}>{text}{after}</td>"


def drawn(table: Table, style: Style) -> RichTable:
    """A leaderboard as rich draws it on a terminal, intervals below their values."""
    from rich.table import Table as RichTable
    from rich.text import Text

    # Everything is a Text: rich would take brackets in a plain string for its markup.
    title, caption = f"Leaderboard: {short_line(table.title)}", "\n".join(short_line(n) for n in table.notes)
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
            shown.add_row(text, *(_drawn_cell(row.cell(c), c, style) for c in table.columns))
    return shown


def _drawn_cell(cell: Cell, column: Column, style: Style) -> Text:
    from rich.text import Text

    text = Text(short_line(number(cell, column)), style=_STYLES[cell.mark])
    text.append(DAGGER if cell.tied else "", style="not bold not underline")
    if extent := interval(cell, column, style):
        text.append(f"\n{extent}", style="dim not bold not underline")
    return text
