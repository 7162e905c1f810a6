"""A page of HTML that needs nothing beside it: no script, no font, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from ial_bench.escape import escape_html
from ial_bench.report.formats.shared import DAGGER, METHOD, Style, interval, number, sections, spans
from ial_bench.report.table import Cell, Column, Mark, Row, Table

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


def as_html(tables: Sequence[Table], style: Style) -> str:
    """One page with all tables, each below its name and above its notes."""
    title = escape_html("Leaderboard: " + ", ".join(t.dataset for t in tables))
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>{title}</title>",
            f"<style>\n{_CSS}</style>",
            *(_table(t, style) for t in tables),
            "</html>",
            "",
        ]
    )


def _table(table: Table, style: Style) -> str:
    columns = table.columns
    lines = ['<div class="wide">', "<table>", f"<caption>{escape_html(table.dataset)}</caption>", "<thead>"]
    if spans(columns):
        above = [f'<th colspan="{n}" scope="colgroup">{escape_html(group)}</th>' for group, n in spans(columns)]
        lines.append(f"<tr><td></td>{''.join(above)}</tr>")
    heads = [f'<th scope="col">{METHOD}</th>', *(_heading(c) for c in columns)]
    lines += [f"<tr>{''.join(heads)}</tr>", "</thead>"]
    for heading, rows in sections(table):
        lines.append("<tbody>")
        if heading:
            lines.append(f'<tr><th colspan="{1 + len(columns)}">{escape_html(heading)}</th></tr>')
        lines += [
            f"<tr><td>{_title(row)}</td>{''.join(_cell(row.cell(c), c, style) for c in columns)}</tr>" for row in rows
        ]
        lines.append("</tbody>")
    notes = [f"<li>{escape_html(n)}</li>" for n in table.notes]
    return "\n".join([*lines, "</table>", "</div>", "<ul>", *notes, "</ul>"])


def _heading(column: Column) -> str:
    text = escape_html(column.title or column.name) + (f" {column.unit}" if column.unit else "")
    return f'<th scope="col"{_class(column)}>{text}</th>'


def _class(column: Column) -> str:
    return "" if column.text else ' class="number"'


def _title(row: Row) -> str:
    return escape_html(row.title) + (f" [{escape_html(row.cite)}]" if row.cite else "")


def _cell(cell: Cell, column: Column, style: Style) -> str:
    text = escape_html(number(cell, column))
    if cell.mark is not Mark.NONE:
        tag = "b" if cell.mark is Mark.BEST else "u"
        text = f"<{tag}>{text}</{tag}>"
    extent = interval(cell, column, style)
    after = (DAGGER if cell.tied else "") + (f" <small>{extent}</small>" if extent else "")
    return f"<td{_class(column)}>{text}{after}</td>"
