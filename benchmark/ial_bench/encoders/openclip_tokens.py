"""The tokenizers of open_clip's models: CLIP's own, one of ours, or one of Hugging Face's, made when it is needed.

A Hugging Face tokenizer is looked for beside the checkpoint, then in the hub's cache, then on the hub. Where it cannot
be had there is a reason to skip what needs texts; photos are encoded all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ial_bench.encoders.openclip_source import Network
from ial_bench.encoders.weights import first_line, hub_host, in_hub_cache, unreachable
from ial_bench.errors import ConfigError, SkipMethod
from ial_bench.files import sha256_file

Tokenizer = Callable[[list[str]], torch.Tensor]
"""Texts to int64 [n, context]."""
_VOCABULARIES = (
    "tokenizer.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    "vocab.txt",
    "vocab.json",
)
EXTRA = "pip install 'ial-bench[texts]'"


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


def tokens_told(network: Network, file: Path | None) -> dict[str, Any]:
    """How texts become tokens, for the encoder's identity: JSON values, known without making the tokenizer."""
    texts: Mapping[str, Any] = network.config["text_cfg"]
    told = {key: texts[key] for key in ("context_length", "tokenizer_kwargs", "tokenizer_mode") if texts.get(key)}
    name = texts.get("hf_tokenizer_name")
    if not name:
        return {"tokenizer": "clip" if network.merges is None else sha256_file(network.merges), **told}
    beside = _beside(file)
    return {"tokenizer": name if beside is None else sha256_file(beside), **told}


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
