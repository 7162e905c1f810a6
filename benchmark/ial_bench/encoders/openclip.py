"""Models of open_clip: published, of ours, or of a configuration of one's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import torch

from ial_bench.encoders.base import Encoder
from ial_bench.encoders.build import OnArrays, card_of, inference, plain, quiet_build
from ial_bench.encoders.spec import RANDOM_INIT, EncoderSpec
from ial_bench.encoders.weights import fetched, hub_host, in_hub_cache, opening, parsed
from ial_bench.errors import ConfigError, DataError, unknown_name
from ial_bench.files import read_json
from ial_bench.images import RGB

_OWN_MODELS = Path(__file__).parent / "openclip_models"  # small models of ours, by name
_TEXT_BATCH = 256


def load_openclip(text: str, spec: EncoderSpec, device: str) -> Encoder:
    """Load the open_clip model that the spec `text` names onto `device`; errors as of `build_openclip`."""
    built = build_openclip(text)
    model, tokenizer = built.model.to(device), built.tokenizer

    def encode_texts(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        blocks = []
        with torch.inference_mode():
            for start in range(0, len(texts), _TEXT_BATCH):
                tokens = tokenizer(list(texts[start : start + _TEXT_BATCH])).to(device)
                blocks.append(model.encode_text(tokens).float().cpu().numpy())
        return np.concatenate(blocks) if blocks else np.zeros((0, _output_dim(model.visual)), np.float32)

    files = [] if built.file is None else [built.file]
    return Encoder(
        card=card_of(text, spec, model, model.visual, built.preprocessing, _output_dim(model.visual), files),
        preprocess=built.preprocess,
        encode_images=inference(model.encode_image),
        encode_texts=encode_texts,
        logit_scale=float(model.logit_scale.exp()),
        device=device,
    )


@dataclass(frozen=True)
class OpenClip:
    """An open_clip model as it was built, on the CPU, in evaluation mode, with no gradients asked for.

    Attributes:
        model: of open_clip's classes.
        tokenizer: texts to int64 [n, context].
        preprocess: a decoded photo to a float tensor [3, h, w].
        preprocessing: size, mean, deviation and resizing, as open_clip names them.
        file: the checkpoint, None without one.
    """

    model: Any
    tokenizer: Callable[[list[str]], torch.Tensor]
    preprocess: Callable[[RGB], torch.Tensor]
    preprocessing: dict[str, Any]
    file: Path | None


def build_openclip(text: str) -> OpenClip:
    """Build the model that the spec `text` names and load its weights.

    Raises:
        SkipMethod: its weights cannot be had here.
        ConfigError: no such model or pretrained tag.
        DataError: a checkpoint that is damaged, unsafe or for another model.
    """
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    spec = parsed(text)
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
            with opening(file, text):
                open_clip.load_checkpoint(model, str(file), weights_only=True)
    settings = dict(model.visual.preprocess_cfg)
    transform = image_transform_v2(PreprocessCfg(**settings), is_train=False)
    tokenizer = _tokenizer(name) if own else open_clip.get_tokenizer(name)
    model.eval().requires_grad_(requires_grad=False)
    return OpenClip(model, tokenizer, OnArrays(transform), plain(settings), file)


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
    path = fetched(
        f"openclip:{spec.model}/{tag}",
        cached=in_hub_cache(hub.rstrip("/"), ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")),
        host=hub_host() if hub else urlsplit(url).hostname or "",
        fetch=lambda: open_clip.download_pretrained(config),
    )
    return path, bool(config.get("quick_gelu"))


def _output_dim(visual: Any) -> int:
    return int(visual.output_dim) if hasattr(visual, "output_dim") else int(visual.head.proj.out_features)
