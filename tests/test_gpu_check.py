"""The script for machines with a GPU, tried without one: CPU against CPU, at tiny sizes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gpu_check import QUICK, Check, main
from ial_bench.datasets.dataset import Dataset
from ial_bench.image_batch import ImageBatch
from ial_bench.registry import Registry
from ial_bench.testing import CHECK_BACKBONE
from ial_bench.topk import TopK
from support.gpu_methods import Bench, Compared, compare, config_of, dense


def test_it_runs_where_there_is_no_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "found.json"
    assert main(["--device", "cpu", "--quick", "--out", str(out)]) == 0
    told: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    assert [(m["method"], m["state"]) for m in told["methods"]["methods"]] == [
        ("tip-adapter", "same"),
        ("clip-adapter", "reported"),
    ]
    for method in told["methods"]["methods"]:
        assert (method["same_top1"], method["largest_difference"]) == (1.0, 0.0)
        assert method["p50_ms"] > 0
    assert all(told["training"][way]["steps"] == QUICK.steps for way in ("memory", "loading", "shards"))
    assert all(told[part]["seconds"] > 0 for part in ("methods", "training", "latency"))
    assert [aim["found"] is not None for aim in told["aims"]] == [True, True, True]
    assert str(out) in capsys.readouterr().out


def test_without_a_gpu_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_device(*_: Any, **__: Any) -> None:
        raise RuntimeError("Found no NVIDIA driver on your system.\nSee the manual.")

    monkeypatch.setattr(torch, "zeros", no_device)  # as torch does it, wherever this runs
    assert main(["--out", str(tmp_path / "found.json")]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert "'cuda' cannot be used: Found no NVIDIA driver" in told.err
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "found.json"
    assert main(["--device", "cpu", "--quick", "--minutes", "0", "--out", str(out)]) == 0
    told = json.loads(out.read_text(encoding="utf-8"))
    assert [told[part] for part in ("methods", "training", "latency")] == [{"state": "left out"}] * 3
    assert [aim["met"] for aim in told["aims"]] == [None] * 3
    assert capsys.readouterr().out.count("left out") == 3


def test_a_part_that_fails_is_a_problem(tmp_path: Path) -> None:
    check = Check(replace(QUICK, large_backbone="openclip:no-such-model/random-init"), "cpu", 1, tmp_path)
    check.part("latency", check.latency)
    assert check.found["latency"]["state"] == "failed"
    assert "no-such-model" in check.problems[0]


def benches(city: Dataset, folder: Path) -> list[Bench]:
    return [Bench(city, folder / n, "cpu", timing=n == "device", workers=0) for n in ("device", "cpu")]


def test_other_answers_are_told(tiny_city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    method = registry.get("clip-zero-shot")
    plain = method.predict
    asked: list[Any] = []

    def predict(self: Any, images: ImageBatch, k: int) -> TopK:
        """Wrong for the first of all methods that are asked."""
        top = plain(self, images, k)
        asked.append(self)
        return replace(top, indices=top.indices[:, ::-1]) if self is asked[0] else top

    monkeypatch.setattr(method, "predict", predict)
    found = compare("clip-zero-shot", {}, registry, CHECK_BACKBONE, benches(tiny_city, tmp_path))
    assert found.state == "differs"
    assert "wanted 99 %" in str(found.reason)


def test_a_skip_and_a_failure_are_told(tiny_city: Dataset, tmp_path: Path) -> None:
    registry = Registry()
    found = compare("clip-zero-shot", {}, registry, "timm:resnet18/random-init", benches(tiny_city, tmp_path))
    assert (found.state, found.same_top1) == ("skipped", None)
    assert "text" in str(found)
    found = compare("no-such", {}, registry, CHECK_BACKBONE, benches(tiny_city, tmp_path))
    assert found.state == "failed"
    assert "no-such" in str(found.reason)


def test_settings_leave_no_choice() -> None:
    registry = Registry()
    for name in registry.names:
        given = config_of(registry.get(name), CHECK_BACKBONE).model_dump()
        assert all(len(value) == 1 for key, value in given.items() if key.endswith("_grid"))
        assert given.get("epochs", 2) == 2


def test_scores_by_candidate() -> None:
    top = TopK(np.array([[2, 0], [1, -1]], np.int32), np.array([[5, 4], [3, 3]], np.float32))
    expected = np.array([[4, np.nan, 5], [np.nan, 3, np.nan]], np.float32)
    np.testing.assert_array_equal(dense(top, 3), expected)


def test_what_was_found_reads_as_a_line() -> None:
    found = Compared("retrieval", "same", None, 1.0, 0.001, 2.0, (0.5, 0.5), (3.0, 4.0), 0.8)
    assert str(found).startswith("retrieval: same; same top-1 100.0 %, scores differ by at most 0.001 of 2,")
