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

    def features(self, pixels: torch.Tensor, prompts: Sequence[torch.Tensor] = ()) -> torch.Tensor:
        """Normalised pixels [n, 3, h, w], and visual prompts, to features [n, d], not normalised.

        Args:
            pixels: of the photos.
            prompts: [m, width] for block 0, which follow the photo's tokens and pass the norm before the blocks, where
                there is one, as they do (Khattak et al., 2023); then those that take their places before block 1, 2,
                ...
        """
        x = self.embed(pixels)
        n_tokens = x.shape[1]
        for i, block in enumerate(self.blocks):
            if i < len(prompts):
                prompt = prompts[i] if i else self.norm_before(prompts[i])
                x = torch.cat([x[:, :n_tokens], prompt.to(x.dtype).expand(len(x), -1, -1)], dim=1)
            if self.last is not None and i == len(self.blocks) - 1:
                x = self.last(x)
            else:
                x = block(x) if self.batch_first else block(x.transpose(0, 1)).transpose(0, 1)
        return self.read(x[:, :n_tokens])  # the prompts' own outputs are not pooled

    @classmethod
    def of(cls, visual: Any) -> VitParts | None:
        """The parts of an image tower of open_clip or of timm's class; None of one that is built otherwise."""
        if type(visual) is VisionTransformer:
            return cls.of_timm(visual, nn.Identity())
        trunk = getattr(visual, "trunk", None)
        if trunk is not None and hasattr(trunk, "blocks") and hasattr(trunk, "_pos_embed"):
            return cls.of_timm(trunk, visual.head)
        if hasattr(visual, "transformer") and hasattr(visual, "_embeds"):
            return cls.of_openclip(visual)
        return None

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
    def of_timm(cls, trunk: Any, head: Callable[[torch.Tensor], torch.Tensor]) -> VitParts:
        """Of timm's class, with what open_clip's wrapper puts behind it."""

        def embed(pixels: torch.Tensor) -> torch.Tensor:
            x = trunk._pos_embed(trunk.patch_embed(pixels))  # noqa: SLF001 - timm has no public name for it
            return trunk.norm_pre(trunk.patch_drop(x))  # type: ignore[no-any-return]

        def read(x: torch.Tensor) -> torch.Tensor:
            return head(trunk.forward_head(trunk.norm(x)))  # type: ignore[no-any-return]

        plain = type(trunk) is VisionTransformer and getattr(trunk, "attn_pool", None) is None
        first = plain and trunk.global_pool == "token"
        return cls(embed, trunk.blocks, read, trunk.norm_pre, trunk.embed_dim, first_read=first)
