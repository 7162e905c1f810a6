"""Loading encoders: open_clip models and timm backbones, from hubs, local files or untrained.

Weights that cannot be had are a reason to skip, never replaced by untrained ones.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ial_bench.encoders.base import Encoder, EncoderCard, file_fact, library_versions
from ial_bench.encoders.spec import RANDOM_INIT, EncoderSpec
from ial_bench.errors import ConfigError, DataError, SkipMethod, unknown_name
from ial_bench.files import read_json
from ial_bench.images import RGB

_OWN_MODELS = Path(__file__).parent / "openclip_models"  # small models of ours, by name
_TEXT_BATCH = 256
_RANDOM_INIT_SEED = 0
_CONNECT_SECONDS = 3.0


def load_encoder(text: str, device: str) -> Encoder:
    """Load the encoder named `text` onto `device`.

    Raises:
        SkipMethod: its weights cannot be had here.
        ConfigError: no such model or pretrained tag, or a bad spec.
        DataError: a checkpoint file that is damaged, unsafe or for another model.
    """
    spec = EncoderSpec.parse(text)
    if (file := spec.weights_file) is not None and not file.is_file():
        raise ConfigError(f"no such weights file: {file} (in {text!r})", "give the path of a checkpoint that exists")
    return (_load_openclip if spec.library == "openclip" else _load_timm)(text, spec, device)


# --- open_clip ----------------------------------------------------------------------------------------------


def _load_openclip(text: str, spec: EncoderSpec, device: str) -> Encoder:
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    name, own = _openclip_model(spec)
    file, quick_gelu = _openclip_weights(name, spec, own)
    with quiet_build():
        model = open_clip.create_model(
            name,
            pretrained=None if own or spec.random_init or spec.weights_file is not None else spec.weights,
            load_weights=False,
            force_quick_gelu=quick_gelu,
            pretrained_text=False,
            device="cpu",
        )
        if file is not None:
            _load_checkpoint(file, text, lambda: open_clip.load_checkpoint(model, str(file), weights_only=True))
    model.eval().requires_grad_(requires_grad=False).to(device)
    settings = dict(model.visual.preprocess_cfg)
    transform = image_transform_v2(PreprocessCfg(**settings), is_train=False)
    tokenizer = _tokenizer(name) if own else open_clip.get_tokenizer(name)

    def encode_texts(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        blocks = []
        with torch.inference_mode():
            for start in range(0, len(texts), _TEXT_BATCH):
                tokens = tokenizer(list(texts[start : start + _TEXT_BATCH])).to(device)
                blocks.append(model.encode_text(tokens).float().cpu().numpy())
        return np.concatenate(blocks) if blocks else np.zeros((0, _output_dim(model.visual)), np.float32)

    return Encoder(
        card=_card(text, spec, model, model.visual, _plain(settings), _output_dim(model.visual), file),
        preprocess=_OnArrays(transform),
        encode_images=_inference(model.encode_image),
        encode_texts=encode_texts,
        logit_scale=float(model.logit_scale.exp()),
        device=device,
    )


def own_model(model: str) -> tuple[str, Any]:
    """Add a model of ours to open_clip's list: its name there, and its tokenizer."""
    import open_clip

    import ial_bench.encoders.tiny_street  # noqa: F401 - registers its image tower with timm

    open_clip.add_model_config(_OWN_MODELS / f"{model}.json")
    return model, _tokenizer(model)


def _tokenizer(name: str) -> Any:
    """The model's tokenizer; one of ours has merges of its own beside its configuration, or else has CLIP's."""
    import open_clip
    from open_clip.tokenizer import SimpleTokenizer

    merges = _OWN_MODELS / f"{name}.merges.txt.gz"
    if not merges.is_file():
        return open_clip.get_tokenizer(name)
    context = open_clip.get_model_config(name)["text_cfg"]["context_length"]
    return SimpleTokenizer(bpe_path=str(merges), context_length=context)


def _openclip_model(spec: EncoderSpec) -> tuple[str, bool]:
    """The model's name in open_clip's list, and whether it is one of ours.

    A model of ours, or one given as a JSON configuration, is added to the list.
    """
    import open_clip

    own = _OWN_MODELS / f"{spec.model}.json"
    if own.is_file() or spec.model.endswith(".json"):
        path = own if own.is_file() else Path(spec.model).expanduser()
        config = read_json(path)
        if not isinstance(config, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= set(config):
            raise DataError(
                f"{path} is not an open_clip model configuration",
                "it needs embed_dim, vision_cfg and text_cfg",
            )
        if own.is_file():
            return own_model(spec.model)[0], True
        open_clip.add_model_config(path)
        return path.stem, False
    if spec.model not in open_clip.list_models():
        error = unknown_name("open_clip model", spec.model, open_clip.list_models(), "see open_clip.list_models()")
        raise ConfigError(error.problem, error.fix)
    return spec.model, False


def _openclip_weights(name: str, spec: EncoderSpec, own: bool) -> tuple[Path | None, bool]:
    """The checkpoint (downloaded if it is not in the cache) and whether its training used QuickGELU."""
    import open_clip

    if spec.random_init:
        return None, False
    if spec.weights_file is not None:
        return spec.weights_file, False
    tag = str(spec.weights)
    shipped = {p.name.split(".")[1]: p for p in sorted(_OWN_MODELS.glob(f"{name}.*.safetensors"))} if own else {}
    if tag in shipped:
        return shipped[tag], False
    config = {} if own else open_clip.get_pretrained_cfg(name, tag)
    if not config:
        tags = [*shipped, *open_clip.list_pretrained_tags_by_model(name), RANDOM_INIT]
        error = unknown_name(f"weights of {name}", tag, tags, f"one of {', '.join(tags)}, or the path of a checkpoint")
        raise ConfigError(error.problem, error.fix)
    hub, url = str(config.get("hf_hub") or ""), str(config.get("url") or "")
    path = _fetched(
        f"openclip:{spec.model}/{tag}",
        cached=_in_hub_cache(hub.rstrip("/"), ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")),
        host=_hub_host() if hub else urlsplit(url).hostname or "",
        fetch=lambda: open_clip.download_pretrained(config),
    )
    return path, bool(config.get("quick_gelu"))


# --- timm ---------------------------------------------------------------------------------------------------


def _load_timm(text: str, spec: EncoderSpec, device: str) -> Encoder:
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
        if file is None and not spec.random_init:
            file = _timm_weights(text, model)
        if file is not None:
            _load_checkpoint(
                file,
                text,
                lambda: timm.models.load_checkpoint(model, str(file), filter_fn=_headless(model), weights_only=True),
            )
    model.eval().requires_grad_(requires_grad=False).to(device)
    settings = resolve_model_data_config(model)
    transform = create_transform(**settings, is_training=False)
    return Encoder(
        card=_card(text, spec, model, model, _plain(settings), int(model.num_features), file),
        preprocess=_OnArrays(transform),
        encode_images=_inference(model),
        encode_texts=None,
        logit_scale=1.0,
        device=device,
    )


def _timm_weights(text: str, model: nn.Module) -> Path:
    """Timm's own weights of the model, downloaded if they are not in the cache."""
    from huggingface_hub import hf_hub_download

    config: Any = model.pretrained_cfg
    hub = str(config.get("hf_hub_id") or "")
    if not hub:
        raise SkipMethod(f"timm publishes no weights for {text}; give a checkpoint: {text}/FILE")
    names = ("model.safetensors", "pytorch_model.bin")
    return _fetched(
        text,
        cached=_in_hub_cache(hub, names),
        host=_hub_host(),
        fetch=lambda: hf_hub_download(hub, names[0]),
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


# --- shared -------------------------------------------------------------------------------------------------


def _load_checkpoint(file: Path, text: str, load: Callable[[], Any]) -> None:
    try:
        load()
    except (pickle.UnpicklingError, AttributeError, EOFError) as error:
        raise DataError(
            f"{file} cannot be loaded safely: {_first_line(error)}",
            "weights must be tensors alone: convert the file to safetensors from a source you trust",
        ) from error
    except (RuntimeError, KeyError, ValueError, OSError, TypeError) as error:
        raise DataError(
            f"{file} does not hold weights of {text!r}: {_first_line(error)}",
            "check that model and checkpoint belong together, and that the file is whole",
        ) from error
    except Exception as error:
        if type(error).__module__.startswith("safetensors"):
            raise DataError(f"{file} is damaged: {error}", "get the file again") from error
        raise


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _in_hub_cache(repository: str, names: Sequence[str]) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for name in names if repository else ():
        if isinstance(found := try_to_load_from_cache(repository, name), str):
            return Path(found)
    return None


def _fetched(text: str, cached: Path | None, host: str, fetch: Callable[[], str]) -> Path:
    """The cached file, or a download; a skip with the reason where there is neither."""
    if cached is not None:
        return cached
    away = f"weights of {text} are not on this machine"
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        raise SkipMethod(f"{away} and HF_HUB_OFFLINE is set; give a checkpoint's path in place of the tag")
    if not _reachable(host):
        raise SkipMethod(f"{away} and {host} cannot be reached; give a checkpoint's path in place of the tag")
    try:
        return Path(fetch())
    except Exception as error:
        raise SkipMethod(f"{away} and could not be downloaded: {_first_line(error)}") from error


def _hub_host() -> str:
    from huggingface_hub import constants

    return urlsplit(constants.ENDPOINT).hostname or ""


@cache
def _reachable(host: str) -> bool:
    """Whether `host` answers within seconds: the hubs' own clients retry for a minute before they give up."""
    if any(os.environ.get(v) for v in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True  # a proxy resolves names; its own error will have to do
    try:
        with socket.create_connection((host, 443), timeout=_CONNECT_SECONDS):
            return True
    except OSError:
        return False


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


def _inference(encode: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    def run(pixels: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return encode(pixels).float()

    return run


@dataclass(frozen=True)
class _OnArrays:
    """A library's transform of PIL images, applied to arrays. A class, so that it reaches worker processes."""

    transform: Callable[[Any], torch.Tensor]

    def __call__(self, photo: RGB) -> torch.Tensor:
        from PIL import Image

        return self.transform(Image.fromarray(photo))


def _output_dim(visual: Any) -> int:
    return int(visual.output_dim) if hasattr(visual, "output_dim") else int(visual.head.proj.out_features)


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """`settings` as JSON values."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in sorted(settings.items())}


def _card(
    text: str, spec: EncoderSpec, model: nn.Module, visual: nn.Module, preprocessing: dict[str, Any], dim: int,
    file: Path | None,
) -> EncoderCard:  # fmt: skip
    def count(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    stored = sum(t.numel() * t.element_size() for t in visual.state_dict().values())
    return EncoderCard(
        spec=text,
        weights_digest=_tensor_digest(model.state_dict()),
        preprocessing=preprocessing,
        dim=dim,
        image_parameters=count(visual),
        image_bytes=stored,
        text_parameters=count(model) - count(visual),
        libraries=library_versions(spec),
        weights_file=None if file is None else file_fact(file),
    )


def _tensor_digest(state: dict[str, torch.Tensor]) -> str:
    total = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        plain = tensor.detach().cpu().contiguous()
        total.update(f"{name}|{plain.dtype}|{tuple(plain.shape)}|".encode())
        total.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
