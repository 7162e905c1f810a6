"""What a plan costs, before it and while it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from ial_bench import machine
from ial_bench.cli.costs import TimeLeft
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.identity import RunSpec
from ial_bench.engine.plan import Planned
from ial_bench.engine.record import FeaturePhase, Phases, RunRecord, TimedPhase
from ial_bench.method import MethodConfig
from ial_bench.progress import NoReport
from ial_bench.registry import Registry
from ial_bench.testing import CHECK_BACKBONE
from support.bench_command import Bench
from support.made_records import make_record

SILENT = """
from ial_bench import Method, MethodInfo


class Silent(Method):
    info = MethodInfo(name="silent", title="Silent", family="mine")

    def predict(self, images, k):
        raise NotImplementedError
"""


def files_below(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


def test_the_plan_and_its_sums_are_told_and_nothing_is_begun(bench: Bench, tiny_city: Dataset, tmp_path: Path) -> None:
    plugin = tmp_path / "silent.py"
    plugin.write_text(SILENT)
    cache = tmp_path / "cache"
    arguments = (
        "run", "-d", str(tiny_city.folder), "-m", "retrieval,majority,silent", "--plugin", str(plugin), "--backbone",
        CHECK_BACKBONE, "--results", str(tmp_path / "r"), "--cache", str(cache), "--dry-run",
    )  # fmt: skip
    said = bench(*arguments)
    assert said.code == 0, said.err
    header, *rows = [line.split("\t") for line in said.out.splitlines()]
    assert header == ["method", "settings", "dataset", "seed", "state", "time", "peak memory", "disk", "from"]
    told = {row[0]: dict(zip(header, row, strict=True)) for row in rows if len(row) == len(header)}
    assert {name: row["state"] for name, row in told.items()} == dict.fromkeys(told, "to run")
    assert told["retrieval"]["from"].startswith("reference x ")
    assert told["silent"]["time"] == told["silent"]["peak memory"] == "unknown"
    sums = said.out.splitlines()[-3:]
    assert ", and 1 run of unknown time; the largest term: " in sums[0]
    assert sums[1].startswith("memory: ")
    assert sums[2].startswith("disk: ")
    assert not (tmp_path / "r").exists()
    assert {name.split("/")[0] for name in files_below(cache)} == {"encoders", "probe"}

    same = json.loads(bench(*arguments, "--json").out)
    runs = {run["method"]: run for run in same["runs"]}
    assert runs["silent"]["seconds"] is None
    assert same["total"]["unknown"] == [runs["silent"]["run_id"]]
    known = [run["seconds"] for run in same["runs"] if run["seconds"] is not None]
    assert same["total"]["seconds"] == pytest.approx(sum(known))
    assert runs["retrieval"]["seconds"] == pytest.approx(sum(t["seconds"] for t in runs["retrieval"]["terms"]))


def test_done_runs_cost_nothing_and_other_seeds_are_told_by_them_without_torch(
    bench: Bench, tiny_city: Dataset, tmp_path: Path
) -> None:
    homes = ("--results", str(tmp_path / "r"), "--cache", str(tmp_path / "c"))
    common = ("run", "-d", str(tiny_city.folder), "-m", "random,gps-oracle", *homes)
    assert bench(*common).code == 0
    before = files_below(tmp_path)
    command = [*common, "--seeds", "0", "1", "--dry-run", "--json"]
    code = (
        "import sys; from ial_bench.cli import main\nsys.argv = ['bench', *sys.argv[1:]]\n"
        "try:\n    main.main()\nfinally:\n    print('torch' in sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=True, env=os.environ
    )
    assert ran.stderr.splitlines()[-1] == "False"
    runs = json.loads(ran.stdout)["runs"]
    assert [(r["method"], r["seed"], r["state"]) for r in runs] == [
        ("random", 0, "done"), ("random", 1, "run"), ("gps-oracle", 0, "done"),
    ]  # fmt: skip
    assert [r["from"] for r in runs] == ["", "a run of it here", ""]
    assert runs[0]["seconds"] == runs[2]["seconds"] == 0
    assert files_below(tmp_path) == before


def test_a_run_that_was_interrupted_resumes(bench: Bench, tiny_city: Dataset, tmp_path: Path) -> None:
    common = ("run", "-d", str(tiny_city.folder), "-m", "majority", "--cache", str(tmp_path / "c"), "--dry-run")
    (run,) = json.loads(bench(*common, "--json").out)["runs"]
    assert not run["resumes"]
    work = tmp_path / "c" / "runs" / run["run_id"]
    work.mkdir(parents=True)
    (work / "answers-000000000-000001024.npz").write_bytes(b"")
    assert "\tresumes\t" in bench(*common).out


def test_what_would_not_fit_is_said_and_what_cannot_is_refused(
    bench: Bench, tiny_city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = (
        "run", "-d", str(tiny_city.folder), "-m", "retrieval", "--no-timing", "--backbone", CHECK_BACKBONE, "--results",
        str(tmp_path / "r"), "--cache", str(tmp_path / "c"),
    )  # fmt: skip
    card = FeatureStore(tmp_path / "c", "cpu", 32, 0, NoReport()).card(CHECK_BACKBONE)
    features = 4 * card.dim * len(tiny_city)
    monkeypatch.setattr(machine, "free_memory", lambda: 10**6)
    monkeypatch.setattr(machine, "free_disk", lambda _: features - 1)
    dry = bench(*common, "--dry-run")
    assert dry.code == 0
    short = [line for line in dry.out.splitlines() if line.startswith("NOT ENOUGH ")]
    assert [line.split(":")[0] for line in short] == ["NOT ENOUGH memory", "NOT ENOUGH disk"]
    refused = bench(*common)
    assert refused.code == 1
    assert "cannot hold what this plan encodes" in refused.err
    assert "--cache" in refused.err
    assert not (tmp_path / "r").exists()
    monkeypatch.setattr(machine, "free_disk", lambda _: features)
    ran = bench(*common)
    assert ran.code == 0, ran.err
    assert "note: perhaps not enough memory: retrieval on tiny-city takes about " in ran.err
    assert "note: perhaps not enough disk: " in ran.err


HERE = make_record().provenance.hardware_digest


def planned(method: str, seed: int = 0, state: Any = "run", digest: str = "d" * 64) -> Planned:
    made = make_record(method)
    spec = RunSpec(method, "1", {}, None, digest, made.dataset.candidate_digest, None, seed, 10)
    return Planned(spec, Registry().get("majority"), MethodConfig(), "a test", None, None, state)


def ended(method: str, seconds: int, **facts: Any) -> RunRecord:
    record = make_record(method, **facts)
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    times = {"started": start.isoformat(), "finished": (start + timedelta(seconds=seconds)).isoformat()}
    return record.model_copy(update={"provenance": record.provenance.model_copy(update=times)})


def test_where_nothing_is_known_runs_are_counted() -> None:
    todo = [planned(m) for m in "abc"]
    left = TimeLeft(todo, [], HERE)
    assert left.ended(todo[0].spec, make_record("a", status="failed", reason="x")) == "2 runs left"
    assert left.ended(todo[1].spec, make_record("b", status="failed", reason="x")) == ""  # one is left


def test_other_seeds_of_a_method_tell_its_time() -> None:
    todo = [planned("a", seed) for seed in range(4)]
    left = TimeLeft(todo, [], HERE)
    assert left.ended(todo[0].spec, ended("a", 100)) == "3 runs left, about 5 min"
    assert left.ended(todo[1].spec, ended("a", 10)) == "2 runs left, about 2 min"  # twice the mean of 55 s


def test_of_methods_never_timed_nothing_is_guessed() -> None:
    todo = [planned("a"), planned("a", 1), planned("b"), planned("c")]
    said = TimeLeft(todo, [], HERE).ended(todo[0].spec, ended("a", 10))
    assert said == "3 runs left, 1 of them about 10 s; the rest was never timed here"


def test_earlier_records_tell_where_they_are_of_the_same() -> None:
    todo = [planned(m) for m in "abc"]
    earlier = [ended("b", 3600, seed=5), ended("c", 7200)]
    assert TimeLeft(todo, earlier, HERE).ended(todo[0].spec, ended("a", 1)) == "2 runs left, about 3.0 h"
    others: list[list[RunRecord]] = [
        [ended(m, 3600, **facts) for m in "bc"]
        for facts in (
            {"config": {"x": 1}}, {"version": "2"}, {"limit": 5}, {"dataset_digest": "e" * 64}, {"k": 20},
            {"hardware": "another machine"}, {"status": "failed"},
        )
    ]  # fmt: skip
    for records in others:
        assert TimeLeft(todo, records, HERE).ended(todo[0].spec, ended("a", 1)) == "2 runs left"


def test_runs_that_are_done_or_skipped_are_not_ahead() -> None:
    todo = [planned("a"), planned("b", state="done"), planned("c", state="skip"), planned("d")]
    assert TimeLeft(todo, [], HERE).ended(todo[0].spec, ended("a", 9)) == ""


@pytest.mark.parametrize(("cached", "text"), [(False, "80 s"), (True, "3 min")])
def test_encoding_is_left_out_and_what_a_resumed_run_took_over_counts(cached: bool, text: str) -> None:
    todo = [planned("a", seed) for seed in range(3)]
    features = FeaturePhase(seconds=80.0, images=1, cached=cached)
    phases = Phases(features=features, fit=TimedPhase(seconds=30.0), index=TimedPhase(seconds=10.0))
    record = ended("a", 100).model_copy(update={"phases": phases})
    assert TimeLeft(todo, [], HERE).ended(todo[0].spec, record) == f"2 runs left, about {text}"
