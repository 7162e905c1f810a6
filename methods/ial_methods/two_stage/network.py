"""The network that gives coordinates."""

from __future__ import annotations

import math

import torch
from torch import nn

from ial_bench.seeds import derive_seed


class PositionHead(nn.Module):
    """``s (W2 ReLU(W1 sqrt(d) f + b1) + b2)``: metres east and north of unit features f.

    Args:
        dim: d.
        width: of the hidden layer.
        scale: s, metres.
    """

    def __init__(self, dim: int, width: int, scale: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, width)
        self.out = nn.Linear(width, 2)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, 2] metres of unit features [n, d], whose entries are brought to a size of about 1."""
        answer: torch.Tensor = self.scale * self.out(torch.relu(self.hidden(x * math.sqrt(x.shape[1]))))
        return answer


def new_head(dim: int, width: int, scale: float, seed: int) -> PositionHead:
    """A head with random weights that follow from `seed`; the rest as in `PositionHead`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("two-stage-regression", seed))
        return PositionHead(dim, width, scale)
