"""A vision transformer opened where prompts enter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ial_bench.encoders.blocks import Block


class VitParts:
    """A vision transformer in three parts: photo to tokens, blocks, tokens to feature.

    Args:
        embed: normalised pixels [n, 3, h, w] to tokens [n, l, width].
        blocks: in order.
        read: tokens to features [n, d].
        norm_before: what tokens pass before the blocks.
        width: of a token.
        first_read: whether `read` reads the first token alone.
        batch_first: whether blocks take [n, l, width], else [l, n, width].

    Attributes:
        last: the last block for the first token alone, where no other is read; else None.
    """

    def __init__(
        self,
        embed: Callable[[torch.Tensor], torch.Tensor],
        blocks: Sequence[nn.Module],
        read: Callable[[torch.Tensor], torch.Tensor],
        norm_before: Callable[[torch.Tensor], torch.Tensor],
        width: int,
        *,
        first_read: bool,
        batch_first: bool = True,
    ) -> None:
        self.embed, self.blocks, self.read, self.norm_before = embed, blocks, read, norm_before
        self.width, self.batch_first = width, batch_first
        last = Block.of(blocks[-1]) if first_read else None
        self.last = None if last is None else last.first

    @classmethod
    def of_openclip(cls, visual: Any) -> VitParts:
        """Of open_clip's own class."""

        def read(x: torch.Tensor) -> torch.Tensor:
            pooled, _ = visual._pool(x)  # noqa: SLF001 - open_clip has no public name for it
            return pooled if visual.proj is None else pooled @ visual.proj  # type: ignore[no-any-return]

        parts = visual.transformer
        first = visual.attn_pool is None and visual.pool_type == "tok"
        return cls(
            visual._embeds, parts.resblocks, read, visual.ln_pre, parts.width,  # noqa: SLF001 - as above
            first_read=first, batch_first=parts.batch_first,
        )  # fmt: skip

    @classmethod
    def of_timm(cls, visual: Any) -> VitParts:
        """Of timm's class in open_clip's wrapper."""
        trunk = visual.trunk

        def embed(pixels: torch.Tensor) -> torch.Tensor:
            x = trunk._pos_embed(trunk.patch_embed(pixels))  # noqa: SLF001 - timm has no public name for it
            return trunk.norm_pre(trunk.patch_drop(x))  # type: ignore[no-any-return]

        def read(x: torch.Tensor) -> torch.Tensor:
            return visual.head(trunk.forward_head(trunk.norm(x)))  # type: ignore[no-any-return]

        plain = type(trunk) is VisionTransformer and getattr(trunk, "attn_pool", None) is None
        first = plain and trunk.global_pool == "token"
        return cls(embed, trunk.blocks, read, trunk.norm_pre, trunk.embed_dim, first_read=first)
