"""The contrastive loss of photos and positions as a pure function."""

from __future__ import annotations

import torch
from torch.nn import functional as F  # noqa: N812 - its usual name


def photo_position_nce(
    photos: torch.Tensor, positions: torch.Tensor, target: torch.Tensor, scale: torch.Tensor | float
) -> torch.Tensor:
    """Symmetric InfoNCE in which each distinct position stands once, shared by all photos taken there.

    Half of it is the cross-entropy of each photo's position among all; the other half, of the photos of each position
    among all photos, with equal shares. Positions without a photo are wrong answers to the first half alone. Where
    every photo has a position of its own, and there are no others, it is CLIP's loss.

    Args:
        photos: [n, d], of any length.
        positions: [p, d], of any length.
        target: int64 [n], each photo's position.
        scale: factor on cosines.
    """
    logits = scale * F.normalize(photos, dim=-1) @ F.normalize(positions, dim=-1).T
    by_photo = F.cross_entropy(logits, target)
    seen, counts = torch.unique(target, return_counts=True)
    right = (target[:, None] == seen[None, :]).to(logits.dtype)
    by_position = -((right / counts) * F.log_softmax(logits[:, seen], dim=0)).sum(dim=0).mean()
    loss: torch.Tensor = (by_photo + by_position) / 2
    return loss
