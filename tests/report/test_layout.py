"""Columns, rows and datasets as they are asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ial_bench.engine.record import RunRecord
from ial_bench.errors import ConfigError, DataError, UnknownNameError
from ial_bench.report.columns import check_words
from ial_bench.report.layout import Layout, possible
from ial_bench.report.leaderboard import lay_out
from ial_bench.report.published import PublishedRow
from ial_bench.report.table import Table
from support.made_records import make_record

A, B = "city-a", "city-b"


def run(name: str, value: float, dataset: str = A, **facts: Any) -> RunRecord:
    return make_record(name, {"SSA-1": value, "SA-1": value / 2}, dataset=dataset, **facts)


def paper(method: str, value: float, dataset: str = A) -> PublishedRow:
    return PublishedRow(method, "key2024", "ECCV", {"SSA-1": value}, None, 3.0, dataset)


def table(records: list[RunRecord], *published: PublishedRow, datasets: tuple[str, ...] = (A,), **layout: Any) -> Table:
    return lay_out(records, datasets, Layout.of(layout, "test"), published)


def titles(found: Table) -> list[str]:
    return [r.title for r in found.rows]


THREE = [run("a", 0.2, latency_ms=1.0), run("b", 0.5, latency_ms=9.0), run("c", 0.1, latency_ms=3.0)]


# ------------------------------------------------------------------------------------------------------- columns


def test_columns_are_those_asked_for_in_their_order() -> None:
    found = table(THREE, columns=["storage", "SA-1", "backbone", "seeds", "SSA-1", "latency-p95"])
    # The backbone tells what the row is, whatever is measured: it stands before the dataset's columns.
    assert [c.name for c in found.columns] == ["backbone", "storage (MB)", "SA-1", "seeds", "SSA-1", "p95 (ms)"]
    assert titles(found) == ["b", "a", "c"]
    assert [r.cells["p95 (ms)"].value for r in found.rows] == [18.0, 2.0, 6.0]
    assert [r.cells["seeds"].value for r in found.rows] == [1.0] * 3


def test_the_word_metrics_stands_for_all_of_them() -> None:
    found = table(THREE, columns=["latency", "metrics"], metrics=["SA-1", "SSA-1"])
    assert [c.name for c in found.columns] == ["p50 (ms)", "SA-1", "SSA-1"]
    with pytest.raises(ConfigError, match="no place among the columns"):
        table(THREE, columns=["latency"], metrics=["SA-1"])


def test_headings_and_decimals_of_ones_own() -> None:
    found = table(THREE, columns=["SSA-1"], headings={"SSA-1": "Acc.", A: "City A"}, digits=2)
    (column,) = found.columns
    assert (column.title, column.unit, column.digits, found.title) == ("Acc.", "", 2, "City A")


def test_the_spread_across_seeds_has_a_column_of_its_own() -> None:
    records = [run("a", 0.5), run("b", 0.3), run("b", 0.5, seed=1)]
    found = table(records)
    assert [c.name for c in found.columns][1:4] == ["SSA-1", "SSA-1 seed sd", "SA-1"]
    spread = {r.title: r.cells["SSA-1 seed sd"].value for r in found.rows}
    assert spread == {"a": None, "b": pytest.approx(0.1 * 2**0.5)}
    assert any("standard deviation across seeds" in n for n in found.notes)
    assert "SSA-1 seed sd" not in {c.name for c in table(records[:2]).columns}
    (other,) = table(records, columns=["sd:SA-1"]).columns
    assert (other.name, other.spread_of) == ("SA-1 seed sd", "SA-1")


def test_a_method_without_randomness_has_no_spread_however_often_it_ran() -> None:
    runs = [run("a", 0.5, seed=s) for s in (0, 1)]
    runs = [r.model_copy(update={"method": r.method.model_copy(update={"stochastic": False})}) for r in runs]
    found = table(runs, columns=["SSA-1", "sd"])
    assert found.rows[0].cells["SSA-1"].spread is None
    assert found.rows[0].cells["SSA-1 seed sd"].value is None


def test_latency_is_averaged_over_one_machine() -> None:
    records = [
        run("a", 0.5, latency_ms=1.0), run("a", 0.5, seed=1, latency_ms=100.0, hardware="slow"),
        run("b", 0.4, latency_ms=2.0),
    ]  # fmt: skip
    found = table(records)
    assert {r.title: r.cells["p50 (ms)"].value for r in found.rows} == {"a": 1.0, "b": 2.0}
    assert not any("not comparable" in n for n in found.notes)
    assert not any("slow" in n for n in found.notes)


@pytest.mark.parametrize(("word", "says"), [("SSA1", "did you mean 'SSA-1'"), ("sd:MMR", "'MMR'"), ("set:x", "'x'")])
def test_unknown_columns_are_named(word: str, says: str) -> None:
    with pytest.raises(UnknownNameError, match=says):
        check_words([word], THREE)
    check_words(["within_50", "sd", "sd:SA-1", "latency", "set:preset"], THREE)


# ---------------------------------------------------------------------------------------------------------- rows


def test_rows_stand_as_given_or_by_a_column() -> None:
    rows = [{"method": m} for m in "cab"]
    assert titles(table(THREE, rows=rows)) == ["c", "a", "b"]
    assert titles(table(THREE, rows=rows, sort="SSA-1")) == ["b", "a", "c"]
    assert titles(table(THREE, sort="latency")) == ["a", "c", "b"]
    assert titles(table(THREE, rows=rows[:2])) == ["c", "a"]
    with pytest.raises(ConfigError, match="cannot sort by 'MRR'"):
        table(THREE, sort="MRR")


def test_rows_under_headings_with_titles_of_ones_own() -> None:
    settings = [run("b", v, config={"losses": x, "rate": 1}) for v, x in ((0.3, ["p"]), (0.4, ["p", "q"]))]
    found = table(
        [THREE[0], *settings, run("o", 0.9, oracle=True)],
        paper("Their b", 0.7), paper("Their c", 0.8),
        rows=[
            {"method": "b", "settings": {"losses": "p+q"}, "title": "Ours", "group": "Trained"},
            {"method": "o"},
            {"published": "Their c", "title": "Theirs", "group": "From papers"},
            {"method": "a", "group": "Plain"},
            {"method": "b", "title": "Weaker", "group": "Trained"},
        ],
    )  # fmt: skip
    assert [(r.kind, r.group, r.title) for r in found.rows] == [
        ("measured", "Trained", "Ours"),
        ("measured", "Trained", "Weaker (losses=p)"),
        ("measured", "Plain", "a"),
        ("oracle", "", "o"),
        ("published", "From papers", "Theirs"),
    ]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"method": "a", "settings": {"x": 1}}, "no finished run for the row a, x=1"),
        ({"method": "a", "preset": "paper"}, "no finished run for the row a, preset paper"),
        ({"published": "None such"}, "no such published row: None such"),
        ({}, "either a method or a published one"),
        ({"method": "a", "colour": "red"}, "rows.0.colour"),
    ],
)
def test_a_row_for_which_there_is_nothing_is_named(row: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        table(THREE, paper("b", 0.5), rows=[row])
    if row.get("settings"):
        assert possible(Layout.of({"rows": [row]}, "test"), THREE, []).rows == ()


def test_settings_that_differ_in_columns_of_their_own() -> None:
    grid = [run("a", 0.1 * i, config={"losses": x, "rate": 1}) for i, x in enumerate((["p"], ["p", "q"], ["q"]))]
    found = table([*grid, run("b", 0.9, config={"c": 1})], settings_as_columns=True, columns=["backbone", "SSA-1"])
    assert [(c.name, c.text) for c in found.columns] == [("backbone", True), ("losses", True), ("SSA-1", False)]
    assert [(r.title, r.cells["losses"].text) for r in found.rows] == [("b", ""), ("a", "q"), ("a", "p+q"), ("a", "p")]
    asked = table(grid, columns=["set:rate", "SSA-1"])
    assert [r.cells["rate"].text for r in asked.rows] == ["1"] * 3
    assert titles(asked)[0] == "a (losses=q)"


# --------------------------------------------------------------------------------------------------- side by side


def test_datasets_side_by_side() -> None:
    records = [run("a", 0.2), run("b", 0.5), run("b", 0.1, B), run("c", 0.3, B, seed=1), run("c", 0.5, B)]
    records += [run("a", 0.4, B, config={"x": 1}), run("d", status="skipped", value=0, dataset=B, reason="no weights")]
    found = table(records, paper("p", 0.6), paper("p", 0.7, B), datasets=(A, B), headings={B: "City B"})
    assert [(c.group, c.name) for c in found.columns] == [
        ("", "backbone"), (A, "SSA-1"), (A, "SA-1"), ("City B", "SSA-1"), ("City B", "SA-1"),
    ]  # fmt: skip
    cells = {r.title: [r.cells[c.key].value for c in found.columns[1::2]] for r in found.rows}
    # Ordered by the first dataset; a method with other settings on the other dataset is another row.
    assert cells == {"b": [0.5, 0.1], "a": [0.2, None], "c": [None, 0.4], "a (x=1)": [None, 0.4], "p": [0.6, 0.7]}
    assert titles(found) == ["b", "a", "a (x=1)", "c", "p"]
    marks = {r.title: r.cells["City B SSA-1"].mark.value for r in found.rows}
    assert marks == {"b": "second", "a": "", "a (x=1)": "best", "c": "best", "p": ""}
    assert "1,234 queries from 56 places, 78 candidate addresses" in found.notes, "said of both, once"
    assert "City B: d was skipped: no weights" in found.notes
    assert found.title == f"{A}, City B"
    assert found.rows[-1].cite == "key2024"


def test_sorted_by_the_column_of_the_first_dataset() -> None:
    records = [run("a", 0.2, latency_ms=2.0), run("b", 0.5, latency_ms=1.0), run("b", 0.1, B, latency_ms=9.0)]
    found = table(records, datasets=(A, B), columns=["metrics", "latency"], sort="latency")
    assert titles(found) == ["b", "a"]


# ---------------------------------------------------------------------------------------------------------- files


def test_a_layout_file(tmp_path: Path) -> None:
    file = tmp_path / "table.toml"
    file.write_text(
        'datasets = ["city-a", "city-b"]\nmetrics = ["SSA-1"]\ncolumns = ["metrics", "latency"]\npublished = false\n'
        '[headings]\n"SSA-1" = "Acc."\n[[rows]]\nmethod = "a"\ntitle = "Ours"\nsettings = {losses = "p+q", rate = 1}\n',
        encoding="utf-8",
    )
    found = Layout.read(file)
    assert (found.datasets, found.side_by_side, found.published) == ((A, B), True, False)
    assert found.rows[0].settings == {"losses": "p+q", "rate": 1}
    file.write_text('datasets = ["a", "b"]\nside_by_side = false\n', encoding="utf-8")
    assert Layout.read(file).side_by_side is False


def test_the_layout_in_the_docs_is_one(tmp_path: Path) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "results.md"
    (text,) = re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "main.toml").write_text(text, encoding="utf-8")
    found = Layout.read(tmp_path / "main.toml")
    assert (found.datasets, found.side_by_side) == (("pitts-ial", "sf-ial-base"), True)
    assert [row.method or row.published for row in found.rows] == ["clip-address", "addressclip", "AddressCLIP"]


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("metrics = ", DataError, "not valid TOML"),
        ('metric = ["SSA-1"]', ConfigError, r"table\.toml: metric: .*"),
        ('metrics = "SSA-1"', ConfigError, "metrics"),
        ("digits = 40", ConfigError, "digits"),
        ('[[rows]]\nmethod = "a"\npublished = "b"', ConfigError, "either a method or a published one"),
    ],
)
def test_a_layout_file_that_is_none(tmp_path: Path, text: str, error: type[Exception], says: str) -> None:
    (tmp_path / "table.toml").write_text(text, encoding="utf-8")
    with pytest.raises(error, match=says):
        Layout.read(tmp_path / "table.toml")
    with pytest.raises(DataError, match="no such file"):
        Layout.read(tmp_path / "none.toml")
