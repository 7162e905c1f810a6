"""Contrastive training of a location encoder on cached features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ial_bench import Features
from ial_bench.training.loop import full_precision
from ial_bench.training.order import Rows, step_candidates
from ial_methods.two_stage.location_loss import photo_position_nce
from ial_methods.two_stage.task import LocatingTask

if TYPE_CHECKING:
    from ial_methods.two_stage.location import LocationStage


class LocationTask(LocatingTask):
    """Photos' features against the positions of their batch, each distinct one once.

    Every process encodes all positions of the joint batch: they are few and their encoder is small, and the step is
    then the one of a single process.

    Args:
        stage1: whose model is trained.
        train: photos to learn from.
        val: photos to choose the epoch on.
        metres: float32 [p, 2], the distinct positions of the train photos.
        position: int64 [n], which of them each train photo has.

    Raises:
        SkipMethod: there is nothing to learn from.
    """

    _stage1: LocationStage

    def __init__(
        self, stage1: LocationStage, train: Features, val: Features, metres: npt.NDArray[np.float32], position: Rows
    ) -> None:
        super().__init__(stage1, train, val)
        self._metres, self._position = torch.from_numpy(metres), position

    @property
    def module(self) -> nn.Module:
        """Both encoders and the factor on cosines."""
        return self._stage1.model

    def losses(self, rows: Rows, inputs: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """`photo_position_nce` over the joint batch, with further positions of train photos as wrong answers."""
        model, config, context = self._stage1.model, self._stage1.config, self._stage1.context
        photos = self._ranks.gather(model.photos(inputs.to(context.device)).float())
        own = self._ranks.gather(torch.from_numpy(self._position[rows]).to(context.device)).cpu().numpy()
        wanted = len(np.unique(own)) + config.extra_positions
        drawn = step_candidates(own, len(self._metres), wanted, context.seed, self.trainer.log.steps)
        asked = np.arange(len(self._metres)) if drawn is None else drawn
        positions = model.locations(self._metres[torch.from_numpy(asked)].to(context.device)).float()
        target = torch.from_numpy(np.searchsorted(asked, own)).to(photos.device)
        with full_precision(photos.device):
            return {"loss": photo_position_nce(photos, positions, target, model.log_scale.exp())}

    def after_step(self) -> None:
        """Keep the factor on cosines where CLIP keeps it."""
        self._stage1.model.clamp_scale()

    def val_ssa1(self) -> float | None:
        """SSA-1 on val by the nearest train place, located among train positions."""
        if len(self._val) == 0:
            return None
        self._stage1.index([self._train], "")
        return super().val_ssa1()
