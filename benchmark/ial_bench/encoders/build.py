"""What all encoders are built with: a fixed seed, inference, transforms of arrays, and the card."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ial_bench.encoders.base import EncoderCard, file_fact, library_versions
from ial_bench.encoders.spec import EncoderSpec
from ial_bench.images import RGB

_RANDOM_INIT_SEED = 0


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


def inference(encode: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """`encode` without gradients, to float32."""

    def run(pixels: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return encode(pixels).float()

    return run


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
    spec: EncoderSpec,
    model: nn.Module,
    visual: nn.Module,
    preprocessing: dict[str, Any],
    dim: int,
    files: Sequence[Path],
    head: Mapping[str, Any] | None = None,
) -> EncoderCard:
    """The card of a built encoder.

    Args:
        text: its name.
        spec: the same, parsed.
        model: all its towers.
        visual: the image tower, a part of `model` or the whole.
        preprocessing: as JSON values.
        dim: length of a feature.
        files: the checkpoints it came from.
        head: what is computed behind the weights' own network, as JSON values.
    """

    def count(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    stored = sum(t.numel() * t.element_size() for t in visual.state_dict().values())
    facts = [file_fact(file) for file in files]
    return EncoderCard(
        spec=text,
        weights_digest=tensor_digest(model.state_dict()),
        preprocessing=preprocessing,
        dim=dim,
        image_parameters=count(visual),
        image_bytes=stored,
        text_parameters=count(model) - count(visual),
        libraries=library_versions(spec),
        weights_file=facts[0] if facts else None,
        further_files=facts[1:],
        head=dict(head or {}),
    )


def tensor_digest(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over the tensors' names, types, shapes and values."""
    total = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        values = tensor.detach().cpu().contiguous()
        total.update(f"{name}|{values.dtype}|{tuple(values.shape)}|".encode())
        total.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
