"""CosPlace and EigenPlaces: a torchvision trunk, generalised-mean pooling and a linear layer.

Berton et al., Rethinking Visual Geo-localization for Large-Scale Applications, CVPR 2022; Berton et al., EigenPlaces,
ICCV 2023. They differ only in how they were trained. Names and shapes of the state dict are those of the released
files: ``backbone.0.weight``, ..., ``aggregation.1.p``, ``aggregation.3.weight``, ``aggregation.3.bias``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ial_bench.encoders.checkpoints import filled
from ial_bench.encoders.pooling import GeM
from ial_bench.encoders.vpr.published import Built, Published

HEAD: dict[str, Any] = {}


class L2Norm(nn.Module):
    """Each feature [n, c, ...] to length 1 over its channels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same shape; zeros stay zeros."""
        return functional.normalize(x, dim=1)


class CosPlace(nn.Module):
    """A photo to a descriptor of length 1.

    Args:
        trunk: torchvision's name of a ResNet or ``vgg16``.
        dim: length of the descriptor.
    """

    def __init__(self, trunk: str, dim: int) -> None:
        super().__init__()
        from torchvision import models

        network: Any = getattr(models, trunk)(weights=None)
        if trunk.startswith("vgg"):  # without the last ReLU and the pooling behind it
            layers, width = list(network.features.children())[:-2], 512
        else:  # without average pooling and classifier
            layers, width = list(network.children())[:-2], int(network.fc.in_features)
        self.backbone = nn.Sequential(*layers)
        self.aggregation = nn.Sequential(L2Norm(), GeM(), nn.Flatten(), nn.Linear(width, dim), L2Norm())

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """float32 [n, 3, h, w] to [n, dim]."""
        return self.aggregation(self.backbone(pixels))  # type: ignore[no-any-return]


def build(text: str, published: Published, files: Sequence[Path]) -> Built:
    """See `load.Family`."""
    return Built(filled(CosPlace(published.trunk, published.dim), files, text), published.dim, files)
