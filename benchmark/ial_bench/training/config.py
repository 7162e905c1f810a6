"""Settings that every trained method has, with one meaning everywhere."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from ial_bench.method import MethodConfig

Precision = Literal["fp32", "bf16", "fp16"]


class TrainingConfig(MethodConfig):
    """How a method is trained. Part of the run's identity, all of it."""

    epochs: int = Field(10, ge=1, description="passes over the train photos; the best by val SSA-1 is kept")
    batch_size: int = Field(64, ge=1, description="photos of a step, over all processes")
    accumulate: int = Field(1, ge=1, description="steps whose gradients are added up before the weights change")
    optimiser: Literal["adam", "adamw", "sgd"] = Field("adamw", description="adam, adamw or sgd")
    learning_rate: float = Field(1e-3, gt=0, description="the largest, reached after the warm-up")
    final_rate: float = Field(0.0, ge=0, le=1, description="the last learning rate, as a share of the largest")
    warm_up: float = Field(0.05, ge=0, lt=1, description="share of all steps in which the rate rises in a line")
    betas: tuple[float, float] = Field((0.9, 0.98), description="of Adam; the first is the momentum of SGD")
    epsilon: float = Field(1e-8, gt=0, description="of Adam, added to the root of its second moment")
    weight_decay: float = Field(0.0, ge=0, description="of matrices; vectors and scalars are never decayed")
    clip_norm: float | None = Field(1.0, gt=0, description="largest norm of the gradient; null: not clipped")
    precision: Precision = Field("fp32", description="of the towers: fp32, bf16 or fp16 (mixed, CUDA alone)")

    @model_validator(mode="after")
    def _betas_below_one(self) -> TrainingConfig:
        if not all(0 <= b < 1 for b in self.betas):
            raise ValueError("betas lie from 0 to below 1")
        return self

    def steps_over(self, photos: int) -> int:
        """Steps in all for this many train photos; an epoch leaves out those that do not fill a batch."""
        return self.epochs * (photos // max(1, min(self.batch_size, photos)))

    def rate_at(self, step: int, steps: int) -> float:
        """Share of the largest learning rate at `step` of `steps`: linear warm-up, then cosine decay."""
        rising = math.ceil(self.warm_up * steps)
        if step < rising:
            return (step + 1) / rising
        share = (step - rising) / max(1, steps - rising)
        return self.final_rate + (1 - self.final_rate) * 0.5 * (1 + math.cos(math.pi * share))


class AugmentationConfig(MethodConfig):
    """How photos are augmented. They are never mirrored: a mirrored street is another street."""

    min_scale: float = Field(
        1.0, gt=0, le=1, description="side of the smallest square cut from a photo, as a share of its shorter side"
    )
    jitter: float = Field(0.0, ge=0, le=1, description="strength of brightness, contrast and tint changes")


class PhotoTrainingConfig(TrainingConfig, AugmentationConfig):
    """How a method is trained on photos."""
