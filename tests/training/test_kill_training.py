"""kill -9 in the middle of a training: the run goes on from its checkpoint to the same bytes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ial_bench.errors import DataError
from ial_bench.testing import CHECK_BACKBONE, make_tiny_city
from ial_bench.training.checkpoint import read_checkpoint
from support.warm_bench import Server, Started


def bench(server: Server, city: Path, home: Path) -> Started:
    return server.start(
        "run", "--dataset", city, "--methods", "addressclip", "--backbone", CHECK_BACKBONE,
        "--set", "addressclip.epochs=4", "--set", "addressclip.batch_size=6", "--checkpoint-steps", "3",
        "--workers", "0", "--no-timing", "--results", home / "results", "--cache", home / "cache",
    )  # fmt: skip


def answers(home: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The stored predictions, and how the training went but for its speed."""
    (record,) = (json.loads(p.read_text()) for p in home.glob("results/*/*/*.json"))
    training = record["method"]["facts"]["training"]
    for epoch in training["epochs"]:
        assert epoch.pop("images_per_second") > 0
    return {p.name: p.read_bytes() for p in home.glob("results/*/*/*.parquet")}, training


def stored_steps(home: Path) -> int:
    """Steps that the checkpoint holds; 0 without one."""
    for path in home.glob("cache/*/*/training.safetensors"):
        try:
            checkpoint = read_checkpoint(path)
        except DataError:  # another took its place while it was read; nobody but this test reads beside the writer
            return 0
        if checkpoint is not None:
            return int(checkpoint.progress["log"]["steps"])
    return 0


@pytest.fixture(scope="module")
def straight(
    tmp_path_factory: pytest.TempPathFactory, warm_bench: Server
) -> tuple[Path, dict[str, bytes], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("kill-training")
    make_tiny_city(folder / "city")
    bench(warm_bench, folder / "city", folder / "home").finish()
    return folder / "city", *answers(folder / "home")


MOMENTS: dict[str, Callable[[int], bool]] = {
    "in the first epoch": lambda steps: steps > 0,
    "after an epoch": lambda steps: steps > 8,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_training_goes_on_to_the_same_bytes(
    straight: tuple[Path, dict[str, bytes], dict[str, Any]], warm_bench: Server, tmp_path: Path, moment: str
) -> None:
    city, predictions, training = straight
    assert training["steps"] == 32  # 48 photos, 6 a step, 4 epochs
    process = bench(warm_bench, city, tmp_path)
    patience = time.monotonic() + 120
    while not MOMENTS[moment](stored_steps(tmp_path)):
        assert process.poll() is None, f"it ended before it could be killed {moment}"
        assert time.monotonic() < patience
        time.sleep(0.005)
    process.kill()
    steps = stored_steps(tmp_path)
    assert 0 < steps < 32
    assert not list(tmp_path.glob("results/*/*/*.json"))
    said = bench(warm_bench, city, tmp_path).finish()
    assert f"addressclip: training goes on from step {steps} of 32" in said
    assert answers(tmp_path) == (predictions, training)
