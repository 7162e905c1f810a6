"""NetVLAD pooling (Arandjelovic et al., NetVLAD: CNN architecture for weakly supervised place recognition, CVPR 2016).

FAISS is imported where it is used.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from ial_bench.errors import ConfigError

_LOG_RATIO = math.log(100.0)
"""Of the largest to the second largest assignment, on average, at the start (the paper's appendix A)."""
_ITERATIONS = 25


class NetVLAD(nn.Module):
    """``V_k = sum_i a_k(x_i) (x_i - c_k)`` over unit local features x_i (eqs. 1 to 4).

    ``a(x) = softmax(w x + b)``. Each V_k is brought to length 1 (intra-normalisation), then the whole. Weights,
    biases and centres are trained apart from each other, as in the paper.

    Args:
        clusters: K.
        width: of a local feature.
    """

    def __init__(self, clusters: int, width: int) -> None:
        super().__init__()
        self.clusters = clusters
        self.weight = nn.Parameter(torch.zeros(clusters, width))
        self.bias = nn.Parameter(torch.zeros(clusters))
        self.centres = nn.Parameter(torch.zeros(clusters, width))

    def start(self, centres: torch.Tensor, alpha: float) -> None:
        """Begin with ``a_k(x) ~ exp(-alpha |x - c_k|^2)``: w_k = 2 alpha c_k and b_k = -alpha |c_k|^2."""
        with torch.no_grad():
            self.centres.copy_(centres)
            self.weight.copy_(2 * alpha * centres)
            self.bias.copy_(-alpha * centres.square().sum(dim=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Local features [n, width, ...] to [n, K * width] of length 1."""
        local = functional.normalize(x.flatten(2), dim=1)  # [n, width, m]
        assigned = (self.weight @ local + self.bias[:, None]).softmax(dim=1)  # [n, K, m]
        residuals = assigned @ local.transpose(1, 2) - assigned.sum(dim=2, keepdim=True) * self.centres
        return functional.normalize(functional.normalize(residuals, dim=2).flatten(1), dim=1)


def start_centres(local: npt.NDArray[np.float32], clusters: int, seed: int) -> tuple[torch.Tensor, float]:
    """Centres by k-means, and alpha: assignments that are a hundred to one for the nearest, on average.

    Args:
        local: float32 [m, width], local features of length 1.
        clusters: K.
        seed: of k-means, below 2**31.

    Raises:
        ConfigError: there are fewer local features than clusters.
    """
    import faiss

    if len(local) < clusters:
        raise ConfigError(
            f"netvlad:{clusters} needs as many local features; the sample has {len(local):,}",
            "set pooling to fewer clusters, or netvlad_photos to more",
        )
    means = faiss.Kmeans(
        local.shape[1], clusters, niter=_ITERATIONS, seed=seed,
        min_points_per_centroid=1, max_points_per_centroid=len(local),
    )  # fmt: skip
    means.train(local)
    if clusters == 1:
        return torch.from_numpy(means.centroids), 1.0  # all is assigned to it, whatever alpha
    distances, _ = faiss.knn(local, means.centroids, 2)
    gap = float((distances[:, 1] - distances[:, 0]).mean())
    return torch.from_numpy(means.centroids), _LOG_RATIO / max(gap, 1e-6)
