"""The estimate of what is left of a plan."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from ial_bench.cli.time_left import TimeLeft
from ial_bench.engine.identity import RunSpec
from ial_bench.engine.plan import Planned
from ial_bench.engine.record import FeaturePhase, Phases, RunRecord, TimedPhase
from ial_bench.method import MethodConfig
from ial_bench.registry import Registry
from made_records import make_record

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
