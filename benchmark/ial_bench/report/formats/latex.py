r"""A tabular for the booktabs package: best in bold, second underlined.

Numbers are right-aligned with fixed decimals, so that decimal points are aligned too. What follows a number, a dagger
or an interval, has a column of its own beside it. With siunitx, numbers use its S columns instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ial_bench.escape import escape_latex, short_line
from ial_bench.report.published import is_citation_key
from ial_bench.report.table import METHOD, Cell, Column, Mark, Row, Style, Table, interval, number, sections, spans

_NEGATIVE = re.compile(r"(?<![\w.])-(?=\d)")


def as_latex(tables: Sequence[Table], style: Style) -> str:
    """Tables, each below comments with its name and notes."""
    needs = r"\usepackage{booktabs,siunitx}" if style.siunitx else r"\usepackage{booktabs}"
    return f"% {needs}\n" + "\n".join(_Tabular(table, style).text() for table in tables)


class _Tabular:
    def __init__(self, table: Table, style: Style) -> None:
        self._table, self._style = table, style
        self._columns = table.columns
        self._stub = 1 if table.ranking else 0  # columns of row titles
        cells = {c.key: [row.cell(c) for row in table.rows] for c in table.columns}
        self._followed = {c.key for c in table.columns if any(x.tied or interval(x, c, style) for x in cells[c.key])}
        self._shape = {c.key: _shape([number(x, c) for x in cells[c.key]]) for c in table.columns if not c.text}

    def text(self) -> str:
        columns = self._columns
        stub = self._stub
        width = stub + sum(self._width(c) for c in columns)
        body: list[str] = []
        for heading, rows in sections(self._table):
            if body:
                body.append(r"\midrule")
            if heading:
                text = heading if rows[0].group else heading.capitalize()
                body.append(rf"\multicolumn{{{width}}}{{l}}{{\emph{{{escape_latex(text)}}}}} \\")
            for row in rows:
                cells = [_title(row)] * stub + [self._cell(row.cell(c), c) for c in columns]
                body.append(" & ".join(cells) + r" \\")
        heads = [METHOD.capitalize()] * stub + [self._heading(c) for c in columns]
        lines = [
            *(f"% {short_line(n)}" for n in (self._table.title, *self._table.notes) if n),
            rf"\begin{{tabular}}{{{'l' * stub}{''.join(self._alignment(c) for c in columns)}}}",
            r"\toprule",
            *self._above(),
            " & ".join(heads) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
        return "\n".join(lines)

    def _width(self, column: Column) -> int:
        return 2 if column.key in self._followed else 1

    def _alignment(self, column: Column) -> str:
        if column.text:
            return "l"
        numbers = f"S[table-format={self._shape[column.key]}]" if self._style.siunitx else "r"
        return numbers + (r"@{\,}l" if column.key in self._followed else "")

    def _above(self) -> list[str]:
        """The datasets above their columns, each with a rule."""
        if not spans(self._columns):
            return []
        cells, rules = [""] * self._stub, []
        at, column = 1 + self._stub, 0
        for group, count in spans(self._columns):
            width = sum(self._width(c) for c in self._columns[column : column + count])
            if group:
                cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escape_latex(group)}}}")
                rules.append(rf"\cmidrule(lr){{{at}-{at + width - 1}}}")
            else:
                cells += [""] * width
            at, column = at + width, column + count
        return [" & ".join(cells) + r" \\", " ".join(rules)]

    def _heading(self, column: Column) -> str:
        text = escape_latex(column.title or column.name) + (r" (\%)" if column.unit else "")
        if column.text:
            return text[:1].upper() + text[1:] if not column.title and text[:1].isalpha() else text
        return rf"\multicolumn{{{self._width(column)}}}{{c}}{{{text}}}"

    def _cell(self, cell: Cell, column: Column) -> str:
        if column.text:
            return escape_latex(cell.text)
        plain = number(cell, column)
        text = self._number(plain if self._style.siunitx else _minus(plain), cell.mark, column)
        if column.key not in self._followed:
            return text
        extent = _minus(interval(cell, column, self._style))
        after = [r"$^{\dagger}$"] if cell.tied else []
        after += [rf"{{\scriptsize {extent}}}"] if extent else []
        return f"{text} & {' '.join(after)}"

    def _number(self, text: str, mark: Mark, column: Column) -> str:
        if not text or mark is Mark.NONE:
            return text
        if not self._style.siunitx:
            return rf"\textbf{{{text}}}" if mark is Mark.BEST else rf"\underline{{{text}}}"
        # In braces an S column takes it for text; \tablenum makes it as wide as the column's numbers are.
        boxed = rf"\tablenum[table-format={self._shape[column.key]}]{{{text}}}"
        bold = rf"{{\bfseries\boldmath\tablenum[detect-all,table-format={self._shape[column.key]}]{{{text}}}}}"
        return bold if mark is Mark.BEST else rf"{{\underline{{{boxed}}}}}"


def _title(row: Row) -> str:
    title = escape_latex(row.title)
    if not row.cite:
        return title
    return title + (rf"~\cite{{{row.cite}}}" if is_citation_key(row.cite) else f" ({escape_latex(row.cite)})")


def _minus(number: str) -> str:
    """A number, or an interval, with minus signs: a bare one would be printed as a hyphen."""
    return _NEGATIVE.sub("$-$", number)


def _shape(numbers: Sequence[str]) -> str:
    """Digits before and after the point, as siunitx wants them."""
    parts = [n.partition(".") for n in numbers if n]
    before = max((len(p[0].lstrip("-")) for p in parts), default=1)
    after = max((len(p[2]) for p in parts), default=0)
    sign = "-" if any(p[0].startswith("-") for p in parts) else ""
    return f"{sign}{before}.{after}"
