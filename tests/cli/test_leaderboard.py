"""`bench leaderboard` on stored runs: what is printed, written, and held against a file."""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.ground_truth import GroundTruth
from ial_bench.engine.predictions import read_predictions, write_predictions
from ial_bench.engine.record import Interval, RunRecord
from ial_bench.engine.records import read_record, record_path, records, write_record
from ial_bench.topk import TopK
from support.bench_command import Bench
from support.made_records import PAPER_COUNTS, make_record, run_baselines, store


@pytest.fixture(scope="module")
def runs(tiny_city: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of three methods on the tiny city, one of them with two seeds; read only."""
    folder = tmp_path_factory.mktemp("runs")
    assert [r.status for r in run_baselines(tiny_city, folder, seeds=(0, 1))] == ["done"] * 4
    return folder / "results"


@pytest.fixture
def results(runs: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(runs, tmp_path / "results"))


def one(results: Path, method: str) -> Path:
    return next((results / "tiny-city" / method).glob("*.json"))


def test_the_leaderboard_shows_the_stored_numbers(bench: Bench, results: Path) -> None:
    outcome = bench("leaderboard", "-d", "tiny-city", "-f", "csv", "--results", results, "--metrics", "SSA-1,MRR")
    assert (outcome.code, outcome.err) == (0, "")
    rows = {r["method"]: r for r in csv.DictReader(io.StringIO(outcome.out))}
    assert set(rows) == {"Random", "Most frequent address", "GPS oracle"}
    by_method: dict[str, list[RunRecord]] = {}
    for _, record in records(results):
        assert isinstance(record, RunRecord)
        by_method.setdefault(record.method.title, []).append(record)
    for title, row in rows.items():
        for name in ("SSA-1", "MRR"):
            values = [r.metrics.accuracy[name].value for r in by_method[title] if r.metrics]
            assert float(row[name]) == pytest.approx(sum(values) / len(values), abs=1e-15)
    assert [rows[t]["seeds"] for t in ("Random", "Most frequent address")] == ["2", "1"]
    assert rows["GPS oracle"]["kind"] == "oracle"


@pytest.mark.parametrize(
    ("fmt", "starts"),
    [
        (None, "**tiny-city**"),
        ("md", "**tiny-city**"),
        ("latex", "% \\usepackage{booktabs}\n% tiny-city"),
        ("csv", "dataset,kind,group,method"),
        ("json", '[\n  {\n    "dataset": "tiny-city"'),
        ("html", "<!doctype html>"),
    ],
)
def test_each_format_goes_to_stdout_or_to_a_file(
    bench: Bench, results: Path, tmp_path: Path, fmt: str | None, starts: str
) -> None:
    arguments = ["leaderboard", "--results", results, *([] if fmt is None else ["--format", fmt])]
    printed = bench(*arguments)
    assert printed.code == 0
    assert printed.out.startswith(starts)
    file = tmp_path / "below" / "table.txt"
    written = bench(*arguments, "--out", file)
    assert (written.code, written.out) == (0, "")
    assert f"wrote {file}" in written.err
    text = file.read_text(encoding="utf-8")
    if fmt in {"csv", "json"}:
        assert text == printed.out
    else:
        assert "\n".join([*text.splitlines()[1:-1], ""]) == printed.out
        assert "bench leaderboard --dataset tiny-city" in text.splitlines()[0]
        assert "end of bench leaderboard" in text.splitlines()[-1]


def test_every_dataset_with_results_is_shown_and_written(bench: Bench, results: Path, tmp_path: Path) -> None:
    store(results, make_record("m", {"SSA-1": 0.5}, dataset="other-city"))
    printed = bench("leaderboard", "--results", results)
    assert printed.out.index("**other-city**") < printed.out.index("**tiny-city**")
    file = tmp_path / "table.csv"
    assert bench("leaderboard", "--results", results, "--out", file, "-f", "csv").code == 0
    text = file.read_text(encoding="utf-8")
    assert {r[0] for r in csv.reader(io.StringIO(text))} == {"dataset", "other-city", "tiny-city"}


def test_published_rows_are_appended_unless_declined(bench: Bench, tmp_path: Path) -> None:
    counts = PAPER_COUNTS["pitts-ial"]
    record = make_record("m", {"SSA-1": 0.5, "SA-1": 0.6}, dataset="pitts-ial", counts=counts)
    store(tmp_path, record)
    assert (
        "| *AddressCLIP* \\[xu2024addressclip\\] |  | 80.4 | 82.6 |" in bench("leaderboard", "--results", tmp_path).out
    )
    assert "AddressCLIP" not in bench("leaderboard", "--results", tmp_path, "--no-published").out


def test_default_columns_are_those_that_the_records_have(bench: Bench, tmp_path: Path, tiny_city: Dataset) -> None:
    run_baselines(tiny_city, tmp_path, ["majority"], k=3)
    outcome = bench("leaderboard", "--results", tmp_path / "results")
    assert outcome.code == 0
    assert "| method | backbone | SSA-1 % | SA-1 % |" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--metrics", "SSA1"], "unknown metric 'SSA1'; did you mean 'SSA-1'"),
        (["--metrics", "SSA-1,MMR"], "unknown metric 'MMR'; did you mean 'MRR'"),
        (["--metrics", " , "], "names no metric"),
        (["--format", "latx"], "unknown format 'latx'; did you mean 'latex'"),
        (["--dataset", "tinycity"], "unknown dataset with results 'tinycity'; did you mean 'tiny-city'"),
        (["--dataset", "*"], "unknown dataset with results '*'"),
        (["--dataset", "/some/folder"], "unknown dataset with results '/some/folder'"),
    ],
)
def test_an_unknown_name_is_a_usage_error_with_a_suggestion(
    bench: Bench, results: Path, arguments: list[str], says: str
) -> None:
    outcome = bench("leaderboard", "--results", results, *arguments)
    assert outcome.code == 2
    assert says in outcome.err
    assert outcome.out == ""


def test_no_results_are_an_error(bench: Bench, tmp_path: Path) -> None:
    outcome = bench("leaderboard", "--results", tmp_path)
    assert outcome.code == 1
    assert f"no results in {tmp_path}" in outcome.err


def test_a_cut_off_record_is_named_and_the_rest_is_shown(bench: Bench, results: Path) -> None:
    path = one(results, "majority")
    path.write_bytes(path.read_bytes()[:200])
    outcome = bench("leaderboard", "-d", "tiny-city", "-f", "md", "--results", results)
    assert outcome.code == 1
    assert outcome.err.startswith(f"not read: {path} is not valid JSON")
    assert "| Random |" in outcome.out
    assert "Most frequent address" not in outcome.out


def test_a_dataset_whose_records_are_all_damaged_does_not_hide_the_others(bench: Bench, results: Path) -> None:
    path = record_path(results, "broken-city", "m", "1")
    path.parent.mkdir(parents=True)
    path.write_text("{", encoding="utf-8")
    outcome = bench("leaderboard", "--results", results)
    assert outcome.code == 1
    assert str(path) in outcome.err
    assert "| Random |" in outcome.out
    alone = bench("leaderboard", "--results", results, "-d", "broken-city")
    assert (alone.code, alone.out) == (1, "")
    assert "did you mean" not in alone.err


def test_skipped_methods_are_listed_below_the_table(bench: Bench, results: Path) -> None:
    record = make_record("clip", status="skipped", reason="no [weights] here", dataset="tiny-city")
    store(results, record)
    outcome = bench("leaderboard", "--results", results)
    assert outcome.code == 0
    assert "- clip was skipped: no \\[weights\\] here" in outcome.out


def test_a_limit_shows_the_runs_that_have_it(bench: Bench, tmp_path: Path, tiny_city: Dataset) -> None:
    run_baselines(tiny_city, tmp_path, ["majority"])
    run_baselines(tiny_city, tmp_path, ["random"], limit=5)
    whole = bench("leaderboard", "--results", tmp_path / "results")
    assert "Random" not in whole.out
    limited = bench("leaderboard", "--results", tmp_path / "results", "--limit", "5")
    assert "| Random |" in limited.out
    assert "Most frequent" not in limited.out


@pytest.fixture
def impostor(tiny_city: Dataset, tmp_path: Path) -> Path:
    """A drawn city that was given the name of a published dataset by hand."""
    folder = Path(shutil.copytree(tiny_city.folder, tmp_path / "pitts-ial"))
    toml = folder / "dataset.toml"
    toml.write_text(toml.read_text(encoding="utf-8").replace('name = "tiny-city"', 'name = "pitts-ial"', 1), "utf-8")
    return folder


@pytest.mark.parametrize("limit", [(), ("--limit", "5")], ids=["whole", "limited"])
def test_a_run_on_what_is_only_called_so_gets_no_published_rows(
    bench: Bench, impostor: Path, tmp_path: Path, limit: tuple[str, ...]
) -> None:
    results = ("--results", tmp_path / "results")
    ran = bench("run", "-d", impostor, "-m", "majority,random", *results, *limit, "--cache", tmp_path / "cache")
    assert ran.code == 0, ran.err
    assert "**pitts-ial**" in ran.out
    assert "AddressCLIP" not in ran.out
    reason = "all photos, limited runs are not" if limit else "428 candidates and about 19,000 queries, these runs on 6"
    for fmt in ("md", "latex", "html", "json"):
        shown = bench("leaderboard", *results, *limit, "--format", fmt)
        assert "AddressCLIP" not in shown.out
        assert "published numbers are left out: they were measured on " in shown.out
        assert reason in shown.out
    table = bench("leaderboard", *results, *limit, "--format", "csv")
    assert {row["kind"] for row in csv.DictReader(io.StringIO(table.out))} == {"measured"}
    assert bench("report", *results, "--out", tmp_path / "report", "--data-home", tmp_path).code == 0
    pages = "".join(p.read_text(encoding="utf-8") for p in (tmp_path / "report").rglob("*.html"))
    pages += "".join(p.read_text(encoding="utf-8") for p in (tmp_path / "report").rglob("*.js"))
    assert "published numbers are left out: they were measured on " in pages
    assert "xu2024addressclip" not in pages


def test_a_published_row_named_by_a_layout_is_refused_beside_other_runs(bench: Bench, tmp_path: Path) -> None:
    store(tmp_path, make_record("m", dataset="pitts-ial"))
    layout = tmp_path / "main.toml"
    layout.write_text('[[rows]]\nmethod = "m"\n[[rows]]\npublished = "AddressCLIP"\n', encoding="utf-8")
    said = bench("leaderboard", "--results", tmp_path, "--layout", layout)
    assert (said.code, said.out) == (2, "")
    assert "the row AddressCLIP (published) of pitts-ial is left out: they were measured on 428 candidates" in said.err
    assert "no such published row" not in said.err
    alone = bench("leaderboard", "--results", tmp_path, "--layout", layout, "--no-published")
    assert (alone.code, "| m |" in alone.out) == (0, True)


def edited(results: Path, method: str, value: float) -> Path:
    """Set SSA-1 in a method's record by hand."""
    path = min(results.glob(f"*/{method}/*.json"))
    record = read_record(path)
    assert record.metrics is not None
    accuracy = record.metrics.accuracy
    told = {**accuracy, "SSA-1": Interval(value=value, ci95=(0.5, 1.0))}
    metrics = record.metrics.model_copy(update={"accuracy": told})
    write_record(path, record.model_copy(update={"metrics": metrics}))
    return path


def test_a_number_that_was_edited_is_no_best_and_ends_with_1(bench: Bench, results: Path) -> None:
    path = edited(results, "majority", 0.991)
    said = bench("leaderboard", "--results", results, "--format", "md")
    assert said.code == 1
    row = next(line for line in said.out.splitlines() if "99.1" in line)
    assert "contradicted" in row
    assert "**99.1**" not in row
    assert f"run {path.stem}: SSA-1 is 99.10 % in its record and" in said.out
    assert "bench score --dataset" in said.out


def test_another_ground_truth_beside_the_results_is_noticed(bench: Bench, results: Path, tiny_city: Dataset) -> None:
    """By one that makes every first answer right, a method would be perfect."""
    (file,) = (results / tiny_city.name / "ground-truth").glob("*.queries.parquet")
    (answers,) = (results / tiny_city.name / "majority").glob("*.predictions.parquet")
    truth = GroundTruth.read(results / tiny_city.name, file.name.removesuffix(".queries.parquet"))
    first = read_predictions(answers)[1].indices[:, 0]
    swapped = replace(truth, address_rows=truth.candidate_rows[first])
    swapped.write(results / tiny_city.name, file.name.removesuffix(".queries.parquet"), again=True)
    edited(results, "majority", 1.0)
    said = bench("leaderboard", "--results", results, "--format", "md")
    assert said.code == 1
    assert "**100.0**" not in next(line for line in said.out.splitlines() if "Most frequent" in line)
    assert "the ground truth beside the results is another one than it was measured against" in said.out


@pytest.mark.parametrize("which", ["queries", "candidates", "ground truth"])
def test_a_table_of_another_size_contradicts_its_record(
    bench: Bench, tiny_city: Dataset, tmp_path: Path, which: str
) -> None:
    """Neither is it read, nor is the row believed for want of answers."""
    run_baselines(tiny_city, tmp_path, ["random"])
    results = tmp_path / "results"
    path = edited(results, "random", 0.991)
    record, n = read_record(path), len(tiny_city.rows("query"))
    assert record.predictions is not None
    if which == "ground truth":
        changed = record.dataset.model_copy(update={"n_queries": n - 1})
        write_record(path, record.model_copy(update={"dataset": changed}))
        told = f"{n} rows instead of {n - 1}"
    else:
        rows, k = (100_000, record.predictions.k) if which == "queries" else (n, 9_999)
        top = TopK(np.zeros((rows, k), np.int32), np.zeros((rows, k), np.float32))
        sha256 = write_predictions(path.with_suffix(".predictions.parquet"), ["a"] * rows, top)
        predictions = record.predictions.model_copy(update={"sha256": sha256})
        write_record(path, record.model_copy(update={"predictions": predictions}))
        told = f"100,000 rows instead of {n}" if which == "queries" else "9,999 candidates to a query instead of 6"
    said = bench("leaderboard", "--results", results, "--format", "md")
    assert said.code == 1
    assert f"run {path.stem}: what lies beside its record has {told};" in said.out
    assert str(tmp_path) not in said.out


def test_rows_tell_where_they_come_from(bench: Bench, tmp_path: Path, tiny_city: Dataset) -> None:
    run_baselines(tiny_city, tmp_path / "own", ["random", "majority"])
    run_baselines(tiny_city, tmp_path / "theirs", ["gps-oracle"])
    own, theirs, file = tmp_path / "own/results", tmp_path / "theirs/results", tmp_path / "a.ialpack"
    assert bench("results", "pack", "--results", theirs, "--out", file, "--contact", "lab@example.org").code == 0
    assert bench("results", "merge", file, "--dataset", tiny_city.folder, "--results", own).code == 0
    min(own.glob("*/random/*.predictions.parquet")).unlink()
    said = bench("leaderboard", "--results", own, "--format", "csv", "--columns", "origin,metrics")
    assert said.code == 0, said.err
    rows = {row["method"]: row["origin"] for row in csv.DictReader(io.StringIO(said.out))}
    assert rows == {"Most frequent address": "run here", "Random": "as told", "GPS oracle": "from a pack"}
    notes = bench("leaderboard", "--results", own, "--format", "md").out
    assert "verified when they were taken from a pack of lab@example.org: GPS oracle" in notes
    assert "taken as told, for their answers are not beside the records: Random" in notes
