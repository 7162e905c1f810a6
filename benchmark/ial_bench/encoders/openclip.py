"""Models of open_clip: published ones, those that come with the harness, and any other by its configuration.

Their tokenizers are CLIP's, the harness's own or Hugging Face's, and are made when texts are first encoded. One of
Hugging Face's is looked for beside the checkpoint, then in the hub's cache, then on the hub. Where it cannot be had,
what needs texts is skipped with the reason; photos are encoded all the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ial_bench.encoders.build import OnArrays, blank, card_of, feature_dim, inference, plain, quiet_build
from ial_bench.encoders.checkpoints import fill, read_state
from ial_bench.encoders.convolutions import quicken
from ial_bench.encoders.encoder import FLOAT32, Encoder, Precision, name_of_text, require_finite, require_finite_weights
from ial_bench.encoders.openclip_source import SIDECAR, Network, Source, network_of, source_of
from ial_bench.encoders.own_models import start_on  # which also registers an image tower with timm
from ial_bench.encoders.spec import EncoderSpec
from ial_bench.encoders.weights import first_line, hub_host, in_hub_cache, opening, unreachable
from ial_bench.errors import ConfigError, DataError, SkipMethod
from ial_bench.files import sha256_file
from ial_bench.images import RGB
from ial_bench.json_files import write_json

_TEXT_BATCH = 256
_POSITION_IDS = "text.transformer.embeddings.position_ids"
_VOCABULARIES = (
    "tokenizer.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    "vocab.txt",
    "vocab.json",
)
EXTRA = "pip install 'ial-bench[texts]'"
Tokenizer = Callable[[list[str]], torch.Tensor]
"""Texts to int64 [n, context]."""


def load_openclip(text: str, device: str, precision: Precision = FLOAT32) -> Encoder:
    """Load the open_clip model that the spec `text` names onto `device`; errors as of `build_openclip`."""
    built = build_openclip(text)
    source, model = built.source, built.model.to(device)
    dim = feature_dim(model.encode_image, built.preprocess, text, device)
    bias = getattr(model, "logit_bias", None)
    card = card_of(
        text, model, model.visual, built.preprocessing, dim, source.files,
        texts=token_facts(source.network, source.own_file), logit_bias=None if bias is None else float(bias),
        precision=precision, notes=source.notes,
    )  # fmt: skip
    quicken(model.visual, model.encode_image, blank(built.preprocess, device))

    def encode_texts(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        blocks = []
        with torch.inference_mode():
            for start in range(0, len(texts), _TEXT_BATCH):
                tokens = built.tokenizer(list(texts[start : start + _TEXT_BATCH])).to(device)
                blocks.append(model.encode_text(tokens).float().cpu().numpy())
        features = np.concatenate(blocks) if blocks else np.zeros((0, dim), np.float32)
        require_finite(features, text, lambda i: name_of_text(texts[i]))
        return features

    return Encoder(
        card=card,
        preprocess=built.preprocess,
        encode_images=inference(model.encode_image, precision),
        encode_texts=encode_texts,
        logit_scale=float(model.logit_scale.exp()),
        device=device,
        logit_bias=card.logit_bias,
    )


@dataclass(frozen=True)
class OpenClip:
    """An open_clip model as it was built, on the CPU, in evaluation mode, with no gradients asked for.

    Attributes:
        model: of open_clip's classes.
        preprocess: a decoded photo to a float tensor [3, h, w].
        preprocessing: size, mean, deviation and resizing, as open_clip names them.
        source: what it was built from.
    """

    model: Any
    preprocess: Callable[[RGB], torch.Tensor]
    preprocessing: dict[str, Any]
    source: Source

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Texts to int64 [n, context]; made at its first use.

        Raises:
            SkipMethod: it cannot be had here.
        """
        return tokenizer_of(self.source.network, self.source.own_file)


def build_openclip(text: str) -> OpenClip:
    """Build the model that the spec `text` names and load its weights.

    Raises:
        SkipMethod: its weights cannot be had here.
        ConfigError: no such model or pretrained tag, or one that the installed libraries cannot build.
        DataError: a checkpoint that is damaged, unsafe, not finite or for another model.
    """
    from open_clip.transform import PreprocessCfg, image_transform_v2

    source = source_of(text)
    with quiet_build():
        model = new_model(source.network, source.preprocessing)
        if source.file is not None and source.package is not None:
            start_on(model, source.package, source.file)
        elif source.file is not None:
            with opening(source.file, text):
                _load(model, source.file, text)
    if source.file is not None:  # what open_clip leaves unset in an untrained model is anything, and read by nothing
        require_finite_weights(model, text)
    if not bool(model.logit_scale.exp().isfinite()):
        raise DataError(f"the weights of {text} have a logit_scale that overflows", "get the file again")
    settings = dict(model.visual.preprocess_cfg)
    transform = image_transform_v2(PreprocessCfg(**settings), is_train=False)
    model.eval().requires_grad_(requires_grad=False)
    return OpenClip(model, OnArrays(transform), plain(settings), source)


def _load(model: Any, file: Path, text: str) -> None:
    """Load a checkpoint as open_clip does: in its layouts of old, positions resized; but nothing made up."""
    import open_clip
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed

    if file.suffix in {".npz", ".npy"}:  # of JAX
        open_clip.load_checkpoint(model, str(file))
        return
    state = convert_state_dict(model, read_state(file, text, model.state_dict()))
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    if "logit_bias" in state and getattr(model, "logit_bias", None) is None:
        raise ValueError(
            "it has a logit_bias, as models of the sigmoid loss have, and the model is configured without one "
            "(init_logit_bias)"
        )
    if _POSITION_IDS not in model.state_dict():  # releases of transformers up to 4.30 stored them
        state.pop(_POSITION_IDS, None)
    resize_pos_embed(state, model)
    resize_text_pos_embed(state, model)
    fill(model, state, file, text)


def new_model(network: Network, preprocessing: Mapping[str, Any], device: str = "cpu") -> Any:
    """An untrained model of the network, from torch's random state.

    Raises:
        SkipMethod: its text tower is of transformers, and its configuration cannot be had here.
        ConfigError: the installed libraries cannot build it.
    """
    import open_clip

    config = _with_text_config(network)
    # By a folder of its own: adding a configuration to open_clip's list would hide a model of the same name there.
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder) / SIDECAR, {"model_cfg": config, "preprocess_cfg": dict(preprocessing)})
        try:
            return open_clip.create_model(
                f"local-dir:{folder}", load_weights=False, pretrained_text=False, device=device
            )
        except ImportError as error:
            raise SkipMethod(f"{network.name} needs {error.name}: {EXTRA}") from error
        except Exception as error:
            raise ConfigError(
                f"open_clip cannot build {network.name}: {first_line(error)}",
                "check its configuration" if network.files else "upgrade both: pip install -U open_clip_torch timm",
            ) from error


def _with_text_config(network: Network) -> dict[str, Any]:
    """The configuration, its text tower's, where that is of transformers, named by the folder that it lies in.

    Raises:
        SkipMethod: it is not on this machine.
    """
    config = {**network.config}
    name = config["text_cfg"].get("hf_model_name")
    if not name:
        return config
    found = in_hub_cache(name, ("config.json",))
    if found is None and Path(name).is_dir():
        return config
    if found is None and (why := unreachable(hub_host())) is not None:
        raise SkipMethod(
            f"the text tower of {network.name} is built by a configuration that is not on this machine, and {why}: get "
            f"it where the hub can be reached (`hf download {name} config.json`)"
        )
    return {**config, "text_cfg": {**config["text_cfg"], "hf_model_name": name if found is None else str(found.parent)}}


def require_tokenizer(text: str) -> None:
    """Refuse an open_clip model whose tokenizer cannot be had here, before photos are encoded in vain.

    Raises:
        SkipMethod: with the reason and the command that gets it.
        ConfigError: no such model.
        DataError: a configuration that cannot be read.
    """
    spec = EncoderSpec.parse(text)
    network = network_of(spec)
    require_texts(network)
    if network.config["text_cfg"].get("hf_tokenizer_name"):  # CLIP's is always at hand
        tokenizer_of(network, spec.weights_file)


def own_model(name: str) -> tuple[Network, Tokenizer]:
    """The network and the tokenizer of a model that comes with the harness."""
    network = network_of(EncoderSpec("openclip", name, None))
    return network, tokenizer_of(network, None)


def tokenizer_of(network: Network, file: Path | None) -> Tokenizer:
    """The tokenizer of a network, whose checkpoint is `file`.

    Raises:
        SkipMethod: it cannot be had here; with the command that gets it. Or open_clip cannot encode its texts.
        ConfigError: it has more tokens than the text tower.
    """
    from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, HFTokenizer, SimpleTokenizer

    require_texts(network)

    texts = network.config["text_cfg"]
    context = texts.get("context_length", DEFAULT_CONTEXT_LENGTH)
    settings = texts.get("tokenizer_kwargs") or {}
    name = texts.get("hf_tokenizer_name")
    if not name:
        if network.merges is not None:
            settings = {**settings, "bpe_path": str(network.merges)}
        found = SimpleTokenizer(context_length=context, **settings)
        if found.vocab_size > texts.get("vocab_size", found.vocab_size):
            raise ConfigError(
                f"the text tower of {network.name} has {texts['vocab_size']:,} tokens, its tokenizer "
                f"{found.vocab_size:,}",
                f"set vocab_size in its text_cfg to {found.vocab_size}, or name the tokenizer that it was trained with "
                "(hf_tokenizer_name)",
            )
        made_here: Tokenizer = found
        return made_here
    source = _source(network, name, file)
    try:
        made: Tokenizer = HFTokenizer(
            source, context_length=context, tokenizer_mode=texts.get("tokenizer_mode"), **settings,
        )  # fmt: skip
    except ImportError as error:
        raise SkipMethod(f"the tokenizer of {network.name} needs {error.name or 'transformers'}: {EXTRA}") from error
    except Exception as error:
        raise SkipMethod(
            f"the tokenizer of {network.name}, {name}, cannot be made: {first_line(error)}; `hf download {name}` gets "
            f"it anew, and {EXTRA} all that tokenizers need"
        ) from error
    return made


def require_texts(network: Network) -> None:
    """Refuse the networks whose texts open_clip cannot encode.

    CoCa takes a feature and tokens from its text tower, which gives it the feature alone where it is not configured
    otherwise (seen in open_clip 3.3: the rows of a batch of two are then taken for the two).

    Raises:
        SkipMethod: it is such a one.
    """
    texts = network.config["text_cfg"]
    if "multimodal_cfg" in network.config and not texts.get("output_tokens"):
        raise SkipMethod(
            f"open_clip cannot encode texts with {network.name}: a CoCa needs output_tokens in its text_cfg"
        )


def token_facts(network: Network, file: Path | None) -> dict[str, Any]:
    """How texts become tokens, for the encoder's identity: JSON values, known without making the tokenizer."""
    texts: Mapping[str, Any] = network.config["text_cfg"]
    facts = {key: texts[key] for key in ("context_length", "tokenizer_kwargs", "tokenizer_mode") if texts.get(key)}
    name = texts.get("hf_tokenizer_name")
    if not name:
        return {"tokenizer": "clip" if network.merges is None else sha256_file(network.merges), **facts}
    beside = _beside(file)
    return {"tokenizer": name if beside is None else sha256_file(beside), **facts}


def _beside(file: Path | None) -> Path | None:
    """The vocabulary in the folder of a checkpoint."""
    if file is None:
        return None
    return next((file.parent / name for name in _VOCABULARIES if (file.parent / name).is_file()), None)


def _source(network: Network, name: str, file: Path | None) -> str:
    """What transformers is to load: a folder, or a name on the hub.

    Raises:
        SkipMethod: neither is at hand.
    """
    for found in (_beside(file), in_hub_cache(name, _VOCABULARIES)):
        if found is not None:
            return str(found.parent)
    if (why := unreachable(hub_host())) is not None:
        raise SkipMethod(
            f"the tokenizer of {network.name} is not on this machine and {why}: get it where the hub can be reached "
            f"(`hf download {name}`), or put its tokenizer.json beside the checkpoint; photos need none"
        )
    return name
