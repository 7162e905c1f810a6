"""Small models that stand in open_clip's lists like published ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip import factory, pretrained
from safetensors.torch import save_file

SMALL: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
SIGMOID: dict[str, Any] = {**SMALL, "custom_text": True, "init_logit_bias": -10, "init_logit_scale": 2.3}
OPENAI = {
    "url": "", "hf_hub": "made/small-openai/", "quick_gelu": True,
    "mean": (0.48, 0.46, 0.41), "std": (0.27, 0.26, 0.28), "interpolation": "bicubic", "resize_mode": "shortest",
}  # fmt: skip
SQUASHED = {
    "url": "", "hf_hub": "made/small-squashed/", "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5),
    "interpolation": "bilinear", "resize_mode": "squash",
}  # fmt: skip


def publish(monkeypatch: pytest.MonkeyPatch, name: str, config: dict[str, Any], tags: dict[str, Any]) -> None:
    """Put a model with its tags into open_clip's lists."""
    monkeypatch.setitem(factory._MODEL_CONFIGS, name, config)
    monkeypatch.setitem(pretrained._PRETRAINED, name, tags)


def weights_of(config: dict[str, Any], path: Path, seed: int = 7) -> Path:
    """Random weights of a model, written as safetensors."""
    torch.manual_seed(seed)
    model = made(config)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.clone() for k, v in model.state_dict().items()}, path)
    return path


def made(config: dict[str, Any]) -> Any:
    """The model by open_clip's own classes."""
    given = {key: value for key, value in config.items() if key != "custom_text"}
    kind = open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP
    return kind(**given).eval()


HUB: dict[str, Any] = {**SIGMOID, "text_cfg": {
    **SMALL["text_cfg"], "vocab_size": 40, "hf_tokenizer_name": "made/words", "pool_type": "last",
    "no_causal_mask": True, "tokenizer_kwargs": {"clean": "canonicalize"},
}}  # fmt: skip
PAD, UNKNOWN, END = "[PAD]", "[UNK]", "</s>"
WORDS = ["[PAD]", "[UNK]", "</s>", "oak", "elm", "street", "old", "town", "ash", "lane", "a", "view", "of"]


def write_tokenizer(folder: Path) -> None:
    """A small tokenizer in the form of the hub's, with SigLIP's conventions: padded to the right, an end token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    made_one = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token=UNKNOWN))
    made_one.pre_tokenizer = pre_tokenizers.Whitespace()
    made_one.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    backend: Any = PreTrainedTokenizerFast
    backend(tokenizer_object=made_one, pad_token=PAD, unk_token=UNKNOWN, eos_token=END).save_pretrained(folder)
