"""MixVPR: a ResNet without its last stage, and a cascade of multi-layer perceptrons over whole feature maps.

Ali-bey et al., MixVPR: Feature Mixing for Visual Place Recognition, WACV 2023, sec. 3. Names and shapes of the
state dict are those of the released files: ``backbone.model.*``, ``aggregator.mix.0.mix.0.weight``, ...,
``aggregator.channel_proj.*``, ``aggregator.row_proj.weight``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ial_bench.encoders.checkpoints import filled
from ial_bench.encoders.vpr.published import Built, Published

HEAD: dict[str, Any] = {}
DEPTH = 4
SHAPES = {4096: (1024, 4), 512: (256, 2), 128: (64, 2)}
"""Descriptor length: its channels and rows, as released."""
_STAGES = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3")


class CroppedResNet(nn.Module):
    """A ResNet up to its third stage.

    Args:
        trunk: torchvision's name of it.
    """

    def __init__(self, trunk: str) -> None:
        super().__init__()
        from torchvision import models

        self.model: Any = getattr(models, trunk)(weights=None)
        self.width = int(self.model.fc.in_features) // 2
        del self.model.layer4, self.model.avgpool, self.model.fc

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """[n, 3, h, w] to [n, width, h / 16, w / 16]."""
        x = pixels
        for stage in _STAGES:
            x = getattr(self.model, stage)(x)
        return x


class FeatureMixer(nn.Module):
    """One block of the cascade: each channel's whole map through a perceptron, added to itself."""

    def __init__(self, positions: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            nn.LayerNorm(positions), nn.Linear(positions, positions), nn.ReLU(), nn.Linear(positions, positions)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, channels, positions] to the same shape."""
        return x + self.mix(x)  # type: ignore[no-any-return]


class Aggregator(nn.Module):
    """The cascade and the two projections.

    Args:
        width: channels of the trunk.
        positions: of its map, height x width.
        channels: of the descriptor.
        rows: of the descriptor.
        depth: blocks.
    """

    def __init__(self, width: int, positions: int, channels: int, rows: int, depth: int = DEPTH) -> None:
        super().__init__()
        self.mix = nn.Sequential(*(FeatureMixer(positions) for _ in range(depth)))
        self.channel_proj = nn.Linear(width, channels)
        self.row_proj = nn.Linear(positions, rows, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, width, h, w] to [n, channels x rows] of length 1, rows innermost."""
        x = self.mix(x.flatten(2))
        x = self.channel_proj(x.transpose(1, 2)).transpose(1, 2)
        return functional.normalize(self.row_proj(x).flatten(1), dim=-1)


class MixVPR(nn.Module):
    """A photo to a descriptor of length 1.

    Args:
        trunk: torchvision's name of a ResNet.
        dim: length of the descriptor: 4096, 512 or 128.
        side: of the photos, in pixels, a multiple of 16: the perceptrons are as wide as the map.
    """

    def __init__(self, trunk: str, dim: int, side: int) -> None:
        super().__init__()
        self.backbone = CroppedResNet(trunk)
        self.aggregator = Aggregator(self.backbone.width, (side // 16) ** 2, *SHAPES[dim])

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """float32 [n, 3, side, side] to [n, dim]."""
        return self.aggregator(self.backbone(pixels))  # type: ignore[no-any-return]


def build(text: str, published: Published, files: Sequence[Path]) -> Built:
    """See `load.Family`."""
    return Built(filled(MixVPR(published.trunk, published.dim, published.crop[0]), files, text), published.dim, files)
