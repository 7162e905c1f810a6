"""The image tower of tiny-street, registered with timm: a convolutional stem, then a small vision transformer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from timm.layers import HybridEmbed
from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer
from torch import nn

PIXELS = 64
STEM = (32, 64, 128, 192)
"""Channels after each halving of the photo: 64 pixels become 4 x 4 tokens."""
WIDTH, BLOCKS, HEADS, MLP_RATIO = 192, 4, 3, 2


def stem(channels: Sequence[int] = STEM) -> nn.Sequential:
    """[n, 3, h, w] to [n, channels[-1], h / 2**k, w / 2**k], k = len(channels).

    Convolutions see edges and windows from few photos; patches of 16 pixels cut from small photos would not.
    """
    layers: list[nn.Module] = []
    for before, after in zip((3, *channels), channels, strict=False):
        layers += [
            nn.Conv2d(before, after, kernel_size=3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.GELU(),
        ]
    return nn.Sequential(*layers)


@register_model  # type: ignore[untyped-decorator]
def ial_tiny_street_vit(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """Float [n, 3, 64, 64] to features [n, 192] of a class token beside 4 x 4 tokens."""
    if pretrained:
        raise RuntimeError("timm has no weights of this tower: load openclip:tiny-street/synth")
    given = {k: v for k, v in kwargs.items() if not k.startswith("pretrained_cfg") and k != "cache_dir"}
    model = VisionTransformer(
        **{
            "img_size": PIXELS, "patch_size": 1, "embed_dim": WIDTH, "depth": BLOCKS, "num_heads": HEADS,
            "mlp_ratio": MLP_RATIO, "num_classes": 0, "embed_layer": partial(HybridEmbed, backbone=stem()), **given,
        }
    )  # fmt: skip
    model.default_cfg = model.pretrained_cfg = {
        "architecture": "ial_tiny_street_vit", "input_size": (3, PIXELS, PIXELS), "pool_size": None,
        "first_conv": "patch_embed.backbone.0", "classifier": "head", "num_classes": 0,
    }  # fmt: skip
    return model
