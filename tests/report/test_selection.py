"""The same runs are shown wherever results are."""

from __future__ import annotations

from pathlib import Path

import pytest

from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.record import RunRecord
from ial_bench.engine.records import record_path, write_record
from ial_bench.packs.pack import make_pack
from ial_bench.report.comparison import compared
from ial_bench.report.layout import Layout
from ial_bench.report.leaderboard import lay_out
from ial_bench.report.selection import Selected, contenders, read_records, runs_of
from ial_bench.report.site.source import gather
from support.made_answers import a_run

LATER = "2026-02-01T00:00:00+00:00"


def finished_later(results: Path, record: RunRecord) -> RunRecord:
    provenance = record.provenance.model_copy(update={"finished": LATER})
    record = record.model_copy(update={"provenance": provenance})
    write_record(record_path(results, record.dataset.name, record.method.name, record.run_id), record)
    return record


@pytest.fixture(scope="module")
def results(tiny_city: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods that stored four answers, and later two of them, one with two seeds, that stored three."""
    folder = tmp_path_factory.mktemp("selection")
    for i, method in enumerate(("linear-probe", "retrieval", "clip-adapter")):
        a_run(folder, tiny_city, method, 1.0, run=i, k=4)
    for method, seed in (("linear-probe", 0), ("linear-probe", 1), ("retrieval", 0)):
        finished_later(folder, a_run(folder, tiny_city, method, 1.0, run=seed, seed=seed, k=3))
    return folder


def test_tables_comparisons_packs_and_pages_show_the_same_runs(
    results: Path, tiny_city: Dataset, tmp_path: Path
) -> None:
    name = tiny_city.name
    records, problems = read_records(results, name)
    assert not problems
    latest = {r.run_id for r in records if r.provenance.finished == LATER}
    assert len(latest) == 3

    table = lay_out(records, [name], Layout())
    assert {run for row in table.rows for run in row.runs} == latest
    selected = Selected.among(results, None, [], None)
    assert {r.run_id for r in runs_of(selected.groups)} == latest
    (comparison,), notes = compared(results, [None], [], "SSA-1", None)
    assert {r.run_id for r in runs_of(comparison.groups)} == latest
    source = gather(results, name, tmp_path)
    assert {run.record.run_id for run in source.runs} == latest
    pack, left_out = make_pack(results, None, [], tmp_path / "results.ialpack")
    assert set(pack.manifest.runs) == latest

    said = "3 other runs are left out"
    assert all(any(said in note for note in of) for of in (table.notes, selected.notes, notes, left_out))


def test_oracles_do_not_compete(results: Path, tiny_city: Dataset) -> None:
    groups = Selected.among(results, tiny_city.name, [], None).groups
    assert contenders(groups) == list(groups)
    knowing = (
        groups[0].runs[0].model_copy(update={"method": groups[0].runs[0].method.model_copy(update={"oracle": True})})
    )
    oracle = type(groups[0])((knowing,), "", {})
    assert contenders([oracle, *groups]) == list(groups)


def test_groups_of_one_title_are_named_with_a_run(results: Path, tiny_city: Dataset) -> None:
    selected = Selected.among(results, tiny_city.name, ["retrieval", "linear-probe"], None)
    assert selected.titles == [g.title for g in selected.groups]
    twice = Selected(results, selected.dataset, (selected.groups[0], selected.groups[0]), ())
    run = selected.groups[0].runs[0].run_id
    assert twice.titles == [f"{selected.groups[0].title} ({run})"] * 2
