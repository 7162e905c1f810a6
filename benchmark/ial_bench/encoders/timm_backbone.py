"""Backbones of timm, with the pooling they were trained with or another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ial_bench.encoders.base import Encoder
from ial_bench.encoders.build import OnArrays, card_of, inference, plain, quiet_build
from ial_bench.encoders.pooling import PooledBackbone, pooled
from ial_bench.encoders.spec import RANDOM_INIT, EncoderSpec
from ial_bench.encoders.weights import fetched, hub_host, in_hub_cache, opening
from ial_bench.errors import ConfigError, SkipMethod, unknown_name
from ial_bench.images import RGB

_HUB_NAMES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Timm:
    """A timm backbone as it was built, on the CPU, in evaluation mode, with no gradients asked for.

    Attributes:
        model: of timm, without a classifier.
        head: the same with the pooling that its spec asks for, None where it asks for none.
        preprocess: a decoded photo to a float tensor [3, h, w].
        preprocessing: size, mean, deviation and crop, as timm names them.
        file: the checkpoint, None without one.
    """

    model: Any
    head: PooledBackbone | None
    preprocess: Callable[[RGB], torch.Tensor]
    preprocessing: dict[str, Any]
    file: Path | None


def load_timm(text: str, spec: EncoderSpec, device: str) -> Encoder:
    """Load the timm backbone that the spec `text` names onto `device`; errors as of `build_timm`."""
    built = build_timm(text, spec)
    model, head = built.model.to(device), built.head
    files = [] if built.file is None else [built.file]
    own_dim = int(getattr(model, "head_hidden_size", None) or model.num_features)
    return Encoder(
        card=card_of(
            text, spec, model, model, built.preprocessing, own_dim if head is None else head.width, files,
            None if head is None else head.head,
        ),
        preprocess=built.preprocess,
        encode_images=inference(model if head is None else head),
        encode_texts=None,
        logit_scale=1.0,
        device=device,
    )  # fmt: skip


def build_timm(text: str, spec: EncoderSpec) -> Timm:
    """Build the timm backbone that the spec `text` names and load its weights.

    Raises:
        SkipMethod: its weights cannot be had here.
        ConfigError: no such model, or it has no class token to take.
        DataError: a checkpoint that is damaged, unsafe or for another model.
    """
    import timm
    from timm.data import create_transform, resolve_model_data_config

    if not timm.is_model(spec.model.split(".")[0]):
        error = unknown_name("timm model", spec.model, timm.list_models(), "see timm.list_models()")
        raise ConfigError(error.problem, error.fix)
    file = spec.weights_file
    if spec.weights is not None and file is None and not spec.random_init:
        raise ConfigError(
            f"{text!r}: {spec.weights!r} is neither a file nor {RANDOM_INIT}",
            "pretrained weights of timm are part of the model's name: timm:MODEL.TAG",
        )
    with quiet_build():
        model = timm.create_model(spec.model, pretrained=False, num_classes=0)
        head = pooled(model, spec)  # before anything is downloaded
        if file is None and not spec.random_init:
            file = _published_weights(text, spec, model)
        if file is not None:
            with opening(file, text):
                timm.models.load_checkpoint(model, str(file), filter_fn=_headless(model), weights_only=True)
    model.eval().requires_grad_(requires_grad=False)
    settings = resolve_model_data_config(model)
    return Timm(model, head, OnArrays(create_transform(**settings, is_training=False)), plain(settings), file)


def _published_weights(text: str, spec: EncoderSpec, model: Any) -> Path:
    """Timm's own weights of the model, downloaded if they are not in the cache."""
    from huggingface_hub import hf_hub_download

    hub = str(model.pretrained_cfg.get("hf_hub_id") or "")
    if not hub:
        raise SkipMethod(f"timm publishes no weights for {spec.model}; give a checkpoint: timm:{spec.network}/FILE")
    return fetched(
        text,
        cached=in_hub_cache(hub, _HUB_NAMES),
        host=hub_host(),
        fetch=lambda: hf_hub_download(hub, _HUB_NAMES[0]),
    )


def _headless(model: nn.Module) -> Callable[..., dict[str, torch.Tensor]]:
    """A filter that drops a checkpoint's classifier, which a feature extractor has no use for."""
    own = set(model.state_dict())
    config: Any = model.pretrained_cfg
    classifier = config.get("classifier") or "head"
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)

    def drop(state: dict[str, torch.Tensor], _: nn.Module) -> dict[str, torch.Tensor]:
        return {k: v for k, v in state.items() if k in own or not k.startswith(tuple(f"{h}." for h in heads))}

    return drop
