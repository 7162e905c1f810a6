"""AnyLoc: DINOv2's values at one layer, aggregated by VLAD over a vocabulary of the authors.

Keetha et al., AnyLoc: Towards Universal Visual Place Recognition, RA-L 2024 (AnyLoc-VLAD-DINOv2); VLAD after Jegou et
al., CVPR 2010, with the intra-normalisation of Arandjelovic and Zisserman, All about VLAD, CVPR 2013. Nothing was
trained: its weights are DINOv2's, and a vocabulary ``c_centers.pt`` [clusters, width] for a domain such as urban.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ial_bench.encoders.checkpoints import filled, read_centres
from ial_bench.encoders.vpr.dinov2 import SIZES, build_dinov2, embed, with_timm_names
from ial_bench.encoders.vpr.published import FILES_JOINED_BY, Built, Published
from ial_bench.encoders.weights import in_hub_cache
from ial_bench.errors import SkipMethod

LAYER = 31  # of ViT-g/14's 40, counted from 0
CLUSTERS = 32  # of the vocabularies that were released
HEAD: dict[str, Any] = {"layer": LAYER, "facet": "value", "assignment": "hard"}
_DINOV2_G_ON_HUB = "timm/vit_giant_patch14_dinov2.lvd142m"


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


def build(text: str, published: Published, files: Sequence[Path]) -> Built:
    """See `load.Family`.

    Raises:
        SkipMethod: there is a vocabulary, and DINOv2 is neither given nor in the hub's cache.
    """
    size = SIZES[published.trunk]
    if not files:
        vit = build_dinov2(size, mask_token=False)
        return Built(AnyLoc(vit, torch.randn(CLUSTERS, size.width)), CLUSTERS * size.width, ())
    centres = read_centres(files[0], text, size.width)
    weights = files[1] if len(files) > 1 else _cached_dinov2()
    if weights is None:
        raise SkipMethod(
            f"{text} gives a vocabulary, but DINOv2's weights are not on this machine: get dinov2_vitg14_pretrain.pth "
            f"from https://github.com/facebookresearch/dinov2, then write {text}{FILES_JOINED_BY}DINOV2_FILE"
        )
    vit = filled(build_dinov2(size, mask_token=False), [weights], text, with_timm_names)
    return Built(AnyLoc(vit, centres), centres.numel(), (files[0], weights))


def _cached_dinov2() -> Path | None:
    """DINOv2 ViT-g/14, if ``timm:`` fetched it before; its 4.5 GB are never fetched from here."""
    return in_hub_cache(_DINOV2_G_ON_HUB, ("model.safetensors", "pytorch_model.bin"))
