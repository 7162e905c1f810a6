"""CLIP-Adapter's network."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from ial_bench.seeds import derive_seed


class Adapter(nn.Module):
    """``A(f) = ReLU(W2 ReLU(W1 f))``, whose output is blended with f; the outer ReLU is that of the authors' code.

    Args:
        texts: [n_candidates, d], unit features of the candidates times the logit scale; not trained.
        reduction: d over the width of the bottleneck.
        bias: added to all logits, of encoders trained with the sigmoid loss.
    """

    texts: torch.Tensor

    def __init__(self, texts: torch.Tensor, reduction: int, bias: float = 0.0) -> None:
        super().__init__()
        d = texts.shape[1]
        width = max(1, d // reduction)
        self.down = nn.Linear(d, width, bias=False)
        self.up = nn.Linear(width, d, bias=False)
        self.register_buffer("texts", texts)
        self.bias = bias

    def forward(self, x: torch.Tensor, ratio: float, some: torch.Tensor | None = None) -> torch.Tensor:
        """Logits [n, n_candidates] of raw features [n, d]: scaled cosines of ``ratio A(f) + (1 - ratio) f``.

        The feature goes in as CLIP gives it and is normalised after the blend, as in the authors' code.
        """
        adapted = F.relu(self.up(F.relu(self.down(x))))
        unit = F.normalize(ratio * adapted + (1 - ratio) * x, dim=-1)
        return unit @ (self.texts if some is None else self.texts[some]).T + self.bias


def new_adapter(texts: npt.NDArray[np.float32], reduction: int, seed: int, bias: float = 0.0) -> Adapter:
    """An adapter with random weights that follow from `seed`; `texts` and `bias` as in `Adapter`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("clip-adapter", seed))
        return Adapter(torch.from_numpy(texts), reduction, bias)
