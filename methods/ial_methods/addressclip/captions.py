"""Captions as tokens, made once for a whole training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from ial_bench.progress import chunks

if TYPE_CHECKING:
    from ial_bench.encoders.towers import ClipTowers

_BLOCK = 4096
Tokens: TypeAlias = npt.NDArray[np.int32]


@dataclass(frozen=True)
class TokenRows:
    """Tokens of many texts, without what fills up the end of each: less memory than the texts themselves.

    Attributes:
        context: tokens of a text with what fills it up.
        body: int32, the tokens of all texts, one behind the other.
        ends: int64 [n + 1]: those of text i are ``body[ends[i]:ends[i + 1]]``.
        filling: int32 [n]: the token that fills up text i.
    """

    context: int
    body: Tokens
    ends: npt.NDArray[np.int64]
    filling: Tokens

    @classmethod
    def joined(cls, towers: ClipTowers, heads: Sequence[str], tails: Sequence[str]) -> tuple[TokenRows, int]:
        """``head, tail`` of each pair as `ClipTowers.tokenize_joined` has it, and how many were too long."""
        bodies, lengths, fillings, cut = [_empty()], [_empty()], [_empty()], 0
        for part in chunks(len(heads), _BLOCK):
            tokens, too_long = towers.tokenize_joined(heads[part], tails[part])
            rows = tokens.cpu().numpy().astype(np.int32)
            last = rows[:, -1:]
            own = np.logical_or.accumulate((rows != last)[:, ::-1], axis=1)[:, ::-1]  # up to where the last one begins
            bodies.append(rows[own])
            lengths.append(own.sum(axis=1, dtype=np.int32))
            fillings.append(last[:, 0])
            cut += too_long
        ends = np.concatenate([[0], np.cumsum(np.concatenate(lengths), dtype=np.int64)])
        return cls(towers.context_length, np.concatenate(bodies), ends, np.concatenate(fillings)), cut

    def of(self, texts: Sequence[int]) -> torch.Tensor:
        """int64 [n, context]: the tokens of some texts, as they were made."""
        rows = np.repeat(self.filling[texts][:, None], self.context, axis=1).astype(np.int64)
        for row, text in zip(rows, texts, strict=True):
            body = self.body[self.ends[text] : self.ends[text + 1]]
            row[: len(body)] = body
        return torch.from_numpy(rows)


def _empty() -> Tokens:
    return np.zeros(0, np.int32)
