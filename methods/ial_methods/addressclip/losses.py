"""The losses of AddressCLIP (Xu et al., ECCV 2024) as pure functions.

Features are rows; they need not have unit norm unless it is said. Nothing here knows of towers or datasets.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional as F  # noqa: N812 - its usual name

Target = Literal["distance", "literal"]


def info_nce(images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor | float) -> torch.Tensor:
    """CLIP's symmetric contrastive loss: photo i must find text i among the batch's, and text i photo i.

    The form of L_address and L_caption (equations 1 and 2 of the paper).

    Args:
        images: [n, d].
        texts: [n, d], row i belongs to photo i.
        scale: factor on cosines, exp(t).
    """
    logits = scale * F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def multi_positive_nce(
    images: torch.Tensor, texts: torch.Tensor, labels: torch.Tensor, scale: torch.Tensor | float
) -> torch.Tensor:
    """`info_nce` in which all pairs of one label are right answers, with equal shares (Khosla et al., 2020, eq. 2).

    With all labels different it is `info_nce`.

    Args:
        images: [n, d].
        texts: [n, d].
        labels: int [n].
        scale: factor on cosines.
    """
    logits = scale * F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T
    same = (labels[:, None] == labels[None, :]).to(logits.dtype)
    shares = same / same.sum(dim=1, keepdim=True)  # symmetric: rows of one label have one sum
    by_image = -(shares * F.log_softmax(logits, dim=1)).sum(dim=1).mean()
    by_text = -(shares * F.log_softmax(logits.T, dim=1)).sum(dim=1).mean()
    return (by_image + by_text) / 2


def sigmoid_loss(
    images: torch.Tensor,
    texts: torch.Tensor,
    owners: torch.Tensor,
    scale: torch.Tensor | float,
    bias: torch.Tensor | float,
) -> torch.Tensor:
    """SigLIP's loss: ``-1/n sum_ij log sigmoid(z_ij (scale cos_ij + bias))``, without a softmax.

    z is 1 where photo and text belong together, else -1 (Zhai et al., Sigmoid Loss for Language Image Pre-Training,
    ICCV 2023, equation 1). Texts that a batch holds more than once belong to the photos of all of them.

    Args:
        images: [n, d].
        texts: [n, d].
        owners: int [n]: photo i and text j belong together where these are equal.
        scale: factor on cosines.
        bias: added to them.
    """
    logits = scale * F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T + bias
    together = 2 * (owners[:, None] == owners[None, :]).to(logits.dtype) - 1
    return -F.logsigmoid(together * logits).sum() / len(logits)


def position_range(positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Smallest and largest of each axis: [2] and [2]."""
    return positions.amin(dim=0), positions.amax(dim=0)


def geography_loss(
    images: torch.Tensor,
    positions: torch.Tensor,
    target: Target = "distance",
    extent: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> torch.Tensor:
    """L_geography: photos near each other on the map are to be near each other in feature space (equations 4 to 6).

    Positions are scaled to 0..1 on each axis; ``D_U[i, j] = ||U_i - U_j||_1`` lies in 0..2, and so does the feature
    distance ``D_V[i, j] = 1 - cos(V_i, V_j)``; the loss is the mean over all pairs of ``(D_V - D_U)^2``.
    An axis on which all positions are equal counts as 0; where both are, there is nothing to learn and the loss is 0.

    Args:
        images: [n, d].
        positions: [n, 2], metres east and north.
        target: ``distance`` as above; ``literal`` as the formula is printed in the paper, with the cosine
            *similarity* in place of the feature distance.
        extent: smallest and largest of each axis; None: those of the batch, as in the paper.
    """
    low, high = position_range(positions) if extent is None else extent
    width = high - low
    if not bool((width > 0).any()):
        return images.sum() * 0.0
    scaled = torch.where(width > 0, (positions - low) / width.clamp(min=torch.finfo(width.dtype).tiny), 0.0)
    distance = torch.cdist(scaled, scaled, p=1).to(images.dtype)
    unit = F.normalize(images, dim=-1)
    cosine = unit @ unit.T
    return ((1 - cosine if target == "distance" else cosine) - distance).square().mean()
