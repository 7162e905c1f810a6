"""SALAD: DINOv2's tokens, assigned to clusters by optimal transport.

Izquierdo and Civera, Optimal Transport Aggregation for Visual Place Recognition, CVPR 2024. Names and shapes of the
state dict are those of the released file: ``backbone.model.*``, ``aggregator.token_features.*``,
``aggregator.cluster_features.*``, ``aggregator.score.*``, ``aggregator.dust_bin``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ial_bench.encoders.checkpoints import filled
from ial_bench.encoders.vpr.dinov2 import SIZES, Size, build_dinov2, embed
from ial_bench.encoders.vpr.published import Built, Published

CLUSTERS, CLUSTER_DIM, TOKEN_DIM = 64, 128, 256
SINKHORN_ITERATIONS = 3
HEAD: dict[str, Any] = {"sinkhorn_iterations": SINKHORN_ITERATIONS}
_HIDDEN, _DROPOUT = 512, 0.3


def log_sinkhorn(
    scores: torch.Tensor, log_rows: torch.Tensor, log_columns: torch.Tensor, iterations: int
) -> torch.Tensor:
    """The logarithm of the transport plan by Sinkhorn's iterations in the log domain (Cuturi, NIPS 2013).

    Args:
        scores: [n, r, c], log-kernel.
        log_rows: [r], logarithms of what each row is to sum to.
        log_columns: [c], of what each column is to sum to; both have the same total.
        iterations: each scales the rows, then the columns: these are exact at the end, rows as far as it converged.
    """
    u = scores.new_zeros(scores.shape[0], scores.shape[1], 1)
    v = scores.new_zeros(scores.shape[0], 1, scores.shape[2])
    for _ in range(iterations):
        u = log_rows[:, None] - (scores + v).logsumexp(dim=2, keepdim=True)
        v = log_columns[None, :] - (scores + u).logsumexp(dim=1, keepdim=True)
    return scores + u + v


class Aggregator(nn.Module):
    """Tokens and class token to a descriptor.

    Args:
        width: length of a token.
        clusters: m.
        cluster_dim: l, what each cluster contributes.
        token_dim: g, what the class token contributes.
    """

    def __init__(
        self, width: int, clusters: int = CLUSTERS, cluster_dim: int = CLUSTER_DIM, token_dim: int = TOKEN_DIM
    ) -> None:
        super().__init__()

        def local(out: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(width, _HIDDEN, 1), nn.Dropout(_DROPOUT), nn.ReLU(), nn.Conv2d(_HIDDEN, out, 1)
            )

        self.token_features = nn.Sequential(nn.Linear(width, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, token_dim))
        self.cluster_features = local(cluster_dim)
        self.score = local(clusters)
        self.dust_bin = nn.Parameter(torch.tensor(1.0))

    def forward(self, grid: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
        """Tokens [n, width, h, w], h x w > m, and class tokens [n, width] to [n, g + l x m] of length 1."""
        features = self.cluster_features(grid).flatten(2)
        plan = self.assign(self.score(grid).flatten(2))
        clusters = torch.einsum("nlt,nmt->nlm", features, plan)
        parts = [
            functional.normalize(self.token_features(token), dim=-1),
            functional.normalize(clusters, dim=1).flatten(1),
        ]
        return functional.normalize(torch.cat(parts, dim=-1), dim=-1)

    def assign(self, scores: torch.Tensor) -> torch.Tensor:
        """Scores [n, m, t] of t > m tokens to how much of each token goes to each cluster, [n, m, t].

        Each token gives 1; each cluster takes 1, and the dustbin, left out of the result, the t - m others.
        """
        n, m, t = scores.shape
        with_bin = torch.cat([scores, self.dust_bin.expand(n, 1, t)], dim=1)
        log_rows = scores.new_zeros(m + 1)
        log_rows[m] = math.log(t - m)
        return log_sinkhorn(with_bin, log_rows, scores.new_zeros(t), SINKHORN_ITERATIONS).exp()[:, :m]


class _Backbone(nn.Module):
    """Holds DINOv2 under the name that released files have for it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model


class Salad(nn.Module):
    """A photo to a descriptor of length 1.

    Args:
        size: of DINOv2.
        clusters: m, as of `Aggregator`.
        cluster_dim: l.
        token_dim: g.
    """

    def __init__(
        self, size: Size, clusters: int = CLUSTERS, cluster_dim: int = CLUSTER_DIM, token_dim: int = TOKEN_DIM
    ) -> None:
        super().__init__()
        self.backbone = _Backbone(build_dinov2(size, mask_token=True))
        self.aggregator = Aggregator(size.width, clusters, cluster_dim, token_dim)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """float32 [n, 3, h, w], h and w multiples of 14, to [n, g + l x m]."""
        vit = self.backbone.model
        x = vit.norm(vit.blocks(embed(vit, pixels)))
        height, width = (s // vit.patch_embed.patch_size[0] for s in pixels.shape[-2:])
        return self.aggregator(x[:, 1:].transpose(1, 2).unflatten(2, (height, width)), x[:, 0])  # type: ignore[no-any-return]


def build(text: str, published: Published, files: Sequence[Path]) -> Built:
    """See `load.Family`."""
    return Built(filled(Salad(SIZES[published.trunk]), files, text), published.dim, files)
