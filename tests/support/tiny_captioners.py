"""Captioners of a few thousand random weights, in the formats of the published ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

_WORDS = [
    "a",
    "street",
    "view",
    "of",
    "tree",
    "house",
    "red",
    "brick",
    "road",
    "car",
    "lamp",
    "blue",
    "tall",
    "small",
    "with",
    "and",
    "the",
    "near",
    "two",
    "shop",
]


def save_tiny_blip(folder: Path, seed: int = 0) -> Path:
    """What `save_pretrained` writes of a BLIP captioner and its processor."""
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

    folder.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]", *_WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BlipConfig(
        text_config={
            **small, "vocab_size": len(vocabulary), "encoder_hidden_size": 16, "max_position_embeddings": 64,
            "bos_token_id": 5, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0, "is_decoder": True,
        },
        vision_config={**small, "image_size": 32, "patch_size": 16},
        projection_dim=16,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = BlipForConditionalGeneration(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=1.0)  # at the usual small size all photos look the same to it
    model.save_pretrained(folder)
    special: Any = {"bos_token": "[DEC]", "additional_special_tokens": ["[ENC]"]}
    tokenizer = BertTokenizer(str(folder / "vocab.txt"), **special)
    size = {"height": 32, "width": 32}
    processor: Any = BlipProcessor  # untyped
    processor(BlipImageProcessor(size=size), tokenizer).save_pretrained(folder)
    return folder


def write_tiny_coca(file: Path) -> Path:
    """The configuration of a small CoCa, as open_clip reads it."""
    tower = {"context_length": 76, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    vision = {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16, "attentional_pool": True}
    config = {
        "embed_dim": 16,
        "vision_cfg": {**vision, "attn_pooler_heads": 2, "output_tokens": True},
        "text_cfg": {**tower, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {**tower, "attn_pooler_heads": 2},
        "custom_text": True,
    }
    file.write_text(json.dumps(config), encoding="utf-8")
    return file
