"""Transformer blocks in parts, so that what nobody reads need not be computed: queries of some tokens alone, say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
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
