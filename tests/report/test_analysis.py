"""Tables of analyses, in every format."""

from __future__ import annotations

import csv
import io
import json

import pytest

from ial_bench.metrics.intervals import Estimate
from ial_bench.report.formats import text_of
from ial_bench.report.table import analysis

SHEET = analysis(
    "made | up",
    ("part", "queries", "=A1", "rate"),
    (("=x|y", 1200, Estimate(0.5, (0.25, 0.75)), 0.1234), ("z", 3, Estimate(1.0, None), None)),
    ("a *note*",),
    {"dataset": "d"},
)


def test_markdown() -> None:
    assert text_of([SHEET], "md").splitlines() == [
        "**made \\| up**", "", "| part | queries | \\=A1 | rate |", "|---|---:|---:|---:|",
        "| \\=x\\|y | 1,200 | 50.0 \\[25.0, 75.0\\] | 0.123 |", "| z | 3 | 100.0 |  |", "", "- a \\*note\\*",
    ]  # fmt: skip


def test_csv() -> None:
    header, first, second = csv.reader(io.StringIO(text_of([SHEET], "csv")))
    assert header == ["part", "queries", "'=A1", "'=A1 low", "'=A1 high", "rate"]
    assert first == ["'=x|y", "1200", "0.5", "0.25", "0.75", "0.1234"]
    assert second == ["z", "3", "1.0", "", "", ""]


def test_json() -> None:
    (told,) = json.loads(text_of([SHEET], "json"))
    assert told["dataset"] == "d"
    assert told["rows"][0] == {
        "part": "=x|y", "queries": 1200, "=A1": {"value": 0.5, "ci95": [0.25, 0.75]}, "rate": 0.1234
    }  # fmt: skip
    assert told["notes"] == ["a *note*"]


def test_latex() -> None:
    lines = text_of([SHEET], "latex").splitlines()
    assert lines[1:3] == ["% made | up", "% a *note*"]
    assert lines[3] == r"\begin{tabular}{lrr@{\,}lr}"
    assert r"=x\textbar{}y & 1,200 & 50.0 & {\scriptsize [25.0, 75.0]} & 0.123 \\" in lines
    assert r"z & 3 & 100.0 &  &  \\" in lines


def test_latex_prints_minus_signs_and_no_hyphens() -> None:
    table = analysis("t", ("a", "b"), (("x-y", -1.5), ("z", Estimate(-0.25, (-0.5, 0.25)))))
    lines = text_of([table], "latex").splitlines()
    assert r"x-y & $-$1.5 &  \\" in lines
    assert r"z & $-$25.0 & {\scriptsize [$-$50.0, 25.0]} \\" in lines


def test_html() -> None:
    page = text_of([SHEET], "html")
    assert "<title>made | up</title>" in page
    assert (
        '<tr><td>=x|y</td><td class="number">1,200</td><td class="number">50.0 <small>[25.0, 75.0]</small></td>' in page
    )
    assert "<li>a *note*</li>" in page


def test_columns_of_one_name_keep_their_own_values() -> None:
    table = analysis("t", ("part", "queries", "queries"), (("x", 3, Estimate(0.5, None)),))
    assert text_of([table], "csv").splitlines()[1] == "x,3,0.5,,"
    assert text_of([table], "md").splitlines()[2:] == [
        "| part | queries | queries |",
        "|---|---:|---:|",
        "| x | 3 | 50.0 |",
    ]
    (told,) = json.loads(text_of([table], "json"))
    assert list(told["rows"][0].values()) == ["x", 3, {"value": 0.5, "ci95": None}]


def test_a_count_beside_shares_stays_a_count() -> None:
    table = analysis("t", ("answered", "a"), (("elsewhere", Estimate(0.25, (0.0, 0.5))), ("wrong answers", 1234)))
    assert text_of([table], "csv").splitlines()[1:] == ["elsewhere,0.25,0.0,0.5", "wrong answers,1234,,"]
    assert "| wrong answers | 1,234 |" in text_of([table], "md")
    (told,) = json.loads(text_of([table], "json"))
    assert told["rows"][1]["a"] == 1234


@pytest.mark.parametrize("fmt", ["md", "latex", "csv", "html"])
def test_an_analysis_without_rows_still_has_its_head(fmt: str) -> None:
    assert "queries" in text_of([analysis("t", ("part", "queries"), ())], fmt)
