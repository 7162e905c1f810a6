"""Backbones of timm, with the pooling they were trained with or another."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ial_bench.encoders.build import OnArrays, blank, card_of, feature_dim, inference, plain, quiet_build
from ial_bench.encoders.checkpoints import State, fill, read_state
from ial_bench.encoders.convolutions import quicken
from ial_bench.encoders.encoder import FLOAT32, Encoder, Precision, require_finite_weights
from ial_bench.encoders.pooling import PooledBackbone, pooled
from ial_bench.encoders.spec import PACKAGE, RANDOM_INIT, EncoderSpec, unknown_in_spec
from ial_bench.encoders.weights import Package, fetched, first_line, hub_host, in_hub_cache, opening, package_of
from ial_bench.errors import ConfigError, DataError, SkipMethod
from ial_bench.images import RGB
from ial_bench.json_files import read_json

_HUB_NAMES = ("model.safetensors", "pytorch_model.bin")
_SIDECAR = "config.json"
"""What timm writes next to the weights that it publishes: ``architecture`` and ``pretrained_cfg``."""
_PREPROCESSING = ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std")


@dataclass(frozen=True)
class Timm:
    """A timm backbone as it was built, on the CPU, in evaluation mode, with no gradients asked for.

    Attributes:
        model: of timm, without a classifier.
        head: the same with the pooling that its spec asks for, None where it asks for none.
        dim: length of a feature.
        preprocess: a decoded photo to a float tensor [3, h, w].
        preprocessing: size, mean, deviation and crop, as timm names them.
        files: the checkpoint, if any, and the configuration that was looked for next to it.
        notes: what had to be assumed.
    """

    model: Any
    head: PooledBackbone | None
    dim: int
    preprocess: Callable[[RGB], torch.Tensor]
    preprocessing: dict[str, Any]
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def load_timm(text: str, spec: EncoderSpec, device: str, precision: Precision = FLOAT32) -> Encoder:
    """Load the timm backbone that the spec `text` names onto `device`; errors as of `build_timm`."""
    built = build_timm(text, spec)
    model, head = built.model.to(device), built.head
    encode: Any = model if head is None else head
    card = card_of(
        text, model, model, built.preprocessing, built.dim, built.files,
        head=None if head is None else head.head, precision=precision, notes=built.notes,
    )  # fmt: skip
    quicken(model, encode, blank(built.preprocess, device))
    return Encoder(
        card=card,
        preprocess=built.preprocess,
        encode_images=inference(encode, precision),
        encode_texts=None,
        logit_scale=1.0,
        device=device,
    )


def build_timm(text: str, spec: EncoderSpec) -> Timm:
    """Build the timm backbone that the spec `text` names and load its weights.

    Raises:
        SkipMethod: its weights cannot be had here.
        ConfigError: no such model, one that takes no photos, or it has no class token to take.
        DataError: a checkpoint that is damaged, unsafe, not finite or for another model.
    """
    import timm
    from timm.data import create_transform, resolve_model_data_config

    if not timm.is_model(spec.model.split(".")[0]):
        raise unknown_in_spec("timm model", spec.model, timm.list_models(), "see timm.list_models()")
    file = spec.weights_file
    package = package_of(spec.model) if spec.packaged else None
    if spec.weights is not None and file is None and package is None and not spec.random_init:
        near = difflib.get_close_matches(spec.weights, (PACKAGE, RANDOM_INIT), n=1)
        hint = f"; did you mean timm:{spec.network}/{near[0]}?" if near else ""
        raise ConfigError(
            f"{text!r}: {spec.weights!r} is neither a file nor {PACKAGE} nor {RANDOM_INIT}{hint}",
            "pretrained weights of timm are part of the model's name: timm:MODEL.TAG",
        )
    files: tuple[Path, ...] = () if file is None else (file, file.parent / _SIDECAR)
    beside = None if file is None else _beside(file, spec)
    if package is not None:
        files, beside = (package.path(),), dict(package.preprocessing)
    with quiet_build():
        model = _new_model(spec, beside)
        # Before anything is downloaded: does it give one feature a photo?
        head = pooled(model, spec)
        model.eval().requires_grad_(requires_grad=False)
        settings = resolve_model_data_config(model)
        transform = OnArrays(create_transform(**settings, is_training=False))
        dim = feature_dim(model if head is None else head, transform, f"timm:{spec.network}", "cpu")
        if package is not None:
            model.load_state_dict(packaged_trunk(package, files[0], model))
        elif file is None and not spec.random_init:
            file = _published_weights(text, spec, model)
            files = (file,)
        if file is not None:
            with opening(file, text):
                _load(model, spec, file, text)
        require_finite_weights(model, text)
    notes = () if spec.weights_file is None or beside else _assumed(spec, model)
    return Timm(model, head, dim, transform, plain(settings), files, notes)


def _new_model(spec: EncoderSpec, overlay: Mapping[str, Any] | None) -> Any:
    """The untrained model.

    Raises:
        ConfigError: timm cannot build it, no such tag, or it takes something else than a photo.
    """
    import timm

    try:
        model: Any = timm.create_model(
            spec.model, pretrained=False, num_classes=0, pretrained_cfg_overlay=dict(overlay) if overlay else None
        )
    except Exception as error:
        raise ConfigError(
            f"timm {timm.__version__} cannot build {spec.model}: {first_line(error)}",
            "`timm.list_pretrained()` shows models with their tags; choose another one",
        ) from error
    size = (getattr(model, "pretrained_cfg", None) or {}).get("input_size")
    if size is not None and size[0] != 3:
        raise ConfigError(f"{spec.model} takes {size[0]} channels, not a photo's 3", "choose another model")
    return model


def _beside(file: Path, spec: EncoderSpec) -> dict[str, Any] | None:
    """The preprocessing in timm's configuration next to a checkpoint, None without one.

    Raises:
        DataError: it is of another architecture, or cannot be read.
    """
    path = file.parent / _SIDECAR
    if not path.is_file():
        return None
    config = read_json(path)
    if not isinstance(config, dict) or not isinstance(config.get("pretrained_cfg"), dict):
        return None  # of another library
    architecture = str(config.get("architecture") or spec.model).split(".")[0]
    if architecture != spec.model.split(".")[0]:
        raise DataError(
            f"{path} says that the weights beside it are of {architecture}, not of {spec.model}",
            f"write timm:{architecture}/{file.name}, or move the weights away from it",
        )
    return {
        key: config["pretrained_cfg"][key] for key in _PREPROCESSING if config["pretrained_cfg"].get(key) is not None
    }


def _assumed(spec: EncoderSpec, model: Any) -> tuple[str, ...]:
    """Notes on what a checkpoint alone leaves open."""
    tag = (getattr(model, "pretrained_cfg", None) or {}).get("tag")
    if "." in spec.model or not tag:
        return ()
    file = Path(str(spec.weights)).name
    note = (
        f"{file} does not tell how photos are prepared for it: as for timm's weights {spec.model}.{tag} is assumed; "
        f"if that is wrong, write timm:{spec.model}.TAG/{file}, or put timm's {_SIDECAR} beside it"
    )
    return (note,)


def _published_weights(text: str, spec: EncoderSpec, model: Any) -> Path:
    """Timm's own weights of the model, downloaded if they are not in the cache."""
    from huggingface_hub import hf_hub_download

    about = model.pretrained_cfg
    if about.get("architecture") not in {None, "", spec.model.split(".")[0]}:
        raise SkipMethod(
            f"timm describes {spec.model} by the weights of {about['architecture']}; give a checkpoint: "
            f"timm:{spec.network}/FILE"
        )
    hub = str(about.get("hf_hub_id") or "")
    if not hub:
        raise SkipMethod(f"timm publishes no weights for {spec.model}; give a checkpoint: timm:{spec.network}/FILE")
    return fetched(
        text,
        cached=in_hub_cache(hub, _HUB_NAMES),
        host=hub_host(),
        fetch=lambda: hf_hub_download(hub, _HUB_NAMES[0]),
        instead=f"timm:{spec.network}/FILE",
    )


def _load(model: nn.Module, spec: EncoderSpec, file: Path, text: str) -> None:
    """Load a checkpoint, which may have a classifier and its authors' own layout."""
    import timm

    if file.suffix in {".npz", ".npy"}:  # of JAX: models that know how read them themselves
        timm.models.load_checkpoint(model, str(file))
        return
    fill(model, _headless(read_state(file, text, model.state_dict()), model, spec), file, text)


def packaged_trunk(package: Package, file: Path, model: nn.Module) -> dict[str, torch.Tensor]:
    """The weights in a package's `file` for its timm model without a classifier.

    Raises:
        DataError: they do not fit timm's model.
    """
    import timm

    with torch.device("meta"):
        whole = timm.create_model(package.network, pretrained=False)
    state, own = package.state(whole, file), model.state_dict()
    return {name: tensor for name, tensor in state.items() if name in own}


def _headless(state: State, model: nn.Module, spec: EncoderSpec) -> State:
    """A checkpoint's state without its classifier, which a feature extractor has no use for.

    That is all that the model has with one and lacks without: more than timm names it by, such as the norm before it.
    Weights in their authors' own layout are first brought into timm's, where timm knows how.
    """
    import timm

    own = set(model.state_dict())
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is not None and not own <= state.keys():
        state = convert(state, model)
    if state.keys() <= own:
        return state
    with torch.device("meta"):
        classifier = set(timm.create_model(spec.model, pretrained=False).state_dict()) - own
    return {k: v for k, v in state.items() if k not in classifier}
