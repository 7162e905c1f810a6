"""Two processes are one: same losses and weights as one process with the joint batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from ial_bench.datasets.dataset import Dataset
from ial_bench.encoders.image_tower import load_image_tower
from ial_bench.training.ranks import Ranks
from training.ranks_worker import BATCH_NORMS, trained


def launch(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a Python file or module (``-m``) as two processes that talk over gloo."""
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *command]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(launched, capture_output=True, text=True, timeout=240, env=env)


KINDS = ("addressclip", "location", "multi-similarity", "cosface", "batch-norm", "features")


def test_two_processes_train_as_one(tiny_city: Dataset, tmp_path: Path) -> None:
    worker = Path(__file__).with_name("ranks_worker.py")
    done = launch(str(worker), str(tiny_city.folder), str(tmp_path), *KINDS)
    assert done.returncode == 0, done.stderr
    for kind in KINDS:
        _compare(tiny_city, tmp_path / kind, kind)


def _compare(tiny_city: Dataset, tmp_path: Path, kind: str) -> None:
    """Hold what two processes came to against what this one comes to alone."""
    found = [load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1)]
    weights, epochs = trained(tiny_city.folder, kind, tmp_path / "alone")
    losses = [(i, n, v) for i, e in enumerate(epochs) for n, v in e["losses"].items()]
    assert len({n for _, n, _ in losses}) == (4 if kind == "addressclip" else 1)
    for own in found:
        assert own.pop("told").tolist() == [0.0, 2.0]  # the main process's word, and the number of processes
        for i, name, value in losses:
            assert float(own.pop(f"loss {i} {name}")) == pytest.approx(value, abs=1e-5)
        assert set(own) == set(weights)
        for name, weight in weights.items():
            torch.testing.assert_close(own[name], weight, rtol=1e-5, atol=1e-5, msg=name)
    for name in weights:
        assert torch.equal(found[0][name], found[1][name]), name
    if kind == "batch-norm":  # the statistics are those that the tower came with, in every process
        began = load_image_tower(BATCH_NORMS, "encoder", "cpu")
        kept = {n: b for n, b in began.named_buffers() if "running" in n}
        assert len(kept) == 26
        assert all(torch.equal(weights[n], b) for n, b in kept.items())
        moved = [n for n, p in began.named_parameters() if not torch.equal(weights[n], p)]
        assert any("bn" in n for n in moved)


def test_one_process_is_left_alone() -> None:
    ranks = Ranks()
    assert (ranks.rank, ranks.size, ranks.main) == (0, 1, True)
    rows = np.arange(6)
    np.testing.assert_array_equal(ranks.share(rows), rows)
    x = torch.ones(2, 3, requires_grad=True)
    assert ranks.gather(x) is x
    assert ranks.tell({"a": 1}) == {"a": 1}
    parameter = nn.Parameter(torch.ones(2))
    ranks.average_gradients([parameter])
    assert parameter.grad is None
    ranks.wait()


def test_averaged_gradients_lie_as_their_weights_do() -> None:
    """A fused step would pair them with other weights."""

    class Mean:
        def reduce(self, flat: torch.Tensor, reduction: str) -> torch.Tensor:
            assert reduction == "mean"
            return flat / 2

    weight = torch.nn.Parameter(torch.randn(4, 3, 3, 3).contiguous(memory_format=torch.channels_last))
    weight.grad = torch.randn(4, 3, 3, 3).contiguous(memory_format=torch.channels_last)
    expected = weight.grad / 2
    ranks = Ranks()
    ranks._accelerator = Mean()
    ranks.average_gradients([weight])
    assert weight.grad.stride() == weight.stride()
    assert torch.equal(weight.grad, expected)
