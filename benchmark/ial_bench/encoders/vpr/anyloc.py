"""AnyLoc: DINOv2's values at one layer, aggregated by VLAD over a vocabulary of the authors.

Keetha et al., AnyLoc: Towards Universal Visual Place Recognition, RA-L 2024 (AnyLoc-VLAD-DINOv2); VLAD after Jegou et
al., CVPR 2010, with the intra-normalisation of Arandjelovic and Zisserman, All about VLAD, CVPR 2013. Nothing was
trained: its weights are DINOv2's, and a vocabulary ``c_centers.pt`` [clusters, width] for a domain such as urban.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ial_bench.encoders.vpr.dinov2 import embed

LAYER = 31  # of ViT-g/14's 40, counted from 0
CLUSTERS = 32  # of the vocabularies that were released


def vlad(x: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """Local features to the normalised sums of their residuals.

    Args:
        x: [n, m, d], of length 1.
        centres: [k, d].

    Returns:
        [n, k x d] of length 1: each feature counts for the centre of highest cosine, each centre's sum of residuals
        is brought to length 1, and then the whole. A centre that no feature counts for is 0.
    """
    nearest = (x @ functional.normalize(centres, dim=1).T).argmax(dim=-1)
    member = functional.one_hot(nearest, len(centres)).to(x.dtype)  # [n, m, k]
    sums = member.transpose(1, 2) @ x - member.sum(dim=1)[:, :, None] * centres
    return functional.normalize(functional.normalize(sums, dim=-1).flatten(1), dim=-1)


class AnyLoc(nn.Module):
    """A photo to a descriptor of length 1.

    Args:
        vit: DINOv2, of `build_dinov2`; its blocks behind `layer` are dropped.
        centres: [k, width], the vocabulary.
        layer: whose values are aggregated, counted from 0.
    """

    centres: torch.Tensor

    def __init__(self, vit: Any, centres: torch.Tensor, layer: int = LAYER) -> None:
        super().__init__()
        vit.blocks = vit.blocks[: layer + 1]
        self.model = vit
        self.register_buffer("centres", centres)

    def values(self, pixels: torch.Tensor) -> torch.Tensor:
        """Photos [n, 3, h, w], h and w multiples of 14, to the values [n, h / 14 x w / 14, width], of length 1."""
        x = embed(self.model, pixels)
        for block in self.model.blocks[:-1]:
            x = block(x)
        last = self.model.blocks[-1]
        value = last.attn.qkv(last.norm1(x)).chunk(3, dim=-1)[2]
        return functional.normalize(value[:, 1:], dim=-1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """float32 [n, 3, h, w] to [n, k x width]."""
        return vlad(self.values(pixels), self.centres)
