"""Tables made up, and texts that no format may take for its own markup."""

from __future__ import annotations

import re

from ial_bench.report.table import Cell, Column, Mark, Row, Table

COLUMNS = (
    Column("backbone", text=True),
    Column("SSA-1", percent=True, best="high"),
    Column("SSA-1 seed sd", percent=True, spread_of="SSA-1"),
    Column("p50 (ms)", digits=2, best="low"),
    Column("parameters (M)"),
)

HOSTILE = [
    "100 % of A & B_c #1 for $5 ~ x^2",
    r"back\slash {braces} \textbf{bold} \input{/etc/passwd}",
    "pipe | pipe || <b>bold</b> `code` *stars* __lines__ ~~gone~~",
    "<script>alert('x')</script><!-- --> &amp; &lt;",
    "[link](http://a.example) ![image](x.png) [x]: y",
    "=1+1",
    "+1",
    "-1 -- --- ----",
    "@SUM(A1)",
    "[1] starts with a bracket",
    "* starts with a star",
    "# starts with a hash",
    "- starts as a list",
    "+ starts as a list",
    "$x$ $$y$$ \\(z\\)",
    "two\nlines\r\nand\ttabs   and blanks ",
    "\n=hidden behind a newline",
    "bell \x07 escape \x1b[31mred\x1b[0m zero \x00",
    '"quoted", with; commas',
    "reversed \u202e by a character of Unicode \u2066",
    "Käthe's straße, 北京",
]


def line(text: str) -> str:
    """What a reader is to see: one line, without control characters."""
    return re.sub(r"\s+", " ", re.sub(r"[\x00-\x08\x0e-\x1b\x7f\u202e\u2066]", "", text)).strip()


def make_table(texts: list[str], notes: tuple[str, ...] = (), name: str = "made-city") -> Table:
    rows = [Row("measured", text, 1, {"backbone": Cell(text=text)}) for text in texts]
    return Table(name, COLUMNS, tuple(rows), notes)


def ranked_table() -> Table:
    def cells(ssa: Cell, latency: Cell, backbone: str = "") -> dict[str, Cell]:
        found = (Cell(text=backbone), ssa, Cell(ssa.spread), latency, Cell(1.5))
        return dict(zip((c.key for c in COLUMNS), found, strict=True))

    best = Cell(0.98765, (0.9, 0.999), 0.01234, Mark.BEST)
    second = Cell(0.5, (0.25, 0.75), None, Mark.SECOND, tied=True)
    return Table(
        "made-city",
        COLUMNS,
        (
            Row("measured", "a", 3, cells(best, Cell(2.0, None, 0.5), "ViT")),
            Row("measured", "b", 1, cells(second, Cell(1.0, mark=Mark.BEST))),
            Row("measured", "c", 1, cells(Cell(0.0), Cell(None))),
            Row("oracle", "o", 1, cells(Cell(1.0), Cell(None))),
            Row("published", "p", 0, cells(Cell(0.8592), Cell(3.46)), "xu2024addressclip"),
        ),
        ("a note",),
    )


def side_by_side() -> Table:
    """Two datasets beside each other, rows under headings of one's own."""
    columns = (
        Column("losses", text=True, title="Losses"),
        *(Column(m, percent=True, best="high", group=d) for d in ("one|city", "two&city") for m in ("SSA-1", "SA-1")),
    )
    values = {c.key: Cell(0.25, mark=Mark.BEST) for c in columns[1:]}
    return Table(
        "one|city, two&city",
        columns,
        (
            Row("measured", "a", 1, {**values, "losses": Cell(text="x_y")}, group="Ours & others"),
            Row("measured", "b", 1, {columns[1].key: Cell(0.125)}, group="Ours & others"),
            Row("published", "p", 0, {columns[2].key: Cell(0.5)}, "key\\2024}", group="From papers"),
        ),
    )
