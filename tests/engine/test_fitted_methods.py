"""Fitted methods of finished runs are kept, whole, and those of others are not."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from safetensors.numpy import load_file

from ial_bench import ImageBatch, Method, MethodInfo, Photos, SkipMethod, State, TopK
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine import fitted_methods
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.plan import ConfiguredMethod, EngineOptions, plan
from ial_bench.engine.record import RunRecord
from ial_bench.engine.run import Engine
from ial_bench.progress import NoReport
from ial_bench.registry import Registry


def run(method: type[Method], data: Dataset, folder: Path, **changes: Any) -> RunRecord:
    options = replace(EngineOptions(folder / "results", folder / "cache", timing=False), **changes)
    report = NoReport()
    store = FeatureStore(options.cache, "cpu", 8, 0, report)
    (planned,) = plan(data, [ConfiguredMethod(method, method.Config(), "tests")], (0,), options, store, report)
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
    folder = fitted_methods.kept(tmp_path / "cache", record.run_id)
    assert folder == tmp_path / "cache" / "models" / record.run_id
    counts = load_file(folder / "state.safetensors")["scores"]
    assert counts.tolist() == [10.0] * 6  # five places of two photos each
    assert not (tmp_path / "cache" / "runs" / record.run_id).exists()
    assert fitted_methods.sizes(tmp_path / "cache") == {record.run_id: sum(f.stat().st_size for f in folder.iterdir())}


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
    assert fitted_methods.sizes(tmp_path / "a" / "cache") == fitted_methods.sizes(tmp_path / "b" / "cache") == {}
    assert fitted_methods.kept(tmp_path / "b" / "cache", skipped.run_id) is None


def test_half_a_folder_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "models" / "0123").mkdir(parents=True)
    (tmp_path / "models" / "0123" / "state.safetensors").touch()
    assert fitted_methods.kept(tmp_path, "0123") is None
    assert fitted_methods.sizes(tmp_path) == {}


class Counted(Method):
    """Fitted to a number, saved in two files; stopped at its first answer, as by a kill, until it may go on."""

    info = MethodInfo(name="counted", title="Counted", family="test")
    fitted: ClassVar[list[int]] = []
    may_answer: ClassVar[bool] = False

    def fit(self, train: Photos, val: Photos) -> None:
        self.fitted.append(len(train))

    def state(self) -> State:
        return {"scores": np.arange(6, dtype=np.float32)}

    def restore(self, state: State) -> None:
        self.scores = state["scores"]

    def save(self, folder: Path) -> None:
        super().save(folder)
        (folder / "more").mkdir()
        (folder / "more" / "words.txt").write_text("some words")

    def predict(self, images: ImageBatch, k: int) -> TopK:
        if not self.may_answer:
            raise RuntimeError("stopped")
        return TopK.from_scores(np.broadcast_to(np.arange(6.0), (len(images), 6)), k)


@pytest.fixture
def stopped(tiny_city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The fitted method that a run left which was stopped before its answers."""
    monkeypatch.setattr(Counted, "fitted", [])
    assert run(Counted, tiny_city, tmp_path).status == "failed"
    monkeypatch.setattr(Counted, "may_answer", True)
    (state,) = tmp_path.glob("cache/runs/*/state")
    return state


def flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def unsealed(path: Path) -> None:
    """As an earlier release stored it."""
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k not in {"files", "sha256"}}))


def test_a_run_goes_on_from_a_fitted_method_that_is_whole(tiny_city: Dataset, tmp_path: Path, stopped: Path) -> None:
    assert run(Counted, tiny_city, tmp_path).status == "done"
    assert len(Counted.fitted) == 1


@pytest.mark.parametrize(
    ("named", "damage"),
    [
        ("state.safetensors", flip),
        ("state.safetensors", Path.unlink),
        ("more/words.txt", flip),
        ("more/words.txt", Path.unlink),
        ("more/other.txt", Path.touch),
        ("phases.json", lambda path: path.write_text(path.read_text().replace('"seconds": ', '"seconds": 1'))),
        ("phases.json", unsealed),
    ],
)
def test_a_fitted_method_that_is_damaged_becomes_no_result(
    tiny_city: Dataset, tmp_path: Path, stopped: Path, named: str, damage: Callable[[Path], object]
) -> None:
    damage(stopped / named)
    record = run(Counted, tiny_city, tmp_path)
    assert record.status == "failed"
    assert record.reason is not None
    assert f"the fitted method in {stopped} is damaged" in record.reason
    assert named in record.reason
    assert "--rerun" in record.reason
    assert not list(tmp_path.glob("results/*/*/*.parquet"))
    assert run(Counted, tiny_city, tmp_path, rerun=True).status == "done"
    assert len(Counted.fitted) == 2


def test_deleted_it_is_fitted_anew(tiny_city: Dataset, tmp_path: Path, stopped: Path) -> None:
    flip(stopped / "state.safetensors")
    shutil.rmtree(stopped)
    assert run(Counted, tiny_city, tmp_path).status == "done"
    assert len(Counted.fitted) == 2


def test_they_are_kept_where_the_cache_lies_on_several_disks(
    tiny_city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, refused = os.rename, list[str]()

    def on_one_disk(source: str | Path, target: str | Path) -> None:
        disks = {("models" in Path(p).parts) for p in (source, target)}
        if len(disks) > 1:
            refused.append(str(target))
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(source, target)

    monkeypatch.setattr(os, "rename", on_one_disk)
    record = run(Registry().get("majority"), tiny_city, tmp_path)
    assert record.status == "done"
    folder = tmp_path / "cache" / "models" / record.run_id
    assert refused == [str(folder)]
    assert load_file(folder / "state.safetensors")["scores"].tolist() == [10.0] * 6
    assert fitted_methods.kept(tmp_path / "cache", record.run_id) == folder
    assert [p.name for p in folder.parent.iterdir()] == [record.run_id]
    assert not (tmp_path / "cache" / "runs" / record.run_id).exists()


def test_half_a_copy_between_disks_does_not_count(tmp_path: Path) -> None:
    half = tmp_path / "models" / ".0123.tmp"
    half.mkdir(parents=True)
    (half / fitted_methods.PHASES).write_text("{}")
    assert fitted_methods.sizes(tmp_path) == {}
    assert fitted_methods.kept(tmp_path, "0123") is None
