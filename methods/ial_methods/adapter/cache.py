"""Tip-Adapter's cache model: labelled features that vote by how near they are (Zhang et al., ECCV 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from ial_bench import Features, Reporter, chunks

_VAL_BLOCK = 256
_BETAS_AT_ONCE = 8
_ON_DEVICE_BYTES = 8 << 30


class CacheModel(nn.Module):
    """``logits = f T' + alpha exp(-beta (1 - f K')) V`` for unit features f.

    K holds one key a cached photo and V its address, one-hot; V is kept as labels. The keys are taken in blocks, so
    that the memory of an answer does not grow with their number.

    Args:
        texts: [n_candidates, d], unit features of the candidates times the logit scale: T.
        keys: [m, d]: K. Tuned keys need not keep unit norm, as in the authors' code.
        labels: int64 [m], rising: the candidate of each key.
        tuned: whether the keys are trained.
        bias: added to all logits of texts, of encoders trained with the sigmoid loss.
        block: keys that are looked at together.
    """

    texts: torch.Tensor

    def __init__(
        self, texts: torch.Tensor, keys: torch.Tensor, labels: torch.Tensor, *, tuned: bool = False,
        bias: float = 0.0, block: int = 4096,
    ) -> None:  # fmt: skip
        super().__init__()
        self.register_buffer("texts", texts)
        self.keys = nn.Parameter(keys, requires_grad=tuned)
        self.labels = labels.cpu()
        self.bias, self.block = bias, block

    def placed(self, device: str) -> CacheModel:
        """Move it to the device; keys that do not fit there stay memory-mapped. Returns itself."""
        if self.keys.requires_grad or self.keys.numel() * 4 <= _ON_DEVICE_BYTES:
            return self.to(device)
        self.texts = self.texts.to(device)
        return self

    def forward(self, x: torch.Tensor, alpha: float, beta: float, some: torch.Tensor | None = None) -> torch.Tensor:
        """Logits [n, n_candidates] of features [n, d] of any norm; with `some` (int64, sorted) of those alone."""
        texts, keys, labels = self.texts, self.keys, self.labels
        if some is not None:
            asked = some.cpu()
            rows = torch.isin(labels, asked).nonzero()[:, 0]
            keys, labels = keys[rows.to(keys.device)], torch.searchsorted(asked, labels[rows])  # type: ignore[assignment]
            texts = texts[some]
        unit = F.normalize(x, dim=-1)
        return unit @ texts.T + self.bias + alpha * cache_votes(unit, keys, labels, len(texts), (beta,), self.block)[0]

    def text_logits(self, x: torch.Tensor) -> torch.Tensor:
        """The zero-shot part: [n, n_candidates]."""
        return F.normalize(x, dim=-1) @ self.texts.T + self.bias

    def votes(self, x: torch.Tensor, betas: Sequence[float]) -> torch.Tensor:
        """The cache's part, without alpha: [len(betas), n, n_candidates]."""
        return cache_votes(F.normalize(x, dim=-1), self.keys, self.labels, len(self.texts), betas, self.block)


def cache_votes(
    unit: torch.Tensor, keys: torch.Tensor, labels: torch.Tensor, n_candidates: int, betas: Sequence[float], block: int
) -> torch.Tensor:
    """``exp(-beta (1 - f K')) V`` for each beta: [len(betas), n, n_candidates].

    Sums are made by products with the block's part of V, not by scattering: that repeats itself on every device.

    Args:
        unit: [n, d], unit features f.
        keys: [m, d], on any device.
        labels: int64 [m], rising, on the CPU.
        n_candidates: width of the result.
        betas: sharpness.
        block: keys that are looked at together.
    """
    total = torch.zeros((len(betas), len(unit), n_candidates), dtype=unit.dtype, device=unit.device)
    sharpness = torch.tensor(betas, dtype=unit.dtype, device=unit.device)[:, None, None]
    for part in chunks(len(keys), block):
        own = labels[part]
        low, high = int(own[0]), int(own[-1]) + 1
        one_hot = (own[:, None] == torch.arange(low, high)).to(unit)
        nearness = unit @ keys[part].to(unit.device).T
        total[:, :, low:high] += torch.exp(sharpness * (nearness - 1)) @ one_hot
    return total


@torch.inference_mode()
def choose(
    model: CacheModel, val: Features, alphas: Sequence[float], betas: Sequence[float], report: Reporter, name: str
) -> tuple[float, float, float]:
    """The most accurate alpha and beta on val, and their SSA-1; of equals the smallest beta, then the first alpha."""
    right = np.zeros((len(betas), len(alphas)), dtype=np.int64)
    device = model.texts.device
    with report.track(len(val), f"{name}: choose alpha and beta", "photos") as advance:
        for block, labels in val.blocks(_VAL_BLOCK):
            x = torch.tensor(block, device=device)  # a copy: torch takes no read-only maps
            texts = model.text_logits(x)
            for part in chunks(len(betas), _BETAS_AT_ONCE):
                votes = model.votes(x, betas[part])
                for i, of_beta in enumerate(votes, part.start):
                    for j, alpha in enumerate(alphas):
                        best = (texts + alpha * of_beta).cpu().numpy().argmax(axis=1)
                        right[i, j] += int((best == labels).sum())
            advance(len(block))
    best_beta, best_alpha = divmod(int(right.argmax()), len(alphas))
    return alphas[best_alpha], betas[best_beta], float(right.max() / len(val))
