"""What the tests of prompt learning share: methods by name, and both towers' forward passes written out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from ial_bench import RunContext
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.features import FeatureStore
from ial_bench.frozen import Features
from ial_bench.progress import NoReport
from ial_bench.testing import CHECK_BACKBONE
from ial_methods.clip.zero_shot import ClipZeroShot
from ial_methods.prompt.cocoop import CoCoOp
from ial_methods.prompt.coop import ContextMethod, CoOp
from ial_methods.prompt.maple import MaPLe

METHODS: Mapping[str, Any] = {"coop": CoOp, "cocoop": CoCoOp, "maple": MaPLe, "clip-zero-shot": ClipZeroShot}
STREET = "openclip:tiny-street/synth"
PHRASE = "a street view of"


def made(name: str, folder: Path, seed: int = 0, **settings: Any) -> Any:
    """The method before anything is asked of it, with a tiny untrained encoder if not told otherwise."""
    method = METHODS[name]
    config = method.Config(**{"backbone": CHECK_BACKBONE, **settings})
    report = NoReport()
    return method(config, RunContext(seed, "cpu", FeatureStore(folder, "cpu", 8, 0, report), report, 8))


def untrained(name: str, folder: Path, city: Dataset, **settings: Any) -> Any:
    """The method as it is before the first step, ready to answer."""
    method = made(name, folder, **settings)
    method.prepare()
    if isinstance(method, ContextMethod):
        method.head = method.build(city.candidates)
        with torch.inference_mode():
            method.answer_with()
    elif isinstance(method, MaPLe):
        method.build(city.candidates)
    method.index(city.candidates)
    return method


def fitted(name: str, folder: Path, city: Dataset, **settings: Any) -> Any:
    """The method after training on `city`."""
    method = made(name, folder, **settings)
    method.prepare()
    method.fit(city.split("train"), city.split("val"))
    method.index(city.candidates)
    return method


def query_features(method: Any, city: Dataset) -> Any:
    """float32 [n, d]: raw features of the queries."""
    return method.context.features.photos(method.backbone, city.split("query"))


def train_features(method: Any, city: Dataset) -> Features:
    """Features of the train photos."""
    photos = city.split("train")
    return Features(method.context.features.photos(method.backbone, photos), photos)


def assert_near(a: torch.Tensor, b: torch.Tensor) -> None:
    """Equal up to rounding, as measured by the largest entry."""
    torch.testing.assert_close(a, b, rtol=0, atol=1e-4 * float(b.abs().max()))


def resnet(folder: Path) -> str:
    """The spec of a tiny untrained CLIP with a ResNet for photos."""
    config = {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 64, "patch_size": None},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    path = folder / "small-resnet.json"
    path.write_text(json.dumps(config))
    return f"openclip:{path}/random-init"


def frozen_weights(method: Any) -> dict[str, torch.Tensor]:
    """Copies of all the towers hold."""
    return {n: t.clone() for n, t in method.towers.state_dict().items()}


def same_weights(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> bool:
    """Bit for bit."""
    return set(a) == set(b) and all(torch.equal(a[n], b[n]) for n in a)


# --- forward passes ------------------------------------------------------------------------------------------


def plain_text_features(model: Any, rows: torch.Tensor, end: int, deep: Sequence[torch.Tensor] = ()) -> torch.Tensor:
    """The text feature [d] of token embeddings [l, width], from weights and matrix products alone.

    `deep` replaces the rows behind the first before block 1, 2, ...
    """
    x = rows + model.positional_embedding[: len(rows)]
    ahead = torch.full((len(rows), len(rows)), -torch.inf).triu(1)
    for i, block in enumerate(model.transformer.resblocks):
        if 0 < i <= len(deep):
            x = torch.cat([x[:1], deep[i - 1], x[1 + len(deep[i - 1]) :]])
        x = _openclip_block(block, x, ahead)
    feature: torch.Tensor = _norm(x, model.ln_final)[end] @ model.text_projection
    return feature


def plain_photo_features(visual: Any, pixels: torch.Tensor, prompts: Sequence[torch.Tensor]) -> torch.Tensor:
    """The photo's feature [d] beside visual prompts, from weights and matrix products alone; pixels [3, h, w]."""
    timm = hasattr(visual, "trunk")
    x = _timm_tokens(visual.trunk, pixels) if timm else _openclip_tokens(visual, pixels)
    n = len(x)
    x = torch.cat([x, prompts[0]])
    if not timm:
        x = _norm(x, visual.ln_pre)
    for i, block in enumerate(visual.trunk.blocks if timm else visual.transformer.resblocks):
        if 0 < i < len(prompts):
            x = torch.cat([x[:n], prompts[i]])
        x = _timm_block(block, x) if timm else _openclip_block(block, x)
    feature: torch.Tensor = (
        _norm(x, visual.trunk.norm)[0] @ visual.head.proj.weight.T
        if timm
        else _norm(x, visual.ln_post)[0] @ visual.proj
    )
    return feature


def _timm_tokens(trunk: Any, pixels: torch.Tensor) -> torch.Tensor:
    grid = trunk.patch_embed.proj(trunk.patch_embed.backbone(pixels[None]))[0]
    tokens: torch.Tensor = torch.cat([trunk.cls_token[0], grid.flatten(1).T]) + trunk.pos_embed[0]
    return tokens


def _openclip_tokens(visual: Any, pixels: torch.Tensor) -> torch.Tensor:
    grid = F.conv2d(pixels[None], visual.conv1.weight, stride=visual.conv1.stride)[0]
    tokens: torch.Tensor = torch.cat([visual.class_embedding[None], grid.flatten(1).T]) + visual.positional_embedding
    return tokens


def _openclip_block(block: Any, x: torch.Tensor, ahead: torch.Tensor | None = None) -> torch.Tensor:
    a = block.attn
    y = _norm(x, block.ln_1)
    x = (
        x
        + _attention(y @ a.in_proj_weight.T + a.in_proj_bias, a.num_heads, ahead) @ a.out_proj.weight.T
        + a.out_proj.bias
    )
    hidden = F.gelu(_norm(x, block.ln_2) @ block.mlp.c_fc.weight.T + block.mlp.c_fc.bias)
    moved: torch.Tensor = x + hidden @ block.mlp.c_proj.weight.T + block.mlp.c_proj.bias
    return moved


def _timm_block(block: Any, x: torch.Tensor) -> torch.Tensor:
    a = block.attn
    y = _norm(x, block.norm1)
    x = x + _attention(y @ a.qkv.weight.T + a.qkv.bias, a.num_heads) @ a.proj.weight.T + a.proj.bias
    hidden = F.gelu(_norm(x, block.norm2) @ block.mlp.fc1.weight.T + block.mlp.fc1.bias)
    moved: torch.Tensor = x + hidden @ block.mlp.fc2.weight.T + block.mlp.fc2.bias
    return moved


def _attention(qkv: torch.Tensor, heads: int, ahead: torch.Tensor | None = None) -> torch.Tensor:
    n, width = len(qkv), qkv.shape[1] // 3
    q, k, v = (part.reshape(n, heads, width // heads).transpose(0, 1) for part in qkv.chunk(3, dim=1))
    scores = q @ k.transpose(1, 2) / q.shape[2] ** 0.5
    if ahead is not None:
        scores = scores + ahead
    mixed: torch.Tensor = scores.softmax(dim=2) @ v
    return mixed.transpose(0, 1).reshape(n, width)


def _norm(x: torch.Tensor, layer: nn.LayerNorm) -> torch.Tensor:
    centred = x - x.mean(dim=1, keepdim=True)
    return centred / (centred.square().mean(dim=1, keepdim=True) + layer.eps).sqrt() * layer.weight + layer.bias
