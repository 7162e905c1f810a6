"""Loading published place-recognition encoders from their authors' files.

Nothing is fetched: without a file there is a reason to skip, with the page where the weights are to be had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ial_bench.encoders.base import FLOAT32, Encoder, Precision
from ial_bench.encoders.build import OnArrays, card_of, inference, quiet_build
from ial_bench.encoders.checkpoints import fill, read_centres, read_state
from ial_bench.encoders.finite import require_finite_weights
from ial_bench.encoders.spec import RANDOM_INIT, EncoderSpec
from ial_bench.encoders.vpr import anyloc, salad
from ial_bench.encoders.vpr.cosplace import CosPlace
from ial_bench.encoders.vpr.dinov2 import SIZES, build_dinov2, with_timm_names
from ial_bench.encoders.vpr.mixvpr import MixVPR
from ial_bench.encoders.vpr.published import FILES_JOINED_BY, IMAGENET_MEAN, IMAGENET_STD, PUBLISHED, Published
from ial_bench.encoders.weights import in_hub_cache
from ial_bench.errors import ConfigError, SkipMethod

_DINOV2_G_ON_HUB = "timm/vit_giant_patch14_dinov2.lvd142m"
_HEADS: dict[str, dict[str, Any]] = {
    "cosplace": {},
    "mixvpr": {},
    "salad": {"sinkhorn_iterations": salad.SINKHORN_ITERATIONS},
    "anyloc": {"layer": anyloc.LAYER, "facet": "value", "assignment": "hard"},
}


@dataclass(frozen=True)
class _Built:
    model: nn.Module
    dim: int
    files: Sequence[Path]


def load_place(text: str, spec: EncoderSpec, device: str, precision: Precision = FLOAT32) -> Encoder:
    """Load the place-recognition encoder that the spec `text` names onto `device`.

    Raises:
        SkipMethod: no weights are given; with the page where they are.
        ConfigError: what is given is no file, or too many.
        DataError: a file that is damaged, unsafe or for another model.
    """
    published = PUBLISHED[spec.model]
    form = f"vpr:{spec.model}/{published.files}"
    if spec.weights is None:
        raise SkipMethod(f"no weights are given for {text}: get them from {published.page}, then write {form}")
    if not (spec.weights_files or spec.random_init):
        raise ConfigError(
            f"{text!r}: {spec.weights!r} is neither a file nor {RANDOM_INIT}",
            f"get the weights from {published.page}, then write {form}",
        )
    if len(spec.weights_files) > 1 + published.files.count(FILES_JOINED_BY):
        raise ConfigError(f"{text!r} names {len(spec.weights_files)} files", f"write {form}")
    with quiet_build():
        built = _FAMILIES[published.family](text, published, spec.weights_files)
    require_finite_weights(built.model, text)
    model = built.model.eval().requires_grad_(requires_grad=False).to(device)
    head = {"architecture": published.family, **_HEADS[published.family]}
    return Encoder(
        card=card_of(
            text, model, model, published.preprocessing, built.dim, built.files, head=head, precision=precision
        ),
        preprocess=OnArrays(transform_of(published)),
        encode_images=inference(model, precision),
        encode_texts=None,
        logit_scale=1.0,
        device=device,
    )


def transform_of(published: Published) -> Callable[[Any], torch.Tensor]:
    """PIL images to float32 [3, *crop]: resized without regard to their shape, cut, normalised."""
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

    steps = [
        Resize(published.size, interpolation=InterpolationMode(published.interpolation)),
        CenterCrop(published.crop),
        ToTensor(),
        Normalize(IMAGENET_MEAN, IMAGENET_STD),
    ]
    return Compose(steps)  # type: ignore[no-any-return]


def _one_file(build: Callable[[Published], nn.Module]) -> Callable[[str, Published, Sequence[Path]], _Built]:
    """A loader of models whose weights are one file with all their tensors; untrained without a file."""

    def load(text: str, published: Published, files: Sequence[Path]) -> _Built:
        model = build(published)
        for file in files:
            fill(model, read_state(file, text, model.state_dict()), file, text)
        return _Built(model, published.dim, files)

    return load


def _anyloc(text: str, published: Published, files: Sequence[Path]) -> _Built:
    size = SIZES[published.trunk]
    if not files:
        vit = build_dinov2(size, mask_token=False)
        return _Built(anyloc.AnyLoc(vit, torch.randn(anyloc.CLUSTERS, size.width)), anyloc.CLUSTERS * size.width, ())
    centres = read_centres(files[0], text, size.width)
    weights = files[1] if len(files) > 1 else _cached_dinov2()
    if weights is None:
        raise SkipMethod(
            f"{text} gives a vocabulary, but DINOv2's weights are not on this machine: get dinov2_vitg14_pretrain.pth "
            f"from https://github.com/facebookresearch/dinov2, then write {text}{FILES_JOINED_BY}DINOV2_FILE"
        )
    vit = build_dinov2(size, mask_token=False)
    state = with_timm_names(read_state(weights, text, vit.state_dict()))
    fill(vit, state, weights, text)
    return _Built(anyloc.AnyLoc(vit, centres), centres.numel(), (files[0], weights))


def _cached_dinov2() -> Path | None:
    """DINOv2 ViT-g/14 as ``timm:`` once fetched it; 4.5 GB that nobody asked for by name are not."""
    return in_hub_cache(_DINOV2_G_ON_HUB, ("model.safetensors", "pytorch_model.bin"))


_FAMILIES: Mapping[str, Callable[[str, Published, Sequence[Path]], _Built]] = {
    "cosplace": _one_file(lambda p: CosPlace(p.trunk, p.dim)),
    "mixvpr": _one_file(lambda p: MixVPR(p.trunk, p.dim, p.crop[0])),
    "salad": _one_file(lambda p: salad.Salad(SIZES[p.trunk])),
    "anyloc": _anyloc,
}
