"""Fitted methods of finished runs are kept, whole, and those of others are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from ial_bench import ImageBatch, Method, MethodInfo, SkipMethod, TopK
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine import models
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.plan import Choice, EngineOptions, plan
from ial_bench.engine.record import RunRecord
from ial_bench.engine.run import Engine
from ial_bench.method import NoReport
from ial_bench.registry import Registry


def run(method: type[Method], data: Dataset, folder: Path, **changes: Any) -> RunRecord:
    options = replace(EngineOptions(folder / "results", folder / "cache", timing=False), **changes)
    report = NoReport()
    store = FeatureStore(options.cache, "cpu", 8, 0, report)
    (planned,) = plan(data, [Choice(method, method.Config(), "tests")], (0,), options, store, report)
    return planned.done or Engine(data, options, store, report).execute(planned)


class Unlucky(Method):
    info = MethodInfo(name="unlucky", title="Unlucky", family="test")

    def predict(self, images: ImageBatch, k: int) -> TopK:
        raise RuntimeError("out of luck")


class Elsewhere(Unlucky):
    def prepare(self) -> None:
        raise SkipMethod("not here")


def test_the_fitted_method_of_a_finished_run_is_kept(tiny_city: Dataset, tmp_path: Path) -> None:
    majority = Registry().get("majority")
    record = run(majority, tiny_city, tmp_path)
    folder = models.kept(tmp_path / "cache", record.run_id)
    assert folder == tmp_path / "cache" / "models" / record.run_id
    counts = load_file(folder / "state.safetensors")["scores"]
    assert counts.tolist() == [10.0] * 6  # five places of two photos each
    assert not (tmp_path / "cache" / "runs" / record.run_id).exists()
    assert models.sizes(tmp_path / "cache") == {record.run_id: sum(f.stat().st_size for f in folder.iterdir())}


def test_a_second_run_puts_its_own_in_its_place(tiny_city: Dataset, tmp_path: Path) -> None:
    majority = Registry().get("majority")
    record = run(majority, tiny_city, tmp_path)
    folder = tmp_path / "cache" / "models" / record.run_id
    (folder / "state.safetensors").write_bytes(b"old")
    (folder / "left").touch()
    run(majority, tiny_city, tmp_path)  # done already: nothing happens
    assert (folder / "left").exists()
    run(majority, tiny_city, tmp_path, rerun=True)
    assert load_file(folder / "state.safetensors")["scores"].tolist() == [10.0] * 6
    assert not (folder / "left").exists()


def test_failed_and_skipped_runs_keep_none(tiny_city: Dataset, tmp_path: Path) -> None:
    failed, skipped = run(Unlucky, tiny_city, tmp_path / "a"), run(Elsewhere, tiny_city, tmp_path / "b")
    assert (failed.status, skipped.status) == ("failed", "skipped")
    assert models.sizes(tmp_path / "a" / "cache") == models.sizes(tmp_path / "b" / "cache") == {}
    assert models.kept(tmp_path / "b" / "cache", skipped.run_id) is None


def test_half_a_folder_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "models" / "0123").mkdir(parents=True)
    (tmp_path / "models" / "0123" / "state.safetensors").touch()
    assert models.kept(tmp_path, "0123") is None
    assert models.sizes(tmp_path) == {}
