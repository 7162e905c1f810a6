"""The loss of logits whose right answers are known."""

from __future__ import annotations

import torch
from torch.nn import functional as F  # noqa: N812 - its usual name

from ial_bench.method import Scores


def match_loss(logits: torch.Tensor, target: torch.Tensor, scores: Scores) -> torch.Tensor:
    """Mean over photos of the loss against their right candidates.

    Cross-entropy of the softmax over all candidates; of ``sigmoid`` scores the sum over candidates of the binary loss
    ``-log sigmoid(z l)``, z = 1 for the right one and -1 for all others, without a softmax (Zhai et al., Sigmoid Loss
    for Language Image Pre-Training, ICCV 2023, equation 1).

    Args:
        logits: [n, n_candidates], with the bias of a sigmoid model.
        target: int64 [n].
        scores: what the logits are.
    """
    if scores != "sigmoid":
        return F.cross_entropy(logits, target)
    right = F.one_hot(target, logits.shape[1]).to(logits.dtype)
    return -F.logsigmoid((2 * right - 1) * logits).sum(dim=1).mean()
