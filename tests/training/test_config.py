"""Settings of trainings: the schedule's shape, and values that are refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ial_bench.training.config import AugmentationConfig, TrainingConfig


@settings(derandomize=True, deadline=None)
@given(
    steps=st.integers(1, 300),
    warm_up=st.floats(0, 0.99),
    final=st.floats(0, 1),
)
def test_the_schedule_rises_in_a_line_and_falls_in_a_cosine(steps: int, warm_up: float, final: float) -> None:
    config = TrainingConfig(warm_up=warm_up, final_rate=final)
    rates = [config.rate_at(s, steps) for s in range(steps)]
    rising = math.ceil(warm_up * steps)
    for s, rate in enumerate(rates):
        if s < rising:
            assert rate == pytest.approx((s + 1) / rising)
        else:
            angle = math.pi * (s - rising) / (steps - rising)
            assert rate == pytest.approx((1 + final) / 2 + (1 - final) / 2 * math.cos(angle))
    assert max(rates) == pytest.approx(1.0)
    assert min(rates) >= min(final, 1 / max(rising, 1)) - 1e-9
    assert rates[rising:] == sorted(rates[rising:], reverse=True)


def test_without_warm_up_the_first_step_is_the_largest() -> None:
    config = TrainingConfig(warm_up=0.0)
    assert config.rate_at(0, 10) == 1.0
    assert config.rate_at(5, 10) == pytest.approx(0.5)
    assert config.rate_at(0, 1) == 1.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0}, {"batch_size": 0}, {"accumulate": 0}, {"optimiser": "lion"}, {"learning_rate": 0.0},
        {"learning_rate": math.inf}, {"final_rate": 1.5}, {"warm_up": 1.0}, {"betas": (0.9, 1.0)}, {"clip_norm": 0.0},
        {"weight_decay": -0.1}, {"precision": "fp8"}, {"unknown": 1},
    ],
)  # fmt: skip
def test_values_that_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TrainingConfig.model_validate(wrong)


@pytest.mark.parametrize("wrong", [{"min_scale": 0.0}, {"min_scale": 1.1}, {"jitter": -0.1}, {"mirror": True}])
def test_views_that_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AugmentationConfig.model_validate(wrong)
