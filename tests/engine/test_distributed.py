"""`bench run` under a launcher: one process does everything, the other takes part in the fit."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ial_bench.engine.distributed import Team, own_device
from ial_bench.testing import CHECK_BACKBONE, make_tiny_city
from support.warm_bench import Server

METHODS = '''
"""Methods whose fit goes wrong in several ways."""
from ial_bench import Method, MethodInfo, SkipMethod, TopK
from ial_bench.training.config import TrainingConfig
import numpy as np


class Skips(Method):
    info = MethodInfo(name="skips", title="Skips", family="test")
    Config = TrainingConfig

    def fit(self, train, val):
        raise SkipMethod("not here")

    def predict(self, images, k):
        return TopK.from_scores(np.zeros((len(images), 6), np.float32), k)


class Breaks(Skips):
    info = MethodInfo(name="breaks", title="Breaks", family="test")

    def fit(self, train, val):
        from ial_bench.training.ranks import Ranks

        ranks = Ranks()
        if ranks.main:
            raise ValueError("broken in one process")
        ranks.wait()  # for ever, if nobody ends it


class Untrained(Skips):
    info = MethodInfo(name="untrained", title="Untrained", family="test")
    Config = Method.Config

    def fit(self, train, val):
        raise ValueError("no steps, no others")
'''


def arguments(folder: Path, home: str, methods: str) -> list[str]:
    return [
        "run", "--dataset", str(folder / "city"), "--methods", methods, "--plugin", str(folder / "wrong.py"),
        "--backbone", CHECK_BACKBONE, "--device", "cpu", "--workers", "0", "--no-timing",
        "--set", "clip-address.epochs=2", "--set", "clip-address.batch_size=12", "--set", "linear-probe.c=1",
        "--results", str(folder / home / "results"), "--cache", str(folder / home / "cache"),
    ]  # fmt: skip


def as_two(server: Server, called: list[str]) -> str:
    """A command in two processes, each with what a launcher tells it; what they said on standard error."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    team = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [{**team, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in (0, 1)]
    started = [server.start(*called, env={**env, "OMP_NUM_THREADS": "1"}) for env in ranks]
    return "".join(process.finish(code) for process, code in zip(started, (1, 0), strict=True))


def records(folder: Path, home: str) -> dict[str, dict[str, Any]]:
    found = [json.loads(p.read_text()) for p in folder.glob(f"{home}/results/*/*/*.json")]
    return {r["method"]["name"]: r for r in found}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("team")
    make_tiny_city(made / "city")
    (made / "wrong.py").write_text(METHODS)
    return made


def test_a_run_of_two_processes_is_that_of_one(folder: Path, warm_bench: Server) -> None:
    """Also the runs around the fit: a skip in it, a failure elsewhere, a method that is not trained by steps."""
    methods = "skips,untrained,clip-address,linear-probe"
    alone = warm_bench.start(*arguments(folder, "one", methods)).finish(1)  # the status is that of the one that failed
    together = as_two(warm_bench, arguments(folder, "two", methods))
    assert together.count("fitting on 48 photos") == alone.count("fitting on 48 photos") == 4
    one, two = records(folder, "one"), records(folder, "two")
    status = {"skips": "skipped", "untrained": "failed", "clip-address": "done", "linear-probe": "done"}
    for name, expected in status.items():
        assert one[name]["status"] == two[name]["status"] == expected
        assert one[name]["reason"] == two[name]["reason"]
        assert one[name]["run_id"] == two[name]["run_id"]
    trainings = [r["clip-address"]["method"]["facts"]["training"]["epochs"] for r in (one, two)]
    losses = [[epoch["losses"]["loss"] for epoch in epochs] for epochs in trainings]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert one["linear-probe"]["metrics"] == two["linear-probe"]["metrics"]


def test_an_error_in_a_fit_ends_all_processes(folder: Path) -> None:
    """Under the launcher itself, which ends the others."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "ial_bench.cli", *arguments(folder, "broken", "breaks")]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=env)
    assert done.returncode != 0
    assert "broken in one process" in done.stderr
    assert records(folder, "broken") == {}


def test_each_process_has_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [own_device(d) for d in ("cpu", "cuda", "cuda:1")] == ["cpu", "cuda", "cuda:1"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert [own_device(d) for d in ("cpu", "cuda", "cuda:0")] == ["cpu", "cuda:1", "cuda:1"]


def test_one_process_is_a_team(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    team = Team()
    assert team.main
    assert not team.fitting
    team.dismiss()
