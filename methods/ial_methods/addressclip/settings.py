"""Settings of AddressCLIP."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from ial_bench import Candidates
from ial_bench.training.clip_method import ClipTrainingMethod

Loss = Literal["address", "caption", "geography"]
_ALL: tuple[Loss, ...] = ("address", "caption", "geography")

PAPER = {
    "epochs": 100, "batch_size": 256, "optimiser": "adam", "learning_rate": 2.4e-5, "final_rate": 1e-3, "warm_up": 0.0,
    "betas": (0.9, 0.98), "weight_decay": 0.0, "text_rate": 1.0, "clip_norm": None, "min_scale": 1.0, "jitter": 0.0,
}  # fmt: skip


class AddressClipConfig(ClipTrainingMethod.Config):
    """Settings; the defaults of the schedule are sized for a city of some thousand photos."""

    losses: tuple[Loss, ...] = Field(_ALL, min_length=1, description="address, caption, geography, joined by +; all")
    weight_address: float = Field(1.0, ge=0, description="of L_address")
    weight_caption: float = Field(0.2, ge=0, description="of L_caption")
    weight_geography: float = Field(0.8, ge=0, description="of L_geography")
    geography_target: Literal["distance", "literal"] = Field(
        "distance", description="distance, or literal: the formula as printed"
    )
    geography_extent: Literal["batch", "dataset"] = Field(
        "batch", description="what positions are scaled over: the batch, as in the paper, or the dataset"
    )
    address_text: Literal["canonical", "verbose"] = Field(
        "canonical", description="form of addresses as texts: canonical, as in tables, or verbose, as spoken"
    )
    train: Literal["both", "image", "text", "none"] = Field(
        "both", description="towers that are trained; none: CLIP as it was"
    )
    positives: Literal["one", "all"] = Field(
        "one",
        description="right captions of a photo in a batch: its own (the paper), or all of its address. "
        "For L_address both are the same: photos of one address have one text",
    )
    batches: Literal["random", "distinct-places"] = Field(
        "random", description="distinct-places: no two photos of one place in a batch, where that can be"
    )
    text_rate: float = Field(5.0, gt=0, description="factor on the learning rate of the text tower")
    batch_size: int = Field(32, ge=1, description="photos of a step, over all processes")
    epochs: int = Field(8, ge=1, description="passes over the train photos; the best by val SSA-1 is kept")
    learning_rate: float = Field(3e-4, gt=0, description="the largest, of the image tower")
    weight_decay: float = Field(0.05, ge=0, description="of matrices")
    min_scale: float = Field(0.85, gt=0, le=1, description="side of the smallest cut, as a share")
    jitter: float = Field(0.1, ge=0, le=1, description="strength of brightness, contrast and tint changes")

    @field_validator("losses", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if isinstance(value, str):
            return _ALL if value == "all" else tuple(value.split("+"))
        return value

    @field_validator("losses")
    @classmethod
    def _in_order(cls, value: tuple[Loss, ...]) -> tuple[Loss, ...]:
        return tuple(name for name in _ALL if name in value)  # one order, one identity

    def address_texts(self, candidates: Candidates) -> list[str]:
        """Each candidate as text, in the configured form."""
        return candidates.texts if self.address_text == "canonical" else [a.verbose for a in candidates.addresses]
