"""Settings of metric learning, and which train photos are to be alike."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from ial_bench import Photos
from ial_bench.encoders.spec import OWN_POOLING, POOLING_FORMS, PoolingSpec
from ial_bench.geo.projections import utm_metres
from ial_bench.training.config import PhotoTrainingConfig

Positives = Literal["address", "place", "view"]


class MetricConfig(PhotoTrainingConfig):
    """Settings; the defaults of the schedule are sized for a city of some thousand photos."""

    loss: Literal["multi-similarity", "cosface"] = Field(
        "multi-similarity", description="multi-similarity, with its miner, or cosface"
    )
    positives: Positives = Field(
        "address",
        description="photos that are alike: of one address, of one place, or of one view: a square and a heading",
    )
    cell_m: float = Field(10.0, gt=0, description="side of the squares of positives=view, metres")
    cell_degrees: float = Field(30.0, gt=0, le=360, description="width of the headings of positives=view")
    views: int = Field(4, ge=2, description="photos of a class in a batch of multi-similarity")
    pooling: str = Field(OWN_POOLING, description=f"of the trained tower: {POOLING_FORMS}")
    netvlad_photos: int = Field(1000, ge=1, description="train photos whose local features start netvlad's centres")
    head_rate: float = Field(1.0, gt=0, description="factor on the learning rate of a pooling that is trained")
    alpha: float = Field(2.0, gt=0, description="of multi-similarity: how sharply near positives count less")
    beta: float = Field(50.0, gt=0, description="of multi-similarity: how sharply far negatives count less")
    base: float = Field(0.5, ge=-1, le=1, description="of multi-similarity: the cosine between both")
    epsilon_mined: float = Field(0.1, ge=0, description="of multi-similarity's miner: its margin, a cosine")
    margin: float = Field(0.35, ge=0, lt=2, description="of cosface, a cosine")
    scale: float = Field(30.0, gt=0, description="of cosface: factor on cosines")
    classifier_rate: float = Field(10.0, gt=0, description="factor on the learning rate of cosface's classes")
    epochs: int = Field(8, ge=1, description="passes over the train photos; the best by val SSA-1 is kept")
    batch_size: int = Field(64, ge=1, description="photos of a step, over all processes")
    learning_rate: float = Field(4e-4, gt=0, description="the largest, of the image tower")
    weight_decay: float = Field(0.05, ge=0, description="of matrices")
    min_scale: float = Field(0.85, gt=0, le=1, description="side of the smallest cut, as a share")
    jitter: float = Field(0.1, ge=0, le=1, description="strength of brightness, contrast and tint changes")

    @field_validator("pooling")
    @classmethod
    def _is_a_pooling(cls, text: str) -> str:
        PoolingSpec.parse(text)
        return text


def classes_of(
    photos: Photos, positives: Positives, cell_m: float, cell_degrees: float
) -> tuple[npt.NDArray[np.int64], int]:
    """A class from 0 for each photo, int64 [n], and how many classes there are.

    Args:
        photos: labelled photos.
        positives: what photos of a class have in common. ``address``; ``place``, its id; ``view``, a square of the
            city and a sector that the camera looks into (Berton et al., CosPlace, CVPR 2022, eq. 1). Photos whose
            heading is unknown share a sector of their own.
        cell_m: side of the squares, metres of UTM.
        cell_degrees: width of the sectors.
    """
    if positives == "address":
        keys = photos.labels[:, None].astype(np.int64)
    elif positives == "place":
        keys = photos.places[:, None]
    else:
        squares = np.floor(utm_metres(photos.positions) / cell_m)
        sectors = np.floor(np.nan_to_num(photos.headings, nan=-cell_degrees) / cell_degrees)
        keys = np.concatenate([squares, sectors[:, None]], axis=1).astype(np.int64)
    different, classes = np.unique(keys, axis=0, return_inverse=True)
    return classes.reshape(-1).astype(np.int64), len(different)
