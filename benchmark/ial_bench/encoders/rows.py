"""Rows of a tensor that is trained, some of them taken more than once."""

from __future__ import annotations

import torch


def repeatable_rows(x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Rows [n, ...] of x, whose gradients come out the same each time: by an index on a GPU, else by `index_select`.

    Not the other way round: where several threads of a CPU add up the gradients of ``x[rows]``, they do it in whatever
    order they come, and so does a GPU those of `index_select`.
    """
    return x[rows] if x.is_cuda else x.index_select(0, rows)
