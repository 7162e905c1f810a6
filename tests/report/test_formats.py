"""Every format, read back by a reader of that format: nothing in a text may become markup."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from ial_bench.escape import LONGEST
from ial_bench.report.formats import FORMATS, format_for, text_of
from ial_bench.report.formats.markup import drawn as rich_table
from ial_bench.report.table import Cell, Row, Style, Table
from support.made_tables import COLUMNS, HOSTILE, line, make_table, ranked_table, side_by_side


def markdown(table: Table, style: Style | None = None) -> str:
    return text_of([table], "md", style)


def as_csv(table: Table) -> str:
    return text_of([table], "csv")


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
    assert [len(r) for r in rows] == [1 + len(COLUMNS)] * 3
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
        "| method | backbone | SSA-1 % | SSA-1 seed sd | p50 (ms) | parameters (M) |",
        "|---|---|---:|---:|---:|---:|",
        "| a | ViT | **98.8** <sub>[90.0, 99.9]</sub> | 1.2 | 2.00 | 1.5 |",
        "| b |  | <ins>50.0</ins>† <sub>[25.0, 75.0]</sub> |  | **1.00** | 1.5 |",
        "| c |  | 0.0 |  |  | 1.5 |",
        "| *o* |  | 100.0 |  |  | 1.5 |",
        r"| *p* \[xu2024addressclip\] |  | 85.9 |  | 3.46 | 1.5 |",
        "",
        "- a note",
    ]
    assert "[25.0" not in markdown(ranked_table(), Style(intervals=False))


def test_markdown_of_datasets_side_by_side() -> None:
    assert markdown(side_by_side()).splitlines()[2:] == [
        r"| method | Losses | one\|city SSA-1 % | one\|city SA-1 % | two\&city SSA-1 % | two\&city SA-1 % |",
        "|---|---|---:|---:|---:|---:|",
        r"| **Ours \& others** |  |  |  |  |  |",
        r"| a | x\_y | **25.0** | **25.0** | **25.0** | **25.0** |",
        "| b |  | 12.5 |  |  |  |",
        "| **From papers** |  |  |  |  |  |",
        r"| *p* \[key\\2024\}\] |  |  | 50.0 |  |  |",
        "",
    ]


def test_a_very_long_text_is_cut_where_people_read_it_and_whole_for_programs() -> None:
    table = make_table(["x" * 100_000], ("y" * 100_000,))
    for fmt in ("md", "html", "latex"):
        longest = max(re.findall(r"[x]+…?", text_of([table], fmt)), key=len)
        assert longest == "x" * (LONGEST - 1) + "…"
    assert "x" * 100_000 in as_csv(table)
    assert "y" * 100_000 in text_of([table], "json")
    assert len(drawn(table)) < 20_000


# ----------------------------------------------------------------------------------------------------------- CSV


def test_csv_is_read_back_with_fractions_and_intervals_in_columns() -> None:
    header, *rows = csv.reader(io.StringIO(as_csv(ranked_table())))
    assert header == [
        "dataset", "kind", "group", "method", "seeds", "cite", "backbone", "SSA-1", "SSA-1 low", "SSA-1 high",
        "SSA-1 seed sd", "p50 (ms)", "parameters (M)",
    ]  # fmt: skip
    assert {len(r) for r in rows} == {len(header)}
    first, last = (dict(zip(header, r, strict=True)) for r in (rows[0], rows[-1]))
    assert [float(first[c]) for c in header[7:11]] == [0.98765, 0.9, 0.999, 0.01234]
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
    console.print(rich_table(table, Style()))
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
    for text in ("98.8", "50.0†", "[90.0, 99.9]", "2.00", "p [xu2024addressclip]", "SSA-1 %"):
        assert text in shown


# ------------------------------------------------------------------------------------------------ several tables


def test_several_tables_follow_one_another() -> None:
    tables = [make_table(["a"], name="one"), make_table(["b"], name="two")]
    written = text_of(tables, "md")
    assert written.index("**one**") < written.index("| a |") < written.index("**two**") < written.index("| b |")
    assert text_of(tables, "latex").count(r"\begin{tabular}") == 2
    assert text_of(tables, "html").count("<table>") == 2
    assert [t["dataset"] for t in json.loads(text_of(tables, "json"))] == ["one", "two"]
    assert set(FORMATS) == {"md", "markdown", "latex", "csv", "json", "html"}


@pytest.mark.parametrize(
    ("name", "fmt"), [("a.tex", "latex"), ("a.b.CSV", "csv"), ("a.json", "json"), ("a.htm", "html"), ("a", "md")]
)
def test_a_files_name_asks_for_its_format(name: str, fmt: str) -> None:
    assert format_for(Path(name)) == fmt


def test_several_tables_are_one_csv_where_their_columns_are_the_same() -> None:
    one, two = make_table(["a"], name="one"), make_table(["b"], name="two")
    rows = list(csv.reader(io.StringIO(text_of([one, two], "csv"))))
    assert [[r[0], r[1], r[3]] for r in rows] == [
        ["dataset", "kind", "method"],
        ["one", "measured", "a"],
        ["two", "measured", "b"],
    ]
    other = Table("other", COLUMNS[1:2], (Row("measured", "c", 1, {"SSA-1": Cell(0.5)}),))
    rows = list(csv.reader(io.StringIO(text_of([one, other], "csv"))))
    assert [r[0] for r in rows] == ["dataset", "one", "dataset", "other"]
    assert rows[3][rows[2].index("SSA-1")] == "0.5"
