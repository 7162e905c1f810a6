"""Every format, read back by a reader of that format: nothing in a text may become markup."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from ial_bench.report.formats import FORMATS, as_csv, latex, markdown, terminal, text_of
from ial_bench.report.table import Cell, Column, Mark, Row, Table

COLUMNS = (
    Column("SSA-1", percent=True, best="high"),
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
    "Käthe's straße, 北京",
]


def line(text: str) -> str:
    """What a reader is to see: one line, without control characters."""
    return re.sub(r"\s+", " ", re.sub(r"[\x00-\x08\x0e-\x1b\x7f]", "", text)).strip()


def make_table(texts: list[str], notes: tuple[str, ...] = (), name: str = "made-city") -> Table:
    empty = {c.name: Cell(None) for c in COLUMNS}
    rows = [Row("measured", text, text, 1, empty) for text in texts]
    return Table(name, COLUMNS, tuple(rows), notes)


def ranked_table() -> Table:
    def cells(ssa: Cell, latency: Cell) -> dict[str, Cell]:
        return dict(zip((c.name for c in COLUMNS), (ssa, latency, Cell(1.5)), strict=True))

    return Table(
        "made-city",
        COLUMNS,
        (
            Row(
                "measured", "a", "ViT", 3, cells(Cell(0.98765, (0.9, 0.999), 0.01234, Mark.BEST), Cell(2.0, None, 0.5))
            ),
            Row("measured", "b", "", 1, cells(Cell(0.5, (0.25, 0.75), None, Mark.SECOND), Cell(1.0, mark=Mark.BEST))),
            Row("measured", "c", "", 1, cells(Cell(0.0), Cell(None))),
            Row("oracle", "o", "", 1, cells(Cell(1.0), Cell(None))),
            Row("published", "p", "", 0, cells(Cell(0.8592), Cell(3.46)), "xu2024addressclip"),
        ),
        ("a note",),
    )


# ------------------------------------------------------------------------------------------------------ Markdown


def rendered(text: str) -> tuple[list[list[str]], str]:
    """The cells of the one table as a reader sees them, and all of the HTML."""
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    rows: list[list[str]] = []
    inside = False
    for token in parser.parse(text):
        if token.type == "tr_open":
            rows.append([])
        if token.type in {"th_open", "td_open", "th_close", "td_close"}:
            inside = token.type.endswith("open")
        elif inside and token.type == "inline":
            rows[-1].append("".join(c.content for c in token.children or [] if c.type in {"text", "text_special"}))
    return rows, parser.render(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_any_text_as_it_is(text: str) -> None:
    rows, html = rendered(markdown(make_table([text, "next"], (text,), name=text)))
    assert [len(r) for r in rows] == [2 + len(COLUMNS)] * 3
    assert rows[1][:2] == [line(text)] * 2
    assert rows[2][0] == "next"
    tags = set(re.findall(r"<(/?\w+)", html)) - {"/" + t for t in re.findall(r"<(\w+)", html)}
    assert tags == {"p", "strong", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"}
    (item,) = re.findall(r"<li>(.*?)</li>", html, re.DOTALL)
    assert item == line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    assert "$" not in re.sub(r"\\\$", "", markdown(make_table([text]))), "GitHub would read a formula"


def test_markdown_of_a_ranked_table() -> None:
    lines = markdown(ranked_table()).splitlines()
    assert lines == [
        "**made-city**",
        "",
        "| method | backbone | SSA-1 % | p50 (ms) | parameters (M) |",
        "|---|---|---:|---:|---:|",
        "| a | ViT | **98.8** ±1.2 <sub>[90.0, 99.9]</sub> | 2.00 | 1.5 |",
        "| b |  | <ins>50.0</ins> <sub>[25.0, 75.0]</sub> | **1.00** | 1.5 |",
        "| c |  | 0.0 |  | 1.5 |",
        "| *o* |  | 100.0 |  | 1.5 |",
        r"| *p* \[xu2024addressclip\] |  | 85.9 | 3.46 | 1.5 |",
        "",
        "- a note",
        "- ± is the standard deviation across seeds; intervals are then means of the seeds' intervals",
    ]


# --------------------------------------------------------------------------------------------------------- LaTeX

READ_BACK = [
    (r"\textbackslash{}", "\\"),
    (r"\textasciitilde{}", "~"),
    (r"\textasciicircum{}", "^"),
    (r"\textless{}", "<"),
    (r"\textgreater{}", ">"),
    (r"\textbar{}", "|"),
    *((f"\\{c}", c) for c in "&%$#_{}"),
    *((f"{{{c}}}", c) for c in "[]*`"),
    ("{}", ""),
]


def decoded(text: str) -> str:
    """A reader of the little LaTeX that escaped text may consist of; anything else is an error."""
    out = []
    while text:
        for command, char in READ_BACK:
            if text.startswith(command):
                out.append(char)
                text = text[len(command) :]
                break
        else:
            assert text[0] not in "\\{}&%$#_~^[]*`<>|", f"bare {text[0]!r} before {text[:20]!r}"
            assert not text.startswith("--"), "LaTeX would make one dash of them"
            out.append(text[0])
            text = text[1:]
    return "".join(out)


def tabular(text: str) -> list[str]:
    """Lines of the body, between the first and the last rule."""
    lines = text.splitlines()
    return [x for x in lines[lines.index(r"\toprule") + 1 : lines.index(r"\bottomrule")] if x != r"\midrule"]


def cells_of(row: str) -> list[str]:
    assert row.endswith(r" \\")
    return re.split(r"(?<!\\)&", row.removesuffix(r" \\"))


@pytest.mark.parametrize("text", HOSTILE)
def test_latex_escapes_any_text(text: str) -> None:
    written = latex(make_table([text, "next"], (text,), name=text))
    header, first, second = (cells_of(row) for row in tabular(written))
    assert [len(header), len(first), len(second)] == [2 + len(COLUMNS)] * 3
    assert [decoded(c.strip()) for c in first[:2]] == [line(text)] * 2
    comments = [x for x in written.splitlines() if x.startswith("%")]
    assert comments == [f"% {line(text)}"] * 2
    bare = re.sub(r"\\[{}]", "", "\n".join(x for x in written.splitlines() if not x.startswith("%")))
    assert bare.count("{") == bare.count("}")


def test_latex_of_a_ranked_table() -> None:
    assert latex(ranked_table()).splitlines() == [
        "% made-city",
        "% a note",
        "% ± is the standard deviation across seeds; intervals are then means of the seeds' intervals",
        r"\begin{tabular}{llrrr}",
        r"\toprule",
        r"Method & Backbone & SSA-1 (\%) & p50 (ms) & parameters (M) \\",
        r"\midrule",
        r"a & ViT & \textbf{98.8} $\pm$ 1.2 {\scriptsize [90.0, 99.9]} & 2.00 & 1.5 \\",
        r"b &  & \underline{50.0} {\scriptsize [25.0, 75.0]} & \textbf{1.00} & 1.5 \\",
        r"c &  & 0.0 &  & 1.5 \\",
        r"\midrule",
        r"\multicolumn{5}{l}{\emph{Oracles (not ranked)}} \\",
        r"o &  & 100.0 &  & 1.5 \\",
        r"\midrule",
        r"\multicolumn{5}{l}{\emph{Published (not ranked)}} \\",
        r"p~\cite{xu2024addressclip} &  & 85.9 & 3.46 & 1.5 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_latex_of_published_rows_alone_has_no_rule_twice() -> None:
    table = Table("made-city", COLUMNS, ranked_table().rows[-1:])
    assert "\\midrule\n\\midrule" not in latex(table)


def test_latex_compiles(tmp_path: Path) -> None:
    engine = next((e for e in ("pdflatex", "tectonic") if shutil.which(e)), None)
    if engine is None:
        pytest.skip("no pdflatex or tectonic on PATH")
    ascii_only = [t for t in HOSTILE if t.isascii()]  # other scripts need a font, which is not the table's business
    tables = [make_table(ascii_only, tuple(ascii_only)), *(make_table([t]) for t in ascii_only), ranked_table()]
    body = "\n\n".join(latex(t) for t in tables)
    document = f"\\documentclass{{article}}\n\\usepackage{{booktabs}}\n\\begin{{document}}\n{body}\\end{{document}}\n"
    (tmp_path / "t.tex").write_text(document, encoding="utf-8")
    options = ["-interaction=nonstopmode", "-halt-on-error"] if engine == "pdflatex" else []
    done = subprocess.run(
        [engine, *options, "t.tex"], cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "t.pdf").stat().st_size > 1000


# ----------------------------------------------------------------------------------------------------------- CSV


def test_csv_is_read_back_with_fractions_and_intervals_in_columns() -> None:
    header, *rows = csv.reader(io.StringIO(as_csv(ranked_table())))
    assert header == [
        "dataset", "kind", "method", "backbone", "seeds", "cite", "SSA-1", "SSA-1 low", "SSA-1 high", "SSA-1 seed sd",
        "p50 (ms)", "parameters (M)",
    ]  # fmt: skip
    assert {len(r) for r in rows} == {len(header)}
    first, last = (dict(zip(header, r, strict=True)) for r in (rows[0], rows[-1]))
    assert [float(first[c]) for c in header[6:10]] == [0.98765, 0.9, 0.999, 0.01234]
    assert (first["dataset"], first["kind"], first["seeds"], first["p50 (ms)"]) == ("made-city", "measured", "3", "2.0")
    assert (last["kind"], last["cite"], last["seeds"]) == ("published", "xu2024addressclip", "0")
    assert (last["SSA-1"], last["SSA-1 low"], last["SSA-1 seed sd"]) == ("0.8592", "", "")


@pytest.mark.parametrize("text", HOSTILE)
def test_csv_holds_any_text_and_no_formula(text: str) -> None:
    header, row = csv.reader(io.StringIO(as_csv(make_table([text], name=text))))
    shown = line(text)
    expected = "'" + shown if shown[0] in "=+-@" else shown
    assert [row[header.index(c)] for c in ("dataset", "method", "backbone")] == [expected] * 3


# ------------------------------------------------------------------------------------------------------ terminal


def drawn(table: Table) -> str:
    console = Console(file=io.StringIO(), width=400, force_terminal=False, color_system=None)
    console.print(terminal(table))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("text", [*HOSTILE, "[red]not markup[/red]", "[/closes nothing]", ":smiley:"])
def test_the_terminal_shows_any_text_as_it_is(text: str) -> None:
    shown = drawn(make_table([text], (text,), name=text))
    assert shown.count(line(text)) == 4  # title, method, backbone and note
    assert f"Leaderboard: {line(text)}" in shown
    assert "\x1b" not in shown


def test_the_terminal_shows_numbers_and_intervals() -> None:
    shown = drawn(ranked_table())
    for text in ("98.8 ±1.2", "[90.0, 99.9]", "2.00", "p [xu2024addressclip]", "SSA-1 %"):
        assert text in shown


# ------------------------------------------------------------------------------------------------ several tables


def test_several_tables_follow_one_another() -> None:
    tables = [make_table(["a"], name="one"), make_table(["b"], name="two")]
    written = text_of(tables, "md")
    assert written.index("**one**") < written.index("| a |") < written.index("**two**") < written.index("| b |")
    assert text_of(tables, "latex").count(r"\begin{tabular}") == 2
    assert set(FORMATS) == {"md", "markdown", "latex", "csv"}


def test_several_tables_are_one_csv_where_their_columns_are_the_same() -> None:
    one, two = make_table(["a"], name="one"), make_table(["b"], name="two")
    rows = list(csv.reader(io.StringIO(text_of([one, two], "csv"))))
    assert [r[:3] for r in rows] == [
        ["dataset", "kind", "method"],
        ["one", "measured", "a"],
        ["two", "measured", "b"],
    ]
    other = Table("other", COLUMNS[:1], (Row("measured", "c", "", 1, {"SSA-1": Cell(0.5)}),))
    rows = list(csv.reader(io.StringIO(text_of([one, other], "csv"))))
    assert [r[0] for r in rows] == ["dataset", "one", "dataset", "other"]
    assert rows[3][rows[2].index("SSA-1")] == "0.5"
