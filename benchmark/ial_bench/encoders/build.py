"""What all encoders are built with: a fixed seed, inference, transforms of arrays, and the card.

The card has a digest of what a network computes beside its weights, since one weights file can serve several networks.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ial_bench.encoders.encoder import FLOAT32, EncoderCard, Precision, file_fact
from ial_bench.errors import ConfigError
from ial_bench.images import RGB
from ial_bench.json_files import digest

_RANDOM_INIT_SEED = 0
_DISTRIBUTIONS = {
    "open_clip": "open_clip_torch",
    "timm": "timm",
    "torchvision": "torchvision",
    "transformers": "transformers",
}
_NO_ARITHMETIC = {"training", "inplace", "fused_attn", "grad_checkpointing", "image_mean", "image_std", "name_or_path"}
"""What changes memory or speed alone, open_clip's copies of the preprocessing, and where transformers read from."""


@contextmanager
def quiet_build() -> Iterator[None]:
    """Build a model from a fixed seed, leaving torch's own random state as it was.

    The libraries' notes on activations and missing weights are kept quiet: both are settled here.
    """
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        torch.manual_seed(_RANDOM_INIT_SEED)
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def inference(
    encode: Callable[[torch.Tensor], torch.Tensor], precision: Precision = FLOAT32
) -> Callable[[torch.Tensor], torch.Tensor]:
    """`encode` without gradients, in `precision` where the network leaves it open, to float32."""

    def run(pixels: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            if precision == FLOAT32:
                return encode(pixels).float()
            with torch.autocast(pixels.device.type, dtype=getattr(torch, precision)):
                return encode(pixels).float()

    return run


def blank(preprocess: Callable[[RGB], torch.Tensor], device: str) -> torch.Tensor:
    """float32 [1, 3, h, w]: a black photo, prepared."""
    return preprocess(np.zeros((64, 64, 3), dtype=np.uint8))[None].to(device)


def feature_dim(
    encode: Callable[[torch.Tensor], Any], preprocess: Callable[[RGB], torch.Tensor], name: str, device: str
) -> int:
    """Length of the feature of a blank photo: what the network gives, not what it says that it gives.

    Raises:
        ConfigError: it gives no single feature a photo.
    """
    with torch.inference_mode():
        given = encode(blank(preprocess, device))
    if not isinstance(given, torch.Tensor) or given.ndim != 2:
        what = f"a tensor {list(given.shape)}" if isinstance(given, torch.Tensor) else f"a {type(given).__name__}"
        raise ConfigError(
            f"{name} gives {what} for a photo, not one feature",
            "pool its map, where it has one: timm:MODEL+avg, +gem or +max; or choose another model",
        )
    return int(given.shape[1])


@dataclass(frozen=True)
class OnArrays:
    """A library's transform of PIL images, applied to arrays. A class, so that it reaches worker processes."""

    transform: Callable[[Any], torch.Tensor]

    def __call__(self, photo: RGB) -> torch.Tensor:
        """float32 [3, h, w]."""
        from PIL import Image

        return self.transform(Image.fromarray(photo))


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` as JSON values."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in sorted(settings.items())}


def card_of(
    text: str,
    model: nn.Module,
    visual: nn.Module,
    preprocessing: dict[str, Any],
    dim: int,
    files: Sequence[Path],
    *,
    head: Mapping[str, Any] | None = None,
    texts: Mapping[str, Any] | None = None,
    logit_bias: float | None = None,
    precision: Precision = FLOAT32,
    notes: Sequence[str] = (),
) -> EncoderCard:
    """The card of a built encoder.

    Args:
        text: its name.
        model: all its towers.
        visual: the image tower, a part of `model` or the whole.
        preprocessing: as JSON values.
        dim: length of a feature.
        files: what it came from; also those that were looked for and are not there.
        head: what is computed behind the weights' own network, as JSON values.
        texts: how texts become tokens, as JSON values.
        logit_bias: as of `Encoder`.
        precision: of the image tower.
        notes: what had to be assumed.
    """

    def count(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    stored = sum(t.numel() * t.element_size() for t in visual.state_dict().values())
    return EncoderCard(
        spec=text,
        weights_digest=tensor_digest(model.state_dict()),
        structure=structure_of(model),
        preprocessing=preprocessing,
        dim=dim,
        image_parameters=count(visual),
        image_bytes=stored,
        text_parameters=count(model) - count(visual),
        libraries=libraries_of(model),
        files=[file_fact(file) for file in files],
        head=dict(head or {}),
        texts=dict(texts or {}),
        logit_bias=logit_bias,
        precision=precision,
        notes=list(notes),
    )


def structure_of(model: nn.Module) -> str:
    """SHA-256 over a module tree: names, classes, settings, and tensors that no checkpoint holds.

    Two networks whose checkpoints fit each other differ here where they compute something else: in padding,
    activation, epsilon, pooling, a mask. Weights and their values are left out, and so is what a library keeps for
    its own book-keeping: private attributes, dictionaries, and settings that change memory or speed alone.
    """
    facts: list[Any] = []
    for name, module in model.named_modules():
        settings = {
            key: setting
            for key, value in sorted(vars(module).items())
            if not key.startswith("_") and key not in _NO_ARITHMETIC and (setting := _as_json(value)) is not None
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


def _as_json(value: Any) -> Any:
    """A setting as a JSON value; None for what is no setting: modules, tensors, dictionaries, objects."""
    if isinstance(value, (bool, int, float, str)):
        return [type(value).__name__, str(value)] if isinstance(value, float) else value
    if isinstance(value, (list, tuple)):
        items = [_as_json(v) for v in value]
        return None if any(i is None for i in items) else items
    if isinstance(value, partial):
        return [
            _as_json(value.func),
            [_as_json(v) for v in value.args],
            {k: _as_json(v) for k, v in sorted(value.keywords.items())},
        ]
    if callable(value) and not isinstance(value, nn.Module):
        return getattr(value, "__qualname__", type(value).__qualname__)
    return None
