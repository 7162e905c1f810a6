"""Runs by earlier code: left out where a later run stands for them, not ranked where the code is known to differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ial_bench.engine.record import RunRecord
from ial_bench.registry import Registry
from ial_bench.report.formats import text_of
from ial_bench.report.groups import groups_of
from ial_bench.report.layout import Layout
from ial_bench.report.leaderboard import build_table, lay_out
from ial_bench.report.selection import one_population
from ial_bench.report.stale import NO_CODE, Code, standings
from ial_bench.report.table import Style, Table
from support.made_records import make_record

DATASET = "made-city"
PLUGIN = """
from ial_bench import Method, MethodInfo


class Idea(Method):
    info = MethodInfo(name="idea", title="Idea", family="mine")

    def predict(self, images, k):
        raise NotImplementedError
"""


@pytest.fixture
def code(tmp_path: Path) -> Code:
    """The code of a plugin file, `idea.py`."""
    file = tmp_path / "idea.py"
    file.write_text(PLUGIN)
    return Code(Registry([file]))


def now(code: Code) -> str:
    assert code.registry is not None
    source = code.registry.source("idea")
    assert source is not None
    return source


def idea(value: float, day: int = 1, **facts: Any) -> RunRecord:
    given = {"origin": "idea.py", "source": "a" * 64, "finished": f"2026-01-{day:02d}T00:00:00+00:00", **facts}
    return make_record("idea", {"SSA-1": value}, title="Idea", **given)


def other(value: float, name: str = "other") -> RunRecord:
    return make_record(name, {"SSA-1": value})


def shown(table: Table) -> dict[str, float | None]:
    return {r.title: r.cells["SSA-1"].value for r in table.rows}


def table_of(*records: RunRecord, code: Code = NO_CODE) -> Table:
    return build_table(records, DATASET, ["SSA-1"], code=code)


def left_out(table: Table) -> list[str]:
    return [n for n in table.notes if "earlier code" in n]


# ----------------------------------------------------------------------------------------------------- superseded


def test_of_runs_that_differ_by_their_code_alone_the_latest_is_shown() -> None:
    runs = [idea(0.1, 1), idea(0.3, 3, source="c" * 64), idea(0.2, 2, source="b" * 64), idea(0.05, source=None)]
    table = table_of(*runs, other(0.2))
    assert shown(table) == {"Idea": 0.3, "other": 0.2}
    assert left_out(table) == ["3 runs by earlier code of idea are left out"]
    assert left_out(table_of(*runs[:2])) == ["1 run by earlier code of idea is left out"]
    assert standings(runs, NO_CODE) == ["superseded", None, "superseded", "superseded"]


@pytest.mark.parametrize(
    "facts",
    [
        {"config": {"c": 2}}, {"version": "2"}, {"weights": "w", "backbone": "timm:resnet50"}, {"seed": 1},
        {"origin": "b.py"},
    ],
    ids=lambda facts: next(iter(facts)),
)  # fmt: skip
def test_runs_that_differ_in_more_stand_beside_each_other_and_are_never_joined(facts: dict[str, Any]) -> None:
    table = table_of(idea(0.1, 1, **facts), idea(0.3, 3, source="c" * 64))
    assert sorted(v for v in shown(table).values() if v) == [0.1, 0.3]
    assert left_out(table) == []
    assert {r.seeds for r in table.rows} == {1}
    word = "(origin" if "origin" in facts else "code aaaaaaaa"
    assert any(word in title for title in shown(table))


def test_runs_on_other_photos_do_not_supersede() -> None:
    runs = [idea(0.1, 1), idea(0.3, 3, source="c" * 64, limit=5), idea(0.4, 4, source="d" * 64, k=3)]
    assert standings(runs, NO_CODE) == [None, None, None]
    elsewhere = [idea(0.1, 1), idea(0.3, 3, source="c" * 64, dataset="elsewhere")]
    assert standings(elsewhere, NO_CODE) == [None, None]


def test_a_failed_run_supersedes_nothing() -> None:
    later = "2026-02-02T00:00:00+00:00"
    failed = make_record("idea", status="failed", origin="idea.py", source="c" * 64, finished=later)
    assert standings([idea(0.1), failed], NO_CODE) == [None, None]
    assert shown(table_of(idea(0.1), failed)) == {"Idea": 0.1}


def test_the_seeds_of_one_code_are_joined_whatever_its_file_is_called() -> None:
    population, _ = one_population([idea(0.1), idea(0.3, seed=1, origin="renamed.py")], None)
    (group,) = groups_of(population)
    assert (len(group.runs), group.title) == (2, "Idea")


def test_a_namesake_of_another_origin_is_a_row_of_its_own() -> None:
    built_in = make_record("idea", {"SSA-1": 0.5}, title="Other idea", origin="ial-bench", config={"c": 1})
    mine = [idea(0.1, seed=s, config={"d": 2}) for s in (0, 1)]
    table = table_of(built_in, *mine)
    assert shown(table) == {"Other idea (origin ial-bench)": 0.5, "Idea (origin idea.py)": 0.1}
    columns = lay_out([built_in, *mine], [DATASET], Layout(metrics=("SSA-1",), settings_as_columns=True))
    assert [r.cells["origin"].text for r in columns.rows] == ["ial-bench", "idea.py"]


# ----------------------------------------------------------------------------------------------------------- stale


def test_a_stale_row_is_shown_and_not_ranked(code: Code) -> None:
    records = [idea(0.9, latency_ms=0.1), other(0.5), other(0.4, "third")]
    table = table_of(*records, code=code)
    assert shown(table) == {"other": 0.5, "third": 0.4, "Idea (stale)": 0.9}
    assert [r.kind for r in table.rows] == ["measured", "measured", "stale"]
    marks = {r.title: r.cells["SSA-1"].mark.value for r in table.rows}
    assert marks == {"other": "best", "third": "second", "Idea (stale)": ""}
    (note,) = [n for n in table.notes if n.startswith("stale")]
    assert "the code of idea has changed since" in note
    assert "`bench run` makes them anew" in note
    for fmt in ("md", "latex", "csv", "json", "html"):
        assert "Idea (stale)" in text_of([table], fmt, Style())
    assert "By earlier code (not ranked)" in text_of([table], "latex", Style())
    assert standings(records, code) == ["stale", None, None]


def test_a_row_of_the_code_as_it_is_is_ranked(code: Code) -> None:
    table = table_of(idea(0.9, source=now(code)), other(0.5), code=code)
    assert {r.title: r.cells["SSA-1"].mark.value for r in table.rows} == {"Idea": "best", "other": "second"}
    assert not any("stale" in n for n in table.notes)


def test_what_is_not_known_here_is_not_stale(code: Code) -> None:
    table = table_of(idea(0.9, origin="elsewhere.py"), other(0.5), make_record("random", origin="ial-bench"), code=code)
    assert {r.kind for r in table.rows} == {"measured"}


def test_a_plugins_run_of_unknown_code_is_stale_where_its_code_is_known(code: Code) -> None:
    assert standings([idea(0.9, source=None)], code) == ["stale"]


def test_the_code_as_it_is_goes_before_a_later_run_of_other_code(code: Code) -> None:
    records = [idea(0.1, 1, source=now(code)), idea(0.9, 2)]
    assert shown(table_of(*records, code=code)) == {"Idea": 0.1}
    assert standings(records, code) == [None, "superseded"]
    assert shown(table_of(*records)) == {"Idea": 0.9}


def test_a_stale_oracle_stays_among_the_oracles(code: Code) -> None:
    table = table_of(idea(0.9, oracle=True), other(0.5), code=code)
    assert [(r.title, r.kind) for r in table.rows] == [("other", "measured"), ("Idea (stale)", "oracle")]
