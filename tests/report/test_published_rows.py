"""Published rows stand beside whole runs on the dataset that they were measured on, and beside no others."""

from __future__ import annotations

from typing import Any

import pytest

from ial_bench.engine.record import RunRecord
from ial_bench.errors import ConfigError
from ial_bench.report.layout import Layout
from ial_bench.report.leaderboard import lay_out
from ial_bench.report.published import published_rows
from ial_bench.report.site.source import Board
from ial_bench.report.table import Table
from support.made_records import PAPER_COUNTS, make_record

PITTS, BASE = "pitts-ial", "sf-ial-base"
LEFT_OUT = "published numbers are left out: "
PART = "they were measured on 428 candidates and about 19,000 queries, these runs on 78 candidates and 1,234 queries"
LIMITED = "they were measured on all photos, limited runs are not"


def run(dataset: str = PITTS, **facts: Any) -> RunRecord:
    facts = {"counts": PAPER_COUNTS[dataset], **facts}
    return make_record("m", {"SSA-1": 0.5, "SA-1": 0.6}, dataset=dataset, **facts)


def table(*records: RunRecord, datasets: tuple[str, ...] = (PITTS,), **layout: Any) -> Table:
    published = [row for name in datasets for row in published_rows(name)]
    return lay_out(records, datasets, Layout.of(layout, "test"), published)


def cited(found: Table) -> list[str]:
    return [row.title for row in found.rows if row.kind == "published"]


def why(found: Table) -> list[str]:
    return [note for note in found.notes if LEFT_OUT in note]


@pytest.mark.parametrize("counts", [(428, 19_152), (424, 18_500), (432, 19_500)])
def test_beside_runs_on_the_published_dataset(counts: tuple[int, int]) -> None:
    found = table(run(counts=counts))
    assert "AddressCLIP" in cited(found)
    assert why(found) == []


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ((78, 1234), PART),
        ((428, 1234), PART.replace("78 candidates", "428 candidates")),
        ((78, 19_000), PART.replace("1,234 queries", "19,000 queries")),
    ],
)
def test_left_out_beside_runs_on_another(counts: tuple[int, int], says: str) -> None:
    found = table(run(counts=counts))
    assert [row.kind for row in found.rows] == ["measured"]
    assert why(found) == [LEFT_OUT + says]


def test_the_latest_version_of_the_dataset_is_what_counts() -> None:
    """It is the one that is shown."""
    early, late = "2026-01-01T00:00:00+00:00", "2026-02-01T00:00:00+00:00"
    for whole, part, shown in ((early, late, False), (late, early, True)):
        found = table(run(finished=whole), run(counts=(78, 1234), dataset_digest="e" * 64, finished=part))
        assert ("AddressCLIP" in cited(found)) is shown


@pytest.mark.parametrize("limit", [None, 500], ids=["not asked for", "asked for"])
def test_left_out_beside_limited_runs(limit: int | None) -> None:
    found = table(run(limit=500), limit=limit)
    assert [row.kind for row in found.rows] == ["measured"]
    assert why(found) == [LEFT_OUT + LIMITED]


def test_left_out_with_a_limit_that_no_run_has() -> None:
    found = table(run(), limit=500)
    assert (found.rows, why(found)) == ((), [LEFT_OUT + LIMITED])


def test_alone_where_nothing_is_measured() -> None:
    skipped = run(status="skipped", reason="no weights", counts=(78, 1234))
    for found in (table(), table(skipped)):
        assert "AddressCLIP" in cited(found)
        assert why(found) == []


def test_what_was_not_asked_for_is_not_said_to_be_left_out() -> None:
    assert why(table(run(counts=(78, 1234)), published=False)) == []
    assert why(lay_out([run(counts=(78, 1234))], [PITTS], Layout())) == []
    other = {"published": "SALAD (ResNet-50 comparison)"}  # which the paper has of Pittsburgh alone
    found = table(run(), run(BASE, counts=(78, 1234)), datasets=(PITTS, BASE), rows=[{"method": "m"}, other])
    assert (cited(found), why(found)) == ([other["published"]], [])


def test_side_by_side_each_dataset_for_itself() -> None:
    found = table(run(), run(BASE, counts=(78, 1234)), datasets=(PITTS, BASE), headings={BASE: "City B"})
    (row,) = [r for r in found.rows if r.title == "AddressCLIP"]
    assert row.cells[f"{PITTS} SSA-1"].value == pytest.approx(0.8039)
    assert row.cells["City B SSA-1"].value is None
    (note,) = why(found)
    assert note.startswith(f"City B: {LEFT_OUT}they were measured on 400 candidates and about 21,000 queries, these")


@pytest.mark.parametrize(("facts", "says"), [({"counts": (78, 1234)}, PART), ({"limit": 500}, LIMITED)])
def test_a_row_that_is_asked_for_by_name_is_not_left_out_in_silence(facts: dict[str, Any], says: str) -> None:
    rows = [{"method": "m"}, {"published": "AddressCLIP"}]
    with pytest.raises(ConfigError) as caught:
        table(run(**facts), rows=rows)
    assert caught.value.problem == f"the row AddressCLIP (published) of {PITTS} is left out: {says}"
    assert "AddressCLIP" in cited(table(run(), rows=rows))
    assert cited(table(run(**facts), rows=rows, published=False)) == []
    with pytest.raises(ConfigError, match="no such published row: None such"):
        table(run(**facts), rows=[{"published": "None such"}])


def test_the_page_of_the_report_does_the_same() -> None:
    assert "AddressCLIP" in cited(Board.of([run()], PITTS, None, None).table)
    part = Board.of([run(counts=(78, 1234))], PITTS, None, None).table
    assert (cited(part), why(part)) == ([], [LEFT_OUT + PART])
    assert cited(Board.of([run(limit=500)], PITTS, 500, None).table) == []
