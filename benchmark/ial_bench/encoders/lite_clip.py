"""lite0: a CLIP whose image tower comes trained from a package, and whose texts mean nothing before training.

What no package holds is drawn as CLIP's authors draw it (Radford et al., 2021), but evenly and by integers, so that all
machines and releases of torch begin with the same bytes.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ial_bench.encoders.packages import Package
from ial_bench.encoders.timm_backbone import packaged_trunk
from ial_bench.seeds import generator

_TRUNK = "visual.trunk."
_KEPT = ("ln_1.", "ln_2.", "ln_final.", "logit_scale")
"""Norms and the scale of logits begin with constants."""


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
