"""DINOv2's vision transformers on timm's modules, with the authors' names and their resizing of positions.

Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, TMLR 2024. timm resizes the embeddings of
positions with antialiasing; DINOv2's own code, with which SALAD and AnyLoc were made, does not, and enlarges the
grid by a tenth of a position. The features differ, so this follows the original code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

PATCH = 14
_OFFSET = 0.1  # of a position, added to the grid's height and width


@dataclass(frozen=True)
class Size:
    """A member of the family.

    Attributes:
        width: length of a token.
        depth: blocks.
        heads: of attention.
        gated: whether its perceptrons are SwiGLU.
        grid: height and width of the stored grid of positions; 37 x 37 for photos of 518 pixels.
    """

    width: int
    depth: int
    heads: int
    gated: bool = False
    grid: int = 37


SIZES = {"vitb14": Size(768, 12, 12), "vitg14": Size(1536, 40, 24, gated=True)}


def build_dinov2(size: Size, mask_token: bool) -> Any:
    """An untrained timm VisionTransformer of that size.

    Args:
        size: which.
        mask_token: whether it holds DINOv2's mask token too, which released checkpoints of whole models do.
    """
    from timm.layers import SwiGLUPacked
    from timm.models.vision_transformer import VisionTransformer

    hidden = (size.width * 4 * 2 // 3 + 7) // 8 * 8  # of a gated perceptron, each of its two halves
    gated = {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU, "mlp_ratio": 2 * hidden / size.width}
    model = VisionTransformer(
        img_size=PATCH * size.grid, patch_size=PATCH, embed_dim=size.width, depth=size.depth, num_heads=size.heads,
        init_values=1.0, num_classes=0, global_pool="token", norm_layer=partial(nn.LayerNorm, eps=1e-6),
        **(gated if size.gated else {}),
    )  # fmt: skip
    if mask_token:
        model.mask_token = nn.Parameter(torch.zeros(1, size.width))
    return model


def with_timm_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """DINOv2's own state dict with timm's names for the parts of a gated perceptron, and without the mask token."""
    renamed = {k.replace(".mlp.w12.", ".mlp.fc1.").replace(".mlp.w3.", ".mlp.fc2."): v for k, v in state.items()}
    renamed.pop("mask_token", None)
    return renamed


def positions(embedding: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """The embeddings of a class token and a grid of positions, the grid resized.

    Args:
        embedding: [1, 1 + side x side, width].
        rows: of the photo's grid.
        columns: of the photo's grid.

    Returns:
        [1, 1 + rows x columns, width].
    """
    side = math.isqrt(embedding.shape[1] - 1)
    if (rows, columns) == (side, side):
        return embedding
    grid = embedding[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    scale = ((rows + _OFFSET) / side, (columns + _OFFSET) / side)
    grid = functional.interpolate(grid, scale_factor=scale, mode="bicubic")
    return torch.cat([embedding[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)


def embed(vit: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Photos [n, 3, h, w], h and w multiples of 14, to tokens [n, 1 + h / 14 x w / 14, width] before the blocks."""
    x = vit.patch_embed.proj(pixels)
    rows, columns = x.shape[-2:]
    x = torch.cat([vit.cls_token.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], dim=1)
    return x + positions(vit.pos_embed, rows, columns)
