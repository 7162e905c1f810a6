"""The small CLIP models that come with the harness: lite0 and tiny-street.

lite0's image tower comes trained from a package; its texts mean nothing before training. What the package does not hold
is drawn as CLIP's authors draw it (Radford et al., 2021), but evenly and by integers, so that all machines and releases
of torch begin with the same bytes. tiny-street's image tower is a convolutional stem and a small vision transformer;
importing this module registers it with timm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.layers import HybridEmbed
from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ial_bench.encoders.timm_backbone import packaged_trunk
from ial_bench.encoders.weights import Package
from ial_bench.seeds import generator

_TRUNK = "visual.trunk."
_KEPT = ("ln_1.", "ln_2.", "ln_final.", "logit_scale")
"""Norms and the scale of logits begin with constants."""
PIXELS = 64
STEM = (32, 64, 128, 192)
"""Channels after each halving of the photo: 64 pixels become 4 x 4 tokens."""
WIDTH, BLOCKS, HEADS, MLP_RATIO = 192, 4, 3, 2


def start_on(model: Any, package: Package, file: Path) -> None:
    """Give an untrained CLIP the package's image tower, and first weights for the rest that depend on nothing else.

    Args:
        model: open_clip's CLIP on a timm trunk.
        package: with weights of that trunk.
        file: the package's, as it is installed.

    Raises:
        DataError: the weights do not fit the trunk.
    """
    trunk = model.visual.trunk
    trunk.load_state_dict(packaged_trunk(package, file, trunk))
    layers = len(model.transformer.resblocks)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith(_TRUNK) or any(kept in name for kept in _KEPT):
                continue
            parameter.copy_(_drawn(name, tuple(parameter.shape), layers))


def _drawn(name: str, shape: tuple[int, ...], layers: int) -> torch.Tensor:
    """Numbers spread evenly around 0; zeros for biases."""
    if name.endswith("bias"):
        return torch.zeros(shape)
    half = np.float32(_deviation(name, shape, layers) * math.sqrt(3))
    return torch.from_numpy((2 * generator("lite", name).random(shape, np.float32) - 1) * half)


def _deviation(name: str, shape: tuple[int, ...], layers: int) -> float:
    """Standard deviation at the start of a matrix of CLIP."""
    if name.startswith("token_embedding"):
        return 0.02
    if name.startswith("positional_embedding"):
        return 0.01
    into = shape[0] if name == "text_projection" else shape[-1]  # open_clip multiplies by it from the right
    if name.endswith("mlp.c_fc.weight"):
        return float((2 * into) ** -0.5)
    if name.endswith(("out_proj.weight", "mlp.c_proj.weight")):
        return float(shape[0] ** -0.5 * (2 * layers) ** -0.5)
    return float(into**-0.5)


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
