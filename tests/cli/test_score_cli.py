"""`bench score` on stored runs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ial_bench.cli.main import main
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.record import RunRecord
from ial_bench.engine.records import read_record, records, write_record
from ial_bench.testing import make_tiny_city
from support.made_records import run_baselines


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Bench = Callable[..., Outcome]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    """The command line, in this process."""

    def run(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="module")
def runs(tiny_city: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of three methods on the tiny city; read only."""
    folder = tmp_path_factory.mktemp("runs")
    assert [r.status for r in run_baselines(tiny_city, folder, seeds=(0, 1))] == ["done"] * 4
    return folder / "results"


@pytest.fixture
def results(runs: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(runs, tmp_path / "results"))


def stored(results: Path) -> dict[Path, RunRecord]:
    found = {}
    for path, record in records(results):
        assert isinstance(record, RunRecord)
        found[path] = record
    return found


def one(results: Path, method: str) -> Path:
    return next((results / "tiny-city" / method).glob("*.json"))


def without_metrics(results: Path) -> None:
    for path, record in stored(results).items():
        write_record(path, record.model_copy(update={"metrics": None}))


# --------------------------------------------------------------------------------------------------- bench score


def test_score_gives_the_metrics_of_the_run(bench: Bench, results: Path, tiny_city: Dataset) -> None:
    before = stored(results)
    without_metrics(results)
    assert all(r.metrics is None for r in stored(results).values())
    outcome = bench("score", "--dataset", tiny_city.folder, "--results", results)
    assert (outcome.code, outcome.err) == (0, "")
    assert stored(results) == before


def test_score_imports_no_torch(results: Path, tiny_city: Dataset) -> None:
    before = stored(results)
    without_metrics(results)
    code = (
        "import sys\n"
        "from ial_bench.cli.main import main\n"
        "try:\n    main()\n"
        "finally:\n    print(sorted({'torch', 'open_clip', 'timm', 'torchvision'} & set(sys.modules)))\n"
    )
    for arguments in (["score", "-d", str(tiny_city.folder)], ["leaderboard", "-d", "tiny-city", "-f", "md"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments, "--results", str(results)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[-1] == "[]"
        assert len(done.stdout.splitlines()) > 4
    assert stored(results) == before


def test_score_prints_a_line_a_run(bench: Bench, results: Path, tiny_city: Dataset) -> None:
    outcome = bench("score", "-d", tiny_city.folder, "--results", results, "--ks", "2,1")
    header, *rows = (text.split("\t") for text in outcome.out.splitlines())
    assert header == ["method", "seed", "SSA-1", "SSA-2", "SA-1", "SA-2", "MRR"]
    records_now = sorted(stored(results).values(), key=lambda r: (r.method.name, r.run_id))
    expected = []
    for r in records_now:
        assert r.metrics is not None
        numbers = [f"{100 * r.metrics.accuracy[m].value:.2f}" for m in header[2:]]
        expected.append([r.method.name, str(r.seed), *numbers])
    assert rows == expected
    assert {tuple(r[:2]) for r in rows} == {("gps-oracle", "0"), ("majority", "0"), ("random", "0"), ("random", "1")}


def test_score_of_other_ks_is_stored_beside_ssa_1(bench: Bench, results: Path, tiny_city: Dataset) -> None:
    assert bench("score", "-d", tiny_city.folder, "--results", results, "--ks", "3").code == 0
    for record in stored(results).values():
        assert record.metrics is not None
        assert [n for n in record.metrics.accuracy if n.startswith("SSA")] == ["SSA-1", "SSA-3"]


def test_score_of_chosen_methods_leaves_the_others_alone(bench: Bench, results: Path, tiny_city: Dataset) -> None:
    without_metrics(results)
    outcome = bench("score", "-d", tiny_city.folder, "--results", results, "--methods", "majority, gps-oracle")
    assert outcome.code == 0
    scored = {r.method.name for r in stored(results).values() if r.metrics is not None}
    assert scored == {"majority", "gps-oracle"}


def test_score_prints_json_for_programs(bench: Bench, results: Path, tiny_city: Dataset) -> None:
    outcome = bench("score", "-d", tiny_city.folder, "--results", results, "--json", "-m", "majority")
    (record,) = json.loads(outcome.out)
    assert RunRecord.model_validate(record) == read_record(one(results, "majority"))


def test_a_limited_run_is_scored_on_its_own_queries(bench: Bench, tmp_path: Path, tiny_city: Dataset) -> None:
    (before,) = run_baselines(tiny_city, tmp_path, ["gps-oracle"], limit=5)
    assert before.dataset.n_queries == 5
    without_metrics(tmp_path / "results")
    assert bench("score", "-d", tiny_city.folder, "--results", tmp_path / "results").code == 0
    assert list(stored(tmp_path / "results").values()) == [before]


def test_changed_predictions_are_refused_and_the_rest_is_scored(
    bench: Bench, results: Path, tiny_city: Dataset
) -> None:
    without_metrics(results)
    path = one(results, "majority")
    predictions = path.with_suffix(".predictions.parquet")
    whole = bytearray(predictions.read_bytes())
    whole[100] ^= 1
    predictions.write_bytes(whole)
    outcome = bench("score", "-d", tiny_city.folder, "--results", results)
    assert outcome.code == 1
    assert f"{predictions} was changed since it was written" in outcome.err
    assert read_record(path).metrics is None
    assert sum(r.metrics is not None for r in stored(results).values()) == 3


def test_missing_predictions_are_refused(bench: Bench, results: Path, tiny_city: Dataset) -> None:
    predictions = one(results, "majority").with_suffix(".predictions.parquet")
    predictions.unlink()
    outcome = bench("score", "-d", tiny_city.folder, "--results", results)
    assert outcome.code == 1
    assert f"no such predictions: {predictions}" in outcome.err


def test_another_version_of_the_dataset_is_refused(bench: Bench, results: Path, tmp_path: Path) -> None:
    before = stored(results)
    other = make_tiny_city(tmp_path / "other", query_label_shift=1)
    outcome = bench("score", "-d", other.folder, "--results", results)
    assert outcome.code == 1
    assert outcome.err.count("was made on another version of dataset 'tiny-city'") == 4
    assert stored(results) == before


def test_another_version_of_the_protocol_is_refused(bench: Bench, results: Path, tiny_city: Dataset) -> None:
    path = one(results, "majority")
    write_record(path, read_record(path).model_copy(update={"protocol_version": 0}))
    outcome = bench("score", "-d", tiny_city.folder, "--results", results)
    assert outcome.code == 1
    assert f"{path} was made under protocol version 0" in outcome.err


def test_a_k_larger_than_what_is_stored_is_refused(bench: Bench, tmp_path: Path, tiny_city: Dataset) -> None:
    results = tmp_path / "results"
    (before,) = run_baselines(tiny_city, tmp_path, ["majority"], k=3)
    assert before.metrics is not None
    assert "SSA-5" not in before.metrics.accuracy
    outcome = bench("score", "-d", tiny_city.folder, "--results", results, "--ks", "1,4")
    assert outcome.code == 1
    assert "stores the first 3 candidates, too few for k = 4" in outcome.err
    assert "--k 4" in outcome.err
    assert bench("score", "-d", tiny_city.folder, "--results", results, "--ks", "1,3").code == 0
    assert bench("score", "-d", tiny_city.folder, "--results", results).code == 0
    assert list(stored(results).values()) == [before]


def test_a_k_larger_than_the_candidate_set_is_no_problem(bench: Bench, results: Path, tiny_city: Dataset) -> None:
    assert bench("score", "-d", tiny_city.folder, "--results", results, "--ks", "50").code == 0
    metrics = read_record(one(results, "random")).metrics
    assert metrics is not None
    assert metrics.accuracy["SSA-50"].value == 1.0


def test_a_cut_off_record_is_named_and_the_rest_is_scored(bench: Bench, results: Path, tiny_city: Dataset) -> None:
    path = one(results, "majority")
    path.write_bytes(path.read_bytes()[:200])
    outcome = bench("score", "-d", tiny_city.folder, "--results", results)
    assert outcome.code == 1
    assert f"{path} is not valid JSON" in outcome.err
    assert len(outcome.out.splitlines()) == 1 + 3


@pytest.mark.parametrize("ks", ["", "a", "1,,2", "0", "-1", "1.5"])
def test_ks_that_are_none_are_a_usage_error(bench: Bench, results: Path, tiny_city: Dataset, ks: str) -> None:
    outcome = bench("score", "-d", tiny_city.folder, "--results", results, "--ks", ks)
    assert outcome.code == 2
    assert f"--ks {ks!r}" in outcome.err
    assert outcome.out == ""


def test_an_unknown_method_is_a_usage_error_with_a_suggestion(bench: Bench, results: Path, tiny_city: Dataset) -> None:
    outcome = bench("score", "-d", tiny_city.folder, "--results", results, "-m", "majorty")
    assert outcome.code == 2
    assert "did you mean 'majority'?" in outcome.err


def test_no_finished_runs_are_an_error(bench: Bench, tmp_path: Path, tiny_city: Dataset) -> None:
    outcome = bench("score", "-d", tiny_city.folder, "--results", tmp_path)
    assert outcome.code == 1
    assert "no finished runs on 'tiny-city'" in outcome.err


def test_an_unknown_dataset_is_a_usage_error(bench: Bench, results: Path) -> None:
    outcome = bench("score", "-d", "pitts-ail", "--results", results)
    assert outcome.code == 2
    assert "did you mean 'pitts-ial'?" in outcome.err


def test_check_finds_nothing_in_what_runs_wrote_and_writes_nothing(
    bench: Bench, results: Path, tiny_city: Dataset
) -> None:
    before = {p: p.read_bytes() for p in results.rglob("*") if p.is_file()}
    said = bench("score", "--dataset", tiny_city.folder, "--results", results, "--check")
    assert (said.code, said.err) == (0, "")
    assert {p: p.read_bytes() for p in results.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda r: r["metrics"]["accuracy"]["SSA-1"].update(value=0.991),
            "SSA-1.value is 0.991 in the record",
        ),
        (lambda r: r["metrics"]["accuracy"]["MRR"].update(ci95=[0.01, 1.0]), "accuracy.MRR.ci95.low is 0.01"),
        (lambda r: r["metrics"]["distance_m"].update(median=25.0), "distance_m.median is 25 in the record"),
        (
            lambda r: r["metrics"]["accuracy"].update({"SSA-7": {"value": 1.0, "ci95": None}}),
            "SSA-7.ci95.low is no",
        ),
        (lambda r: r["metrics"]["accuracy"].pop("SA-1"), "accuracy.SA-1.value is nothing in the record and"),
        (lambda r: r["dataset"].update(n_queries=5), "n_queries is 5 in the record"),
        (lambda r: r["dataset"].update(candidate_digest="0" * 64), "is the record of another run"),
    ],
)
def test_check_names_what_a_record_tells_otherwise(
    bench: Bench, results: Path, tiny_city: Dataset, change: Callable[[Any], object], says: str
) -> None:
    path = min((results / tiny_city.name).glob("*/*.json"))
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    said = bench("score", "--dataset", tiny_city.folder, "--results", results, "--check")
    assert said.code == 1
    assert says in said.err
    assert str(path) in said.err
    assert json.loads(path.read_text()) == record


def test_check_takes_no_ks(bench: Bench, results: Path, tiny_city: Dataset) -> None:
    said = bench("score", "--dataset", tiny_city.folder, "--results", results, "--check", "--ks", "1")
    assert said.code == 2
    assert "--check" in said.err
