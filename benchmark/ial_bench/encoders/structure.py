"""What a network computes beside its weights, as a digest: one weights file can serve networks that differ."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from typing import Any

import torch
from torch import nn

from ial_bench.json_files import digest

_DISTRIBUTIONS = {
    "open_clip": "open_clip_torch",
    "timm": "timm",
    "torchvision": "torchvision",
    "transformers": "transformers",
}
_NO_ARITHMETIC = {"training", "inplace", "fused_attn", "grad_checkpointing", "image_mean", "image_std", "name_or_path"}
"""What changes memory or speed alone, open_clip's copies of the preprocessing, and where transformers read from."""


def structure_of(model: nn.Module) -> str:
    """SHA-256 over a module tree: names, classes, settings, and tensors that no checkpoint holds.

    Two networks whose checkpoints fit each other differ here where they compute something else: in padding,
    activation, epsilon, pooling, a mask. Weights and their values are left out, and so is what a library keeps for
    its own book-keeping: private attributes, dictionaries, and settings that change memory or speed alone.
    """
    facts: list[Any] = []
    for name, module in model.named_modules():
        settings = {
            key: told
            for key, value in sorted(vars(module).items())
            if not key.startswith("_") and key not in _NO_ARITHMETIC and (told := _told(value)) is not None
        }
        facts.append([name, type(module).__qualname__, settings])
    stored = model.state_dict().keys()
    masks = {name: tensor for name, tensor in model.named_buffers() if name not in stored}
    return digest({"modules": facts, "buffers": tensor_digest(masks)})


def libraries_of(*models: nn.Module) -> dict[str, str]:
    """Installed versions of the libraries whose classes the models are made of: what defines their arithmetic.

    torch itself is left out: its modules mean the same in every release, up to rounding.
    """
    homes = {type(module).__module__.partition(".")[0] for model in models for module in model.modules()}
    return {name: version(name) for home, name in sorted(_DISTRIBUTIONS.items()) if home in homes}


def tensor_digest(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over the tensors' names, types, shapes and values."""
    total = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        values = tensor.detach().cpu().contiguous()
        total.update(f"{name}|{values.dtype}|{tuple(values.shape)}|".encode())
        total.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _told(value: Any) -> Any:
    """A setting as a JSON value; None for what is no setting: modules, tensors, dictionaries, objects."""
    if isinstance(value, (bool, int, float, str)):
        return [type(value).__name__, str(value)] if isinstance(value, float) else value
    if isinstance(value, (list, tuple)):
        told = [_told(v) for v in value]
        return None if any(t is None for t in told) else told
    if isinstance(value, partial):
        return [
            _told(value.func),
            [_told(v) for v in value.args],
            {k: _told(v) for k, v in sorted(value.keywords.items())},
        ]
    if callable(value) and not isinstance(value, nn.Module):
        return getattr(value, "__qualname__", type(value).__qualname__)
    return None
