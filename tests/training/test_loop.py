"""The training loop against torch's own pieces put together by hand."""

from __future__ import annotations

import math
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ial_bench.errors import ConfigError
from ial_bench.training.loop import Group, TrainingError
from ial_bench.training.sampler import BatchSampler
from support.training_task import Regression, trainer


def by_hand(steps: int, optimiser: type[torch.optim.Optimizer], **settings: Any) -> list[torch.Tensor]:
    """The same training with a plain loop and torch's schedule."""
    task = Regression()
    matrix, vector = task.net[1].weight, task.net[1].bias
    decay = settings.pop("weight_decay", 0.0)
    parts = [{"params": [matrix], "weight_decay": decay}, {"params": [vector], "weight_decay": 0.0}]
    opt = optimiser(parts, lr=0.05, betas=(0.9, 0.98))  # type: ignore[call-arg]
    rising = math.ceil(0.05 * steps)
    lrs = torch.optim.lr_scheduler.LambdaLR(
        opt,
        lambda s: (s + 1) / rising if s < rising else 0.5 * (1 + math.cos(math.pi * (s - rising) / (steps - rising))),
    )
    clip = settings.pop("clip_norm", 1.0)
    batches = [b for epoch in range(3) for b in BatchSampler(24, 8, 0).epoch(epoch)]
    for rows in batches:
        opt.zero_grad()
        ((task.net(task.x[rows]) - task.y[rows]) ** 2).mean().backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(task.net.parameters(), clip)
        opt.step()
        lrs.step()
    return task.weights()


@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize(("name", "optimiser"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_a_training_is_the_plain_loop(name: str, optimiser: type[torch.optim.Optimizer], clip: float | None) -> None:
    task = Regression()
    log = trainer(task, optimiser=name, clip_norm=clip, weight_decay=0.3).run()
    for found, expected in zip(task.weights(), by_hand(9, optimiser, clip_norm=clip, weight_decay=0.3), strict=True):
        torch.testing.assert_close(found, expected)
    assert log.steps == 9
    assert len(log.epochs) == 3


def test_the_log_holds_mean_losses() -> None:
    values: list[float] = []

    def keep(_: int, loss: torch.Tensor) -> torch.Tensor:
        values.append(float(loss.detach()))
        return loss

    log = trainer(Regression(bend=keep)).run()
    for i, epoch in enumerate(log.epochs):
        mean = sum(values[3 * i : 3 * i + 3]) / 3
        assert epoch["losses"] == pytest.approx({"loss": mean, "half": mean / 2})
        assert epoch["images_per_second"] > 0
        assert epoch["val_ssa1"] is None
    assert log.best_val == -1


@pytest.mark.parametrize("optimiser", ["adam", "adamw"])
def test_accumulated_steps_are_one_larger_step(optimiser: str) -> None:
    """Four batches of 3, added up, are the gradient of one of 12. Rates differ by schedule, so both are constant."""
    constant: dict[str, Any] = {"warm_up": 0.0, "final_rate": 1.0, "optimiser": optimiser, "weight_decay": 0.1}
    small, large = Regression(), Regression()
    trainer(small, batch=3, accumulate=4, **constant).run()
    trainer(large, batch=12, **constant).run()
    assert len(small.after) == len(large.after) == 6
    assert [sorted(chain(*small.seen[4 * i : 4 * i + 4])) for i in range(6)] == [sorted(b) for b in large.seen]
    for found, expected in zip(small.weights(), large.weights(), strict=True):
        torch.testing.assert_close(found, expected)


def test_a_window_ends_with_its_epoch() -> None:
    """Of 8 steps an epoch 3 are added up: windows of 3, 3 and 2, in each epoch, each a mean."""
    constant: dict[str, Any] = {"warm_up": 0.0, "final_rate": 1.0, "optimiser": "adam", "clip_norm": None}
    task = Regression()
    trainer(task, batch=3, accumulate=3, **constant).run()
    assert len(task.after) == 9
    twin = Regression()
    opt = torch.optim.Adam(twin.net.parameters(), lr=0.05, betas=(0.9, 0.98))
    for epoch in range(3):
        batches = task.seen[8 * epoch : 8 * epoch + 8]
        for window in (batches[:3], batches[3:6], batches[6:]):
            rows = list(chain(*window))
            opt.zero_grad()
            ((twin.net(twin.x[rows]) - twin.y[rows]) ** 2).mean().backward()
            opt.step()
    for found, expected in zip(task.weights(), twin.weights(), strict=True):
        torch.testing.assert_close(found, expected)


def test_matrices_alone_are_decayed() -> None:
    class Groups(Regression):
        def groups(self) -> list[Group]:
            scalar = nn.Parameter(torch.tensor(2.0))
            self.net.register_parameter("scalar", scalar)
            return [Group(list(self.net[1].parameters()), rate=3.0), Group([scalar], decay=False)]

    made = trainer(Groups(), weight_decay=0.2)
    told = [(sorted(p.ndim for p in g["params"]), g["weight_decay"], g["factor"]) for g in made.optimiser.param_groups]
    assert told == [([2], 0.2, 3.0), ([1], 0.0, 3.0), ([0], 0.0, 1.0)]
    made.run()
    assert made.optimiser.param_groups[0]["lr"] == pytest.approx(3 * made.optimiser.param_groups[2]["lr"])


def test_gradients_are_clipped_as_one_vector() -> None:
    norms: list[float] = []

    task = Regression(bend=lambda _, loss: loss * 1000)
    made = trainer(task, clip_norm=0.25)
    made.optimiser.register_step_pre_hook(
        lambda *_: norms.append(float(torch.cat([p.grad.flatten() for p in task.net.parameters()]).norm()))  # type: ignore[union-attr]
    )
    made.run()
    assert norms == pytest.approx([0.25] * 9, rel=1e-4)


class Scored(Regression):
    """Val SSA-1 by epoch as given."""

    def val_ssa1(self) -> float | None:
        return None if self.vals is None else self.vals[len(self.after) // 3 - 1]


@pytest.mark.parametrize(
    ("vals", "best"),
    [([0.1, 0.5, 0.3], 2), ([0.5, 0.5, 0.5], 1), ([0.0, 0.0, 0.1], 3), ([0.0, 0.0, 0.0], 1), (None, 3)],
)
def test_the_best_epoch_is_kept_the_first_of_equals(vals: list[float] | None, best: int) -> None:
    task = Scored(vals=vals)
    log = trainer(task).run()
    assert log.best_epoch == best
    assert [e["val_ssa1"] for e in log.epochs] == ([None] * 3 if vals is None else vals)
    for found, expected in zip(task.weights(), task.after[3 * best - 1], strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops(tmp_path: Path, value: float) -> None:
    def spoil(step: int, loss: torch.Tensor) -> torch.Tensor:
        return loss * value if step == 5 else loss

    with pytest.raises(TrainingError, match=r"made: loss is (nan|inf) at step 5 of 9; no checkpoint") as caught:
        trainer(Regression(bend=spoil)).run()
    assert caught.value.fix is not None
    assert "--set made.learning_rate=0.0125" in caught.value.fix
    task = Regression(bend=spoil)
    with pytest.raises(TrainingError) as caught:
        trainer(task, work=tmp_path).run()
    assert f"the last good checkpoint is {tmp_path / 'training.safetensors'}" in caught.value.problem
    assert all(bool(w.isfinite().all()) for w in task.weights())


def test_a_gradient_that_is_not_finite_stops_before_the_weights_change() -> None:
    def spoil(step: int, loss: torch.Tensor) -> torch.Tensor:
        return loss + (loss * 0).sqrt() if step == 4 else loss  # finite, but its slope at 0 is not

    task = Regression(bend=spoil)
    with pytest.raises(TrainingError, match="the gradient's norm is nan at step 4 of 9"):
        trainer(task).run()
    assert len(task.after) == 3
    for found, expected in zip(task.weights(), task.after[-1], strict=True):
        assert torch.equal(found, expected)


def test_half_precision_needs_cuda() -> None:
    with pytest.raises(ConfigError) as caught:
        trainer(Regression(), precision="fp16")
    assert caught.value.fix == "--set made.precision=fp32"


def test_mixed_precision() -> None:
    kinds: set[torch.dtype] = set()

    class Watch(Regression):
        def losses(self, rows: Any, inputs: Any) -> Any:
            kinds.add(self.net(inputs).dtype)
            return super().losses(rows, inputs)

    mixed, plain = Watch(), Regression()
    trainer(mixed, precision="bf16").run()
    trainer(plain).run()
    assert kinds == {torch.bfloat16}
    for found, expected in zip(mixed.weights(), plain.weights(), strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)
        assert not torch.equal(found, expected)


def test_torchs_random_state_stays() -> None:
    made = trainer(Regression(dropout=0.5))
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    flags = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    made.run()
    assert torch.equal(torch.rand(3), expected)
    assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark) == flags


def test_dropout_is_of_the_seed() -> None:
    """Torch's global state plays no part; the runs' order is the same, so that dropout alone can differ."""

    def weights(seed: int, state: int) -> torch.Tensor:
        task = Regression(dropout=0.5)
        made = trainer(task, seed=seed)
        made.sampler = BatchSampler(24, 8, 0)
        torch.manual_seed(state)
        made.run()
        return task.weights()[0]

    assert torch.equal(weights(0, 1), weights(0, 2))
    assert not torch.equal(weights(0, 1), weights(1, 1))
