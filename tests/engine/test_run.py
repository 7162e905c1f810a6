"""Planning and running: identities, resumption, failures, skips, and the protocol's checks."""

from __future__ import annotations

import errno
import gc
import json
import os
import platform
import subprocess
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import numpy as np
import pytest

from ial_bench import ImageBatch, Method, MethodInfo, Photos, SkipMethod, TopK
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine import provenance
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.identity import RunSpec
from ial_bench.engine.plan import ConfiguredMethod, EngineOptions, Planned, plan
from ial_bench.engine.predictions import read_predictions
from ial_bench.engine.record import SCHEMA_FILE, RunRecord
from ial_bench.engine.records import read_record, record_path
from ial_bench.engine.run import Engine
from ial_bench.errors import StorageError
from ial_bench.progress import NoReport
from ial_bench.registry import Registry
from ial_bench.settings import config_from_text
from ial_bench.testing import CHECK_BACKBONE, make_tiny_city

BUILT_IN = ("clip-zero-shot", "gps-oracle", "linear-probe", "majority", "random", "retrieval")


class Bench:
    """An engine in a folder of its own."""

    def __init__(self, data: Dataset, folder: Path, **changes: Any) -> None:
        options = EngineOptions(folder / "results", folder / "cache", batch_size=8, timing=False)
        self.options = replace(options, **changes)
        self.data = data
        report = NoReport()
        self.report = report
        self.store = FeatureStore(self.options.cache, "cpu", self.options.batch_size, 0, report)
        self.engine = Engine(data, self.options, self.store, report)

    def plan(self, methods: Sequence[type[Method]], seeds: Sequence[int] = (0,), **settings: str) -> list[Planned]:
        choices = []
        for method in methods:
            own = dict(settings)
            if "backbone" in method.Config.model_fields:
                own.setdefault("backbone", CHECK_BACKBONE)
            if method.info.name == "linear-probe" and not self.options.timing:
                own.setdefault("c", "1.0")  # the search for C has a test of its own
            choices.append(ConfiguredMethod(method, config_from_text(method, own), "tests"))
        return plan(self.data, choices, seeds, self.options, self.store, self.report)

    def run(self, methods: Sequence[type[Method]], seeds: Sequence[int] = (0,), **settings: str) -> list[RunRecord]:
        planned = self.plan(methods, seeds, **settings)
        return [self.engine.execute(p) if p.done is None else self.engine.adopt(p) for p in planned]

    def answers(self, record: RunRecord) -> TopK:
        path = record_path(self.options.results, self.data.name, record.method.name, record.run_id)
        assert record.predictions is not None
        return read_predictions(path.parent / record.predictions.path)[1]

    def prediction_bytes(self) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in self.options.results.rglob("*.predictions.parquet")}


def built_in(*names: str) -> list[type[Method]]:
    registry = Registry()
    return [registry.get(n) for n in names]


class Awkward(Method):
    """Answers whatever it is told to, for trying the engine's checks."""

    info = MethodInfo(name="awkward", title="Awkward", family="test")
    answer: ClassVar[Any] = None

    def predict(self, images: ImageBatch, k: int) -> TopK:
        return type(self).answer(images, k)  # type: ignore[no-any-return]


def test_all_built_in_methods_run_and_are_not_run_again(tiny_city: Dataset, tmp_path: Path) -> None:
    bench = Bench(tiny_city, tmp_path, timing=True)
    records = bench.run(built_in(*BUILT_IN))
    assert [r.status for r in records] == ["done"] * len(BUILT_IN), [r.reason for r in records]
    schema = json.loads(SCHEMA_FILE.read_text())
    for record in records:
        path = record_path(bench.options.results, tiny_city.name, record.method.name, record.run_id)
        jsonschema.validate(json.loads(path.read_text()), schema)
        assert read_record(path) == record
        assert record.phases is not None
        assert record.phases.query is not None
        assert record.phases.query.n >= 200
        assert record.phases.query.warmup >= 20
        assert record.phases.query.p50_ms <= record.phases.query.p95_ms <= record.phases.query.p99_ms
    again = Bench(tiny_city, tmp_path, timing=True)
    assert [p.state for p in again.plan(built_in(*BUILT_IN))] == ["done"] * len(BUILT_IN)


def test_methods_that_look_beat_those_that_do_not(tiny_city: Dataset, tmp_path: Path) -> None:
    """The drawn city's addresses differ in colour alone: even untrained features tell them apart."""
    found = {
        r.method.name: r.metrics.accuracy["SSA-1"].value
        for r in Bench(tiny_city, tmp_path).run(built_in("linear-probe", "retrieval", "majority", "random"))
        if r.metrics
    }
    assert min(found["linear-probe"], found["retrieval"]) > 0.8
    assert found["majority"] == pytest.approx(1 / 6)


def test_a_second_engine_gives_the_same_bytes(tiny_city: Dataset, tmp_path: Path) -> None:
    first, second = Bench(tiny_city, tmp_path / "a"), Bench(tiny_city, tmp_path / "b")
    first.run(built_in(*BUILT_IN), seeds=(0, 1))
    second.run(built_in(*BUILT_IN), seeds=(0, 1))
    assert first.prediction_bytes() == second.prediction_bytes()
    assert len(first.prediction_bytes()) == len(BUILT_IN) + 1  # only `random` has a second seed


def test_rerun_runs_again_and_agrees(tiny_city: Dataset, tmp_path: Path) -> None:
    bench = Bench(tiny_city, tmp_path)
    bench.run(built_in("retrieval"))
    before = bench.prediction_bytes()
    again = Bench(tiny_city, tmp_path, rerun=True)
    (planned,) = again.plan(built_in("retrieval"))
    assert planned.state == "run"
    again.engine.execute(planned)
    assert again.prediction_bytes() == before


SPEC = RunSpec("m", "1", {"a": 1}, "w", "d", "c", None, 0, 10)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "n"},
        {"version": "2"},
        {"config": {"a": 2}},
        {"weights_digest": "x"},
        {"dataset_digest": "x"},
        {"candidate_digest": "x"},
        {"limit": 5},
        {"seed": 1},
        {"k": 5},
        {"dtype": "float16"},
        {"splits": ("train",)},
        {"protocol_version": 2},
        {"encoder_digest": "x"},
        {"streets_digest": "s"},
        {"source_digest": "s"},
        {"contents_digest": "s"},
    ],
)
def test_whatever_can_change_a_result_changes_its_identity(change: dict[str, Any]) -> None:
    assert replace(SPEC, **change).run_id != SPEC.run_id
    assert replace(SPEC).run_id == SPEC.run_id
    assert SPEC.run_id == "9f632155abcc45a8"  # what is not there leaves identities as they are


def test_an_encoder_is_part_of_it_by_its_digest_alone() -> None:
    encoded = replace(SPEC, encoder_digest="e", config={"a": 1, "backbone": "openclip:M/w.pt"})
    renamed = replace(encoded, weights_digest="v", config={"a": 1, "backbone": "openclip:N/v.pt"})
    assert renamed.run_id == encoded.run_id
    assert replace(encoded, encoder_digest="f").run_id != encoded.run_id
    assert replace(encoded, config={"a": 2, "backbone": "openclip:M/w.pt"}).run_id != encoded.run_id
    assert replace(encoded, known_as="an earlier id").run_id == "an earlier id"


FIRST_IDS: dict[str, tuple[str, str | None, str | None, dict[str, Any]]] = {
    "retrieval": (
        "2549f556459f2dba",
        "29df9d9a3df09304a0286b1852390f691a5b55a4f910d854674d56470e90924b",
        "5531077a22e49b4634e59811ff66f4e5f8991afd590d0ab29043f718e31f62ee",
        {
            "backbone": "openclip:tiny-street/synth", "k_grid": [1, 2, 5, 10, 20, 50, 100, 200],
            "temperature_grid": [0.01, 0.02, 0.05, 0.1, 0.2], "index": "flat", "nprobe": 16, "ef_search": 64,
            "whiten": None, "rerank": "vote", "top_m": 3,
        },
    ),
    "gps-oracle": (
        "a0d891b03000843a", None, None,
        {
            "stage2": "nearest", "radius_m": 50.0, "street_match": 0.9, "geocoder_domain": None,
            "geocoder_scheme": "https", "geocoder_user_agent": "ial-bench", "geocoder_language": None,
            "geocoder_timeout_s": 10.0, "geocoder_interval_s": 1.0, "geocoder_retries": 4, "geocoder_backoff_s": 1.0,
        },
    ),
}  # fmt: skip
"""Ids under which records of schema version 1 were stored, with what is known of weights, encoder and settings."""


@pytest.mark.parametrize("method", FIRST_IDS)
def test_ids_of_schema_version_1_stay(method: str) -> None:
    run_id, weights, encoder, config = FIRST_IDS[method]
    spec = RunSpec(
        method, "1", config, weights, "d9f805cbf8d93992ad0e51334e555a2abb6804d64aa76bbf0d870bf792c09cff",
        "62a347e8621b4e5d37963cdee7c33828f0f59dc169387bd44f9437e10d0f18c2", None, 0, 10, encoder_digest=encoder,
    )  # fmt: skip
    assert spec.first_id == run_id
    assert (spec.run_id == run_id) == (encoder is None)  # encoders came into ids later


def of_an_earlier_protocol(bench: Bench, record: RunRecord) -> Path:
    """Write what version 1 of the protocol would have left: other intervals, none of the median."""
    path = record_path(bench.options.results, bench.data.name, record.method.name, record.run_id)
    data = json.loads(path.read_text())
    data |= {"schema_version": 2, "protocol_version": 1}
    del data["metrics"]["distance_m"]["median_ci95"]
    data["metrics"]["accuracy"]["SSA-1"]["ci95"] = [0.0, 1.0]
    path.write_text(json.dumps(data))
    return path


def test_a_run_of_an_earlier_protocol_is_scored_again_and_not_made_again(tiny_city: Dataset, tmp_path: Path) -> None:
    bench = Bench(tiny_city, tmp_path)
    (first,) = bench.run(built_in("majority"))
    of_an_earlier_protocol(bench, first)
    answers = bench.prediction_bytes()
    assert bench.run(built_in("majority")) == [first]
    assert bench.prediction_bytes() == answers


def test_changed_answers_are_made_again_and_not_scored(tiny_city: Dataset, tmp_path: Path) -> None:
    bench = Bench(tiny_city, tmp_path)
    (first,) = bench.run(built_in("majority"))
    answers = bench.prediction_bytes()
    path = of_an_earlier_protocol(bench, first)
    with path.with_suffix(".predictions.parquet").open("ab") as file:
        file.write(b" ")
    (planned,) = bench.plan(built_in("majority"))
    assert planned.state == "run"
    assert bench.engine.execute(planned).metrics == first.metrics
    assert bench.prediction_bytes() == answers


def test_batch_size_and_workers_do_not_change_the_identity(tiny_city: Dataset, tmp_path: Path) -> None:
    ids = {
        Bench(tiny_city, tmp_path, batch_size=size, workers=size).plan(built_in("majority"))[0].spec.run_id
        for size in (1, 16)
    }
    assert len(ids) == 1


def test_a_limited_run_never_passes_for_a_whole_one(tiny_city: Dataset, tmp_path: Path) -> None:
    (limited,) = Bench(tiny_city, tmp_path, limit=6).run(built_in("majority"))
    assert limited.dataset.n_queries == 6
    assert limited.dataset.n_candidates == 6
    (planned,) = Bench(tiny_city, tmp_path).plan(built_in("majority"))
    assert planned.state == "run"
    assert planned.spec.run_id != limited.run_id


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda images, k: TopK.from_scores(np.zeros((len(images), 3)), k), "scores of shape|indices of shape"),
        (lambda images, k: TopK(_first(images, k) + 3, _flat(images, k)), "outside 0..5"),
        (lambda images, k: TopK(np.zeros((len(images), k), np.int32), _flat(images, k)), "twice"),
        (lambda images, k: TopK(_first(images, k), _flat(images, k) + np.nan), "NaN"),
        (lambda images, k: TopK(_first(images, k), _flat(images, k) + np.arange(k)), "rise"),
        (lambda images, k: TopK(_first(images, k)[:, ::-1], _flat(images, k)), "ordered by candidate index"),
        (lambda images, k: TopK(_first(images, k), _flat(images, k), np.full((len(images), 2), 500.0)), "latitude"),
        (lambda images, k: 1 / 0, "ZeroDivisionError"),
        (lambda images, k: images.positions, "oracles"),
    ],
)  # fmt: skip
def test_wrong_answers_fail_the_run_and_name_it(
    tiny_city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any, words: str
) -> None:
    monkeypatch.setattr(Awkward, "answer", answer)
    awkward, majority = Bench(tiny_city, tmp_path, k=6).run([Awkward, *built_in("majority")])
    assert awkward.status == "failed"
    assert awkward.reason is not None
    assert awkward.traceback is not None
    assert any(w in awkward.reason for w in words.split("|"))
    assert awkward.metrics is None
    assert majority.status == "done"  # the other methods go on


def _flat(images: ImageBatch, k: int) -> Any:
    return np.zeros((len(images), k), np.float32)


def _first(images: ImageBatch, k: int) -> Any:
    return np.tile(np.arange(k, dtype=np.int32), (len(images), 1))


def test_a_failed_run_is_tried_again(tiny_city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Awkward, "answer", lambda images, k: 1 / 0)
    bench = Bench(tiny_city, tmp_path)
    assert bench.run([Awkward])[0].status == "failed"
    monkeypatch.setattr(Awkward, "answer", lambda images, k: TopK.from_scores(np.zeros((len(images), 6)), k))
    assert bench.run([Awkward])[0].status == "done"


@pytest.mark.parametrize("how", [lambda images, k: 1 / 0, lambda images, k: _skip()])
def test_a_finished_run_is_replaced_by_a_finished_one_alone(
    tiny_city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: Any
) -> None:
    monkeypatch.setattr(Awkward, "answer", lambda images, k: TopK.from_scores(np.zeros((len(images), 6)), k))
    bench = Bench(tiny_city, tmp_path)
    (done,) = bench.run([Awkward])
    kept = {p: p.read_bytes() for p in bench.options.results.rglob("*") if p.is_file()}
    monkeypatch.setattr(Awkward, "answer", how)
    again = Bench(tiny_city, tmp_path, rerun=True)
    (failed,) = again.run([Awkward])
    assert failed.status in {"failed", "skipped"}  # which the command tells, and ends with 1
    assert {p: p.read_bytes() for p in bench.options.results.rglob("*") if p.is_file()} == kept
    (planned,) = bench.plan([Awkward])
    assert planned.done == done


def _skip() -> Any:
    raise SkipMethod("not here")


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_an_error_of_the_disk_is_no_failure_of_the_method(
    tiny_city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def answer(images: ImageBatch, k: int) -> TopK:
        try:
            raise OSError(number, os.strerror(number))
        except OSError as error:
            raise RuntimeError("cannot read my index") from error

    monkeypatch.setattr(Awkward, "answer", answer)
    bench = Bench(tiny_city, tmp_path)
    with pytest.raises(StorageError, match=os.strerror(number)):
        bench.run([Awkward])
    assert list(bench.options.results.rglob("*.json")) == []
    monkeypatch.setattr(Awkward, "answer", lambda images, k: TopK.from_scores(np.zeros((len(images), 6)), k))
    assert bench.run([Awkward])[0].status == "done"


def test_what_a_killed_run_left_behind_its_record_is_tidied(tiny_city: Dataset, tmp_path: Path) -> None:
    """A kill between the record and the move of the fitted method, or in the midst of removing the run's folder."""
    bench = Bench(tiny_city, tmp_path)
    (record,) = bench.run(built_in("majority"))
    model = bench.options.cache / "models" / record.run_id
    state = bench.options.cache / "runs" / record.run_id / "state"
    state.parent.mkdir()
    fitted = {p.name: p.read_bytes() for p in model.iterdir()}
    model.rename(state)
    (state.parent / "answers-000000000-000000024.npz").write_bytes(b"left")
    half = bench.options.results / tiny_city.name / "majority" / f".{record.run_id}.json.writing.tmp"
    half.write_text("half")
    again = Bench(tiny_city, tmp_path)
    (planned,) = again.plan(built_in("majority"))
    assert again.engine.adopt(planned) == record
    assert not state.parent.exists()
    assert not half.exists()
    assert {p.name: p.read_bytes() for p in model.iterdir()} == fitted


def test_facts_that_are_no_json_fail_the_run_alone(tiny_city: Dataset, tmp_path: Path) -> None:
    class Told(built_in("majority")[0]):  # type: ignore[misc]
        info = MethodInfo(name="told", title="Told", family="test")

        def index(self, candidates: Any) -> None:
            super().index(candidates)
            self.facts |= {"lr": np.float32(1.0), "loss": 0.5}

    told, majority = Bench(tiny_city, tmp_path).run([Told, *built_in("majority")])
    assert told.status == "failed"
    assert "not JSON" in str(told.reason)
    assert majority.status == "done"


def test_nothing_of_a_run_is_held_when_it_is_over(tiny_city: Dataset, tmp_path: Path) -> None:
    """Methods and what trains them hold each other; the next one needs their memory."""
    seen: list[weakref.ref[Method]] = []

    class Circle(built_in("majority")[0]):  # type: ignore[misc]
        info = MethodInfo(name="circle", title="Circle", family="test")

        def prepare(self) -> None:
            self.task = [self]
            seen.append(weakref.ref(self))

    gc.disable()
    try:
        (record,) = Bench(tiny_city, tmp_path).run([Circle])
    finally:
        gc.enable()
    assert record.status == "done"
    assert [held() for held in seen] == [None]


def test_a_method_that_cannot_run_is_skipped_with_its_reason(tiny_city: Dataset, tmp_path: Path) -> None:
    class Skips(Awkward):
        def prepare(self) -> None:
            raise SkipMethod("needs a dataset with captions")

    (record,) = Bench(tiny_city, tmp_path).run([Skips])
    assert (record.status, record.reason) == ("skipped", "needs a dataset with captions")
    assert record.metrics is None


def test_missing_weights_are_a_skip_and_never_a_number(tiny_city: Dataset, tmp_path: Path) -> None:
    (record,) = Bench(tiny_city, tmp_path).run(built_in("linear-probe"), backbone="openclip:ViT-B-16/openai")
    assert record.status == "skipped"
    assert record.reason is not None
    assert "weights of openclip:ViT-B-16/openai are not on this machine" in record.reason
    assert record.metrics is None


def test_a_resumed_run_takes_over_what_was_finished(
    tiny_city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {"fit": 0, "predict": 0}

    class Counts(built_in("majority")[0]):  # type: ignore[misc]
        info = MethodInfo(name="counts", title="Counts", family="test")
        broken = True

        def fit(self, train: Photos, val: Photos) -> None:
            calls["fit"] += 1
            super().fit(train, val)

        def predict(self, images: ImageBatch, k: int) -> TopK:
            calls["predict"] += 1
            if self.broken and calls["predict"] == 3:
                raise KeyboardInterrupt
            return super().predict(images, k)  # type: ignore[no-any-return]

    monkeypatch.setattr("ial_bench.engine.run.ANSWER_ROWS", 4)
    bench = Bench(tiny_city, tmp_path)  # 24 queries: 6 chunks
    (planned,) = bench.plan([Counts])
    with pytest.raises(KeyboardInterrupt):
        bench.engine.execute(planned)
    monkeypatch.setattr(Counts, "broken", False)
    resumed = bench.engine.execute(planned)
    assert resumed.status == "done"
    assert calls == {"fit": 1, "predict": 3 + 4}  # the fit and two chunks were kept
    monkeypatch.setattr("ial_bench.engine.run.ANSWER_ROWS", 100)
    whole = Bench(tiny_city, tmp_path / "whole")
    (straight,) = whole.run([Counts])
    assert straight.run_id == resumed.run_id
    assert whole.prediction_bytes() == bench.prediction_bytes()


def test_a_cut_off_chunk_is_answered_again(tiny_city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ial_bench.engine.run.ANSWER_ROWS", 4)

    class Stops(built_in("majority")[0]):  # type: ignore[misc]
        def predict(self, images: ImageBatch, k: int) -> TopK:
            if images.keys[0] == tiny_city.split("query").keys()[8]:
                raise KeyboardInterrupt
            return super().predict(images, k)  # type: ignore[no-any-return]

    bench = Bench(tiny_city, tmp_path)
    (planned,) = bench.plan([Stops])
    with pytest.raises(KeyboardInterrupt):
        bench.engine.execute(planned)
    chunks = sorted(tmp_path.glob("cache/runs/*/answers-*.npz"))
    assert len(chunks) == 2
    chunks[0].write_bytes(chunks[0].read_bytes()[:50])
    (record,) = bench.run(built_in("majority"))
    reference = Bench(tiny_city, tmp_path / "reference").run(built_in("majority"))
    assert record.run_id == reference[0].run_id
    assert bench.prediction_bytes() == Bench(tiny_city, tmp_path / "reference").prediction_bytes()


def test_no_queries_is_a_run_without_metrics(tmp_path: Path) -> None:
    city = make_tiny_city(tmp_path / "city", query_places=0)
    records = Bench(city, tmp_path, timing=True).run(built_in("majority", "random", "linear-probe"))
    assert [(r.status, r.metrics) for r in records] == [("done", None)] * 3


def test_one_candidate_and_k_beyond_it(tmp_path: Path) -> None:
    city = make_tiny_city(tmp_path / "city", n_addresses=1)
    for record in Bench(city, tmp_path).run(built_in(*BUILT_IN)):
        assert record.status == "done", record.reason
        assert record.predictions is not None
        assert record.predictions.k == 1
        assert record.metrics is not None
        assert record.metrics.accuracy["SSA-5"].value == 1.0


def test_provenance_tells_enough_to_repeat(tiny_city: Dataset, tmp_path: Path) -> None:
    (record,) = Bench(tiny_city, tmp_path).run(built_in("linear-probe"))
    assert record.method.config["backbone"] == CHECK_BACKBONE
    assert record.method.weights_digest
    assert record.method.facts["c"] > 0
    assert record.dataset.digest == tiny_city.digest
    assert record.provenance.packages["numpy"] == np.__version__
    assert record.provenance.hardware["cores"]
    assert record.size is not None
    assert record.size.parameters_trained == 32 * 6 + 6
    assert record.phases is not None
    assert record.phases.features is not None
    assert record.phases.features.images == 84


def test_a_record_names_no_folder_of_the_machine(tiny_city: Dataset, tmp_path: Path) -> None:
    """Records are published; who has the dataset finds it by name and digest."""
    bench = Bench(tiny_city, tmp_path)
    (choice,) = (ConfiguredMethod(cls, cls.Config(), str(tmp_path / "mine.py")) for cls in built_in("majority"))
    (planned,) = plan(tiny_city, [choice], (0,), bench.options, bench.store, bench.report)
    record = bench.engine.execute(planned)
    assert record.method.origin == "mine.py"
    for made in (record, *bench.run(built_in("linear-probe", "retrieval"))):
        text = made.model_dump_json()
        assert made.status == "done"
        assert [p for p in (tiny_city.folder, tmp_path, Path.home(), Path.cwd()) if str(p) in text] == []
        assert platform.node() not in text


def test_a_checkout_that_git_refuses_is_told_without_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(root: Path, *arguments: str) -> str:
        raise subprocess.CalledProcessError(128, ["git", "-C", str(root), *arguments])

    monkeypatch.setattr(provenance, "_git", refuses)
    monkeypatch.setattr(Path, "exists", lambda _: True)
    monkeypatch.setattr(Path, "is_dir", lambda _: True)
    assert provenance.project.__wrapped__()["commit_unknown_because"] == "CalledProcessError"
