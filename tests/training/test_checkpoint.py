"""Checkpoints: a training that was stopped anywhere goes on to the same weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
from torch import nn

from ial_bench.errors import ConfigError, DataError
from ial_bench.training.checkpoint import (
    Checkpoint,
    TrainingLog,
    put_tensors,
    read_checkpoint,
    trained_tensors,
    write_checkpoint,
)
from support.training_task import Regression, trainer

STEPS = 15  # 3 epochs of 5


class StoppedError(Exception):
    """The power went."""


def settings(**changes: Any) -> dict[str, Any]:
    return {"n": 20, "batch": 4, "weight_decay": 0.1, **changes}


def task(stop_at: int | None = None) -> Regression:
    def stop(step: int, loss: torch.Tensor) -> torch.Tensor:
        if step == stop_at:
            raise StoppedError
        return loss

    class Scored(Regression):
        def val_ssa1(self) -> float | None:  # from the weights, so that it is the same after a restart
            with torch.no_grad():
                return round(float(((self.net[1](self.x) - self.y) ** 2).mean()) * 7 % 1, 3)

    return Scored(n=20, dropout=0.3, bend=stop)


def without_speed(log: TrainingLog) -> dict[str, Any]:
    told = log.as_dict()
    return {**told, "epochs": [{k: v for k, v in e.items() if k != "images_per_second"} for e in told["epochs"]]}


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("every", [1, 3])
def test_a_training_stopped_at_any_step_ends_alike(tmp_path: Path, every: int, accumulate: int) -> None:
    own = settings(accumulate=accumulate)
    straight = task()
    expected = trainer(straight, **own).run()
    for stop_at in range(1, STEPS + 1):
        work = tmp_path / str(stop_at)
        with pytest.raises(StoppedError):
            trainer(task(stop_at), work=work, checkpoint_steps=every, **own).run()
        stored = read_checkpoint(work / "training.safetensors")
        resumed = task()
        log = trainer(resumed, work=work, checkpoint_steps=every, **own).run()
        assert without_speed(log) == without_speed(expected)
        for found, weight in zip(resumed.weights(), straight.weights(), strict=True):
            assert torch.equal(found, weight)
        done = 0 if stored is None else stored.progress["log"]["steps"]
        assert len(resumed.seen) == STEPS - done
        assert stop_at - 1 - done < every * accumulate + accumulate  # no more than that is done again


def test_weights_with_channels_last_go_on_alike(tmp_path: Path) -> None:
    """Moments are stored contiguous; a fused step would pair them with other weights."""

    class Images(Regression):
        def __init__(self, stop_at: int | None = None) -> None:
            super().__init__(bend=task(stop_at)._bend)
            torch.manual_seed(0)
            self.x, self.y = torch.randn(24, 2, 4, 4), torch.randn(24, 3, 2, 2)
            self.net = nn.Sequential(nn.Conv2d(2, 3, 3)).to(memory_format=torch.channels_last)

    def trained(work: Path | None, stop_at: int | None = None) -> list[torch.Tensor]:
        made = Images(stop_at)
        trainer(made, work=work, checkpoint_steps=2).run()
        assert made.weights()[0].is_contiguous(memory_format=torch.channels_last)
        return made.weights()

    with pytest.raises(StoppedError):
        trained(tmp_path, stop_at=6)
    for found, expected in zip(trained(tmp_path), trained(None), strict=True):
        assert torch.equal(found, expected)


def test_a_training_that_had_ended_is_not_trained_again(tmp_path: Path) -> None:
    first, again = task(), task()
    log = trainer(first, work=tmp_path, **settings()).run()
    assert trainer(again, work=tmp_path, **settings()).run() == log
    assert again.seen == []
    for a, b in zip(first.weights(), again.weights(), strict=True):
        assert torch.equal(a, b)


def test_going_on_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        trainer(task(9), work=tmp_path, checkpoint_steps=2, **settings()).run()
    made = trainer(task(), work=tmp_path, **settings())
    made.run()
    assert "made: training goes on from step 7 of 15" in made.context.report.lines  # type: ignore[attr-defined]


def test_batches_of_another_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        trainer(task(9), work=tmp_path, **settings()).run()
    with pytest.raises(ConfigError, match="is of batches of 4 photos, these are of 5"):
        trainer(task(), work=tmp_path, **settings(batch=5)).run()


def checkpoint() -> Checkpoint:
    weights = {"a.weight": torch.randn(3, 2), "a.bias": torch.zeros(())}
    optimiser = {0: {"step": torch.tensor(3.0), "exp_avg": torch.randn(2, 3).T}, 1: {"step": torch.tensor(4.0)}}
    return Checkpoint(weights, {"a.weight": torch.ones(3, 2)}, optimiser, {"step": 3, "loss": 0.1 + 0.2})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = checkpoint()
    write_checkpoint(tmp_path / "c", written)
    read = read_checkpoint(tmp_path / "c")
    assert read is not None
    assert read.progress == written.progress
    assert read.best is not None
    torch.testing.assert_close(read.weights, written.weights, rtol=0, atol=0)
    torch.testing.assert_close(read.best, written.best, rtol=0, atol=0)
    torch.testing.assert_close(read.optimiser, written.optimiser, rtol=0, atol=0)
    assert read_checkpoint(tmp_path / "none") is None
    write_checkpoint(tmp_path / "c", Checkpoint(written.weights, None, {}, {}))
    assert read_checkpoint(tmp_path / "c").best is None  # type: ignore[union-attr]


@pytest.mark.parametrize("damage", ["cut", "head", "empty", "noise", "other"])
def test_damage_is_an_error_with_a_mend(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "training.safetensors"
    write_checkpoint(path, checkpoint())
    whole = path.read_bytes()
    if damage == "other":
        safetensors.torch.save_file({"x": torch.zeros(1)}, path)  # without our numbers
    else:
        path.write_bytes({"cut": whole[:-5], "head": whole[:40], "empty": b"", "noise": os.urandom(300)}[damage])
    with pytest.raises(DataError) as caught:
        trainer(task(), work=tmp_path, **settings()).run()
    assert f"the checkpoint {path} is damaged" in caught.value.problem
    assert "--rerun" in (caught.value.fix or "")


Parts = tuple[dict[str, torch.Tensor], dict[str, str]]


def flipped(parts: Parts) -> None:
    """One bit of one weight."""
    name = max((n for n in parts[0] if n.startswith("weights/")), key=lambda n: parts[0][n].numel())
    parts[0][name].view(torch.uint8).view(-1)[1] ^= 1


def without(prefix: str) -> Callable[[Parts], None]:
    def change(parts: Parts) -> None:
        for name in [n for n in parts[0] if n.startswith(prefix)]:
            del parts[0][name]

    return change


def reshaped(parts: Parts) -> None:
    name = next(n for n in parts[0] if parts[0][n].ndim == 2)
    parts[0][name] = parts[0][name].reshape(-1)


def retyped(parts: Parts) -> None:
    name = next(n for n in parts[0] if parts[0][n].dtype == torch.float32)
    parts[0][name] = parts[0][name].view(torch.int32)


def renamed(parts: Parts) -> None:
    first, second = sorted(n for n in parts[0] if n.endswith("/exp_avg"))[:2]
    parts[0][first], parts[0][second] = parts[0][second], parts[0][first]


def told_otherwise(parts: Parts) -> None:
    told = json.loads(parts[1]["told"])
    del told["sums"]
    parts[1]["told"] = json.dumps(told)


def unsummed(parts: Parts) -> None:
    """As an earlier release wrote it."""
    del parts[1]["sha256"]


DAMAGES: dict[str, Callable[[Parts], None]] = {
    "a bit of a weight": flipped,
    "no optimiser": without("optimiser/"),
    "no best weights": without("best/"),
    "no step of the optimiser": without("optimiser/0/step"),
    "one more tensor": lambda parts: parts[0].update({"weights/more": torch.zeros(1)}),
    "another shape": reshaped,
    "another type": retyped,
    "two exchanged": renamed,
    "a number less": told_otherwise,
    "no sum": unsummed,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_inside_is_an_error_and_no_result(tmp_path: Path, damage: str) -> None:
    """A file that safetensors reads without a word."""
    with pytest.raises(StoppedError):
        trainer(task(9), work=tmp_path, checkpoint_steps=2, **settings()).run()
    path = tmp_path / "training.safetensors"
    with safetensors.safe_open(path, "pt") as file:
        parts = {n: file.get_tensor(n) for n in file.keys()}, dict(file.metadata())  # noqa: SIM118 - no mapping
    safetensors.torch.save_file(parts[0], path, metadata=parts[1])
    assert read_checkpoint(path) is not None  # written anew as it was, it is as good
    DAMAGES[damage](parts)
    safetensors.torch.save_file(parts[0], path, metadata=parts[1])
    with pytest.raises(DataError) as caught:
        trainer(task(), work=tmp_path, **settings()).run()
    assert f"the checkpoint {path} is damaged: the SHA-256 of its contents" in caught.value.problem
    assert "--rerun" in (caught.value.fix or "")
    path.unlink()  # the other way on
    trainer(task(), work=tmp_path, **settings()).run()


def test_one_of_other_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        trainer(task(9), work=tmp_path, **settings()).run()
    path = tmp_path / "training.safetensors"
    stored = read_checkpoint(path)
    assert stored is not None
    for told, weights in (
        ({k: v for k, v in stored.progress.items() if k != "sums"}, stored.weights),
        (stored.progress, {}),
        ({**stored.progress, "log": {"steps": 1, "unknown": 2}}, stored.weights),
    ):
        write_checkpoint(path, Checkpoint(weights, stored.best, stored.optimiser, told))
        with pytest.raises(DataError, match="does not fit this training") as caught:
            trainer(task(), work=tmp_path, **settings()).run()
        assert str(path) in caught.value.problem


def test_a_full_disk_keeps_the_earlier_checkpoint(tmp_path: Path) -> None:
    """In a process of its own that may write no file over 20 kB."""
    program = (
        "import sys, pathlib, resource, torch\n"
        "from ial_bench.errors import StorageError\n"
        "from ial_bench.training.checkpoint import Checkpoint, write_checkpoint\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "for size in (100, 100_000):\n"
        "    try:\n"
        "        checkpoint = Checkpoint({'a': torch.ones(size)}, None, {}, {'step': size})\n"
        "        write_checkpoint(pathlib.Path(sys.argv[1]), checkpoint)\n"
        "    except StorageError as error:\n"
        "        print(error.problem, '|', error.fix)\n"
    )
    path = tmp_path / "c"
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.startswith(f"cannot write {path}: File too large | ")
    assert "| None" not in done.stdout
    kept = read_checkpoint(path)
    assert kept is not None
    assert kept.progress == {"step": 100}
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_weights_of_another_model_are_refused() -> None:
    first, last = nn.Linear(2, 3), nn.Linear(3, 1)
    module = nn.Sequential(first, last)
    first.requires_grad_(requires_grad=False)
    own = trained_tensors(module)
    assert set(own) == {"1.weight", "1.bias"}
    with torch.no_grad():
        last.weight.zero_()
    assert bool(own["1.weight"].any())  # copies
    put_tensors(module, own)
    assert torch.equal(last.weight, own["1.weight"])
    for wrong in ({}, {**own, "0.weight": torch.zeros(3, 2)}, {**own, "1.weight": torch.zeros(3, 1)}):
        with pytest.raises(DataError, match="of another model"):
            put_tensors(module, wrong)
