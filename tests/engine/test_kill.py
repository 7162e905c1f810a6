"""kill -9 at several moments: nothing finished is lost, and the answers are the same bytes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ial_bench.testing import CHECK_BACKBONE, make_tiny_city
from support.warm_bench import Server, Started

SLOW = '''
"""A method that takes its time, so that a kill can hit every phase."""
import time
import numpy as np
from ial_bench import FrozenEncoderMethod, MethodInfo, State
from ial_bench.engine import run

run.ANSWER_ROWS = 4  # as if there were thousands of queries


class Slow(FrozenEncoderMethod):
    info = MethodInfo(name="slow", title="Slow", family="test")

    def fit_features(self, train, val):
        time.sleep(0.3)
        self.means = np.stack([train.x[train.labels == i].mean(axis=0) for i in range(len(train.photos.candidates))])

    def score_features(self, x):
        time.sleep(0.2)
        return -((x[:, None, :] - self.means[None]) ** 2).sum(axis=2)

    def state(self) -> State:
        return {"means": self.means}

    def restore(self, state):
        self.means = state["means"]
'''


def bench(server: Server, folder: Path, home: Path) -> Started:
    return server.start(
        "run", "--dataset", folder / "city", "--methods", "slow,majority", "--plugin", folder / "slow.py",
        "--backbone", CHECK_BACKBONE, "--chunk", "4", "--workers", "0", "--no-timing",
        "--results", home / "results", "--cache", home / "cache",
    )  # fmt: skip


def predictions(home: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in home.glob("results/*/*/*.parquet")}


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, warm_bench: Server) -> tuple[Path, dict[str, bytes]]:
    folder = tmp_path_factory.mktemp("kill")
    make_tiny_city(folder / "city")
    (folder / "slow.py").write_text(SLOW)
    bench(warm_bench, folder, folder / "straight").finish()
    return folder, predictions(folder / "straight")


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "some chunks of features": lambda home: any(
        p.read_bytes().count(b"\n") >= 2 for p in home.glob("cache/features/*/*/marks")
    ),
    "a fitted method": lambda home: any(home.glob("cache/runs/*/state/phases.json")),
    "some answers": lambda home: len(list(home.glob("cache/runs/*/answers-*.npz"))) >= 2,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_resumes_to_the_same_bytes(
    straight: tuple[Path, dict[str, bytes]], warm_bench: Server, tmp_path: Path, moment: str
) -> None:
    folder, expected = straight
    process = bench(warm_bench, folder, tmp_path)
    deadline = time.monotonic() + 60
    while not MOMENTS[moment](tmp_path):
        assert process.poll() is None, f"it ended before there were {moment}"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    finished = {p: p.read_bytes() for p in tmp_path.glob("results/*/*/*.json")}
    marked = sum(p.read_bytes().count(b"\n") for p in tmp_path.glob("cache/features/*/*/marks"))
    answered = len(list(tmp_path.glob("cache/runs/*/answers-*.npz")))
    said = bench(warm_bench, folder, tmp_path).finish()
    assert predictions(tmp_path) == expected
    assert all(path.read_bytes() == text for path, text in finished.items())  # a finished run is not run again
    assert marked >= (2 if moment == "some chunks of features" else 0)
    assert ("resuming after its fit" in said) == (moment in {"a fitted method", "some answers"})
    assert answered >= (2 if moment == "some answers" else 0)
    assert not list(tmp_path.rglob("*.tmp"))
