"""The table as Markdown, LaTeX, CSV and for a terminal. All text is escaped for its format."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ial_bench.report.table import Cell, Column, Mark, Table

if TYPE_CHECKING:
    from rich.table import Table as RichTable

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
    # Bare, these would be read as options of the command before them, such as the end of a row, or be joined.
    **{c: f"{{{c}}}" for c in "[]*`"},
}
_MARKDOWN = re.compile(r"([\\`*_\[\]{}<>|~&$#!^]|^[-+=])")
_KINDS = {"measured": "", "oracle": "Oracles (not ranked)", "published": "Published (not ranked)"}


def number(cell: Cell, column: Column) -> str:
    """The value as shown: percent or unit, fixed decimals; empty where there is none."""
    return "" if cell.value is None else _fixed(cell.value, column)


def interval(cell: Cell, column: Column) -> str:
    """The interval as shown, in brackets."""
    if cell.ci95 is None:
        return ""
    low, high = cell.ci95
    return f"[{_fixed(low, column)}, {_fixed(high, column)}]"


def _fixed(value: float, column: Column) -> str:
    return f"{value * 100 if column.percent else value:.{column.digits}f}"


def _spread(cell: Cell, column: Column) -> str:
    """Standard deviation across seeds, shown for accuracies."""
    return f" ±{_fixed(cell.spread, column)}" if cell.spread is not None and column.percent else ""


def _line(text: str) -> str:
    """`text` on one line, without control characters."""
    return " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())


def markdown(table: Table) -> str:
    """A GitHub table: best in bold, second underlined, intervals in small print."""
    header = ["method", "backbone", *(escape_markdown(c.name) + (" %" if c.percent else "") for c in table.columns)]
    lines = [
        f"**{escape_markdown(table.dataset)}**",
        "",
        f"| {' | '.join(header)} |",
        "|" + "---|" * 2 + "---:|" * len(table.columns),
    ]
    for row in table.rows:
        title = escape_markdown(row.title)
        if row.kind != "measured":
            title = f"*{title}*" + (f" \\[{escape_markdown(row.cite)}\\]" if row.cite else "")
        cells = [_markdown_cell(row.cells[c.name], c) for c in table.columns]
        lines.append(f"| {' | '.join([title, escape_markdown(row.backbone), *cells])} |")
    notes = [f"- {escape_markdown(n)}" for n in _notes(table)]
    return "\n".join([*lines, "", *notes]) + "\n"


def _markdown_cell(cell: Cell, column: Column) -> str:
    text = number(cell, column)
    if cell.mark is Mark.BEST:
        text = f"**{text}**"
    elif cell.mark is Mark.SECOND:
        text = f"<ins>{text}</ins>"
    extent = interval(cell, column)
    return text + _spread(cell, column) + (f" <sub>{extent}</sub>" if extent else "")


def escape_markdown(text: str) -> str:
    """`text` so that Markdown shows it as it is, on one line."""
    return _MARKDOWN.sub(r"\\\1", _line(text))


def latex(table: Table) -> str:
    """A tabular for the booktabs package: best in bold, second underlined."""
    columns = table.columns
    header = [
        "Method",
        "Backbone",
        *(escape_latex(c.name) + (r" (\%)" if c.percent else "") for c in columns),
    ]
    width = len(header)
    kind = "measured"
    body: list[str] = []
    for row in table.rows:
        if row.kind != kind:
            kind = row.kind
            body += [
                *([r"\midrule"] if body else []),
                rf"\multicolumn{{{width}}}{{l}}{{\emph{{{escape_latex(_KINDS[kind])}}}}} \\",
            ]
        title = escape_latex(row.title) + (rf"~\cite{{{row.cite}}}" if row.cite else "")
        cells = [_latex_cell(row.cells[c.name], c) for c in columns]
        body.append(" & ".join([title, escape_latex(row.backbone), *cells]) + r" \\")
    return "\n".join(
        [
            *(f"% {_line(n)}" for n in (table.dataset, *_notes(table))),
            rf"\begin{{tabular}}{{ll{'r' * len(columns)}}}",
            r"\toprule",
            " & ".join(header) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _latex_cell(cell: Cell, column: Column) -> str:
    text = number(cell, column)
    if cell.mark is Mark.BEST:
        text = rf"\textbf{{{text}}}"
    elif cell.mark is Mark.SECOND:
        text = rf"\underline{{{text}}}"
    spread = _spread(cell, column).replace(" ±", r" $\pm$ ")
    extent = interval(cell, column)
    return text + spread + (rf" {{\scriptsize {extent}}}" if extent else "")


def escape_latex(text: str) -> str:
    """`text` so that LaTeX prints it as it is."""
    return re.sub("-(?=-)", "-{}", "".join(_LATEX.get(c, c) for c in _line(text)))  # "--" would become one dash


def as_csv(table: Table) -> str:
    """One line a row, fractions not percent, an interval as two columns."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = []
    for c in table.columns:
        name = escape_csv(c.name)
        names += [name, f"{name} low", f"{name} high", f"{name} seed sd"] if c.percent else [name]
    writer.writerow(["dataset", "kind", "method", "backbone", "seeds", "cite", *names])
    for row in table.rows:
        values: list[object] = []
        for c in table.columns:
            cell = row.cells[c.name]
            values += [cell.value, *(cell.ci95 or (None, None)), cell.spread] if c.percent else [cell.value]
        texts = [escape_csv(t) for t in (table.dataset, row.kind, row.title, row.backbone)]
        writer.writerow([*texts, row.seeds, escape_csv(row.cite), *("" if v is None else v for v in values)])
    return out.getvalue()


def escape_csv(text: str) -> str:
    """`text`, on one line, so that no spreadsheet takes it for a formula."""
    line = _line(text)
    return f"'{line}" if line[:1] in {"=", "+", "-", "@"} else line


def terminal(table: Table) -> RichTable:
    """A rich table, intervals below their values."""
    from rich.table import Table as RichTable
    from rich.text import Text

    # Everything is a Text: rich would take brackets in a plain string for its markup.
    title, caption = f"Leaderboard: {_line(table.dataset)}", "\n".join(_line(n) for n in _notes(table))
    shown = RichTable(title=Text(title), caption=Text(caption), caption_justify="left")
    shown.add_column("method")
    shown.add_column("backbone")
    for c in table.columns:
        shown.add_column(Text(_line(c.name) + (" %" if c.percent else "")), justify="right")
    styles = {Mark.BEST: "bold", Mark.SECOND: "underline", Mark.NONE: ""}
    kind = "measured"
    for row in table.rows:
        if row.kind != kind:
            shown.add_section()
            kind = row.kind
        cells = [Text(_line(row.title + (f" [{row.cite}]" if row.cite else ""))), Text(_line(row.backbone))]
        for c in table.columns:
            cell = row.cells[c.name]
            text = Text(number(cell, c) + _spread(cell, c), style=styles[cell.mark])
            if extent := interval(cell, c):
                text.append(f"\n{extent}", style="dim not bold not underline")
            cells.append(text)
        shown.add_row(*cells)
    return shown


def _notes(table: Table) -> list[str]:
    notes = list(table.notes)
    if any(r.seeds > 1 for r in table.rows):
        notes.append("± is the standard deviation across seeds; intervals are then means of the seeds' intervals")
    return notes


def text_of(tables: Sequence[Table], fmt: str) -> str:
    """Tables one after another in one of `FORMATS`. In CSV they share a header where their columns are the same."""
    write = FORMATS[fmt]
    if write is not as_csv:
        return "\n".join(write(t) for t in tables)
    lines, header = [], ""
    for t in tables:
        first, *rows = as_csv(t).splitlines(keepends=True)
        lines += rows if first == header else [first, *rows]
        header = first
    return "".join(lines)


FORMATS: dict[str, Callable[[Table], str]] = {
    "md": markdown, "markdown": markdown, "latex": latex, "csv": as_csv,
}  # fmt: skip
