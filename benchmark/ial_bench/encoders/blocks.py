"""Transformers in parts, so that unused outputs are not computed, and prompts can enter between blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name


@dataclass(frozen=True)
class Block:
    """A plain block of open_clip or timm: norm, attention, norm, MLP, each pair beside what goes past it.

    Attributes:
        norm: the norm before attention.
        weight: [3 width, width], of queries, keys and values.
        bias: [3 width], None without one.
        heads: of attention.
        behind: the block's output of its input and what attention mixed, both [..., width].
    """

    norm: Callable[[torch.Tensor], torch.Tensor]
    weight: torch.Tensor
    bias: torch.Tensor | None
    heads: int
    behind: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

    @classmethod
    def of(cls, block: Any) -> Block | None:
        """The parts of `block`, None of one that is built otherwise."""
        from open_clip.transformer import ResidualAttentionBlock
        from timm.models import vision_transformer as timm

        if type(block) is ResidualAttentionBlock and not hasattr(block, "ln_1_kv"):
            return cls._of_openclip(block)
        plain = type(block) is timm.Block and type(block.attn) is timm.Attention and not block.training
        if (
            plain
            and _does_nothing(block.attn, "q_norm", "k_norm", "norm")
            and getattr(block.attn, "gate", None) is None
        ):
            return cls._of_timm(block)
        return None

    @classmethod
    def _of_openclip(cls, block: Any) -> Block:
        attn = block.attn

        def behind(x: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
            x = x + block.ls_1(attn.out_proj(mixed))
            return x + block.ls_2(block.mlp(block.ln_2(x)))  # type: ignore[no-any-return]

        return cls(block.ln_1, attn.in_proj_weight, attn.in_proj_bias, attn.num_heads, behind)

    @classmethod
    def _of_timm(cls, block: Any) -> Block:
        attn = block.attn

        def behind(x: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
            x = x + block.ls1(attn.proj(mixed))
            return x + block.ls2(block.mlp(block.norm2(x)))  # type: ignore[no-any-return]

        return cls(block.norm1, attn.qkv.weight, attn.qkv.bias, attn.num_heads, behind)

    def queries(self, x: torch.Tensor) -> torch.Tensor:
        """Normed tokens [..., width] to queries."""
        return self._projected(x, slice(None, len(self.weight) // 3))

    def keys_and_values(self, x: torch.Tensor) -> torch.Tensor:
        """Normed tokens [..., width] to keys and values [..., 2 width]."""
        return self._projected(x, slice(len(self.weight) // 3, None))

    def all_three(self, x: torch.Tensor) -> torch.Tensor:
        """Normed tokens [..., width] to queries, keys and values [..., 3 width]."""
        return self._projected(x, slice(None))

    def _projected(self, x: torch.Tensor, rows: slice) -> torch.Tensor:
        return F.linear(x, self.weight[rows], None if self.bias is None else self.bias[rows])

    def attention(
        self, queries: torch.Tensor, keys_and_values: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """[n, q, width] and [n, l, 2 width] to what the heads mixed [n, q, width]."""
        parts = queries, *keys_and_values.chunk(2, dim=2)
        q, k, v = (part.view(*part.shape[:2], self.heads, -1).transpose(1, 2) for part in parts)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)

    def first(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens [n, l, width] to the output [n, 1, width] of the first."""
        y = self.norm(x)
        return self.behind(x[:, :1], self.attention(self.queries(y[:, :1]), self.keys_and_values(y)))


def _does_nothing(module: Any, *names: str) -> bool:
    return all(isinstance(getattr(module, name, nn.Identity()), nn.Identity) for name in names)


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
            return head(trunk.forward_head(trunk.norm(x)))

        plain = type(trunk) is VisionTransformer and getattr(trunk, "attn_pool", None) is None
        first = plain and trunk.global_pool == "token"
        return cls(embed, trunk.blocks, read, trunk.norm_pre, trunk.embed_dim, first_read=first)


def repeatable_rows(x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Rows [n, ...] of x, whose gradients come out the same each time: by an index on a GPU, else by `index_select`.

    Not the other way round: where several threads of a CPU add up the gradients of ``x[rows]``, they do it in whatever
    order they come, and so does a GPU those of `index_select`.
    """
    return x[rows] if x.is_cuda else x.index_select(0, rows)
