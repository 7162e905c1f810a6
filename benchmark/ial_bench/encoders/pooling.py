"""From a map of local features to one feature: average, maximum, GeM, a class token, NetVLAD."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from ial_bench.encoders.spec import EncoderSpec
from ial_bench.errors import ConfigError

GEM_P = 3.0
GEM_EPS = 1e-6
_FEWEST_POSITIONS = 4
_LOG_RATIO = math.log(100.0)
"""Of the largest to the second largest assignment, on average, at the start (the paper's appendix A)."""
_ITERATIONS = 25


def gem(x: torch.Tensor, p: float | torch.Tensor = GEM_P, eps: float = GEM_EPS) -> torch.Tensor:
    """Generalised mean of local features [n, c, m] to [n, c]: (mean over m of max(x, eps)^p)^(1/p).

    Radenovic et al., Fine-tuning CNN Image Retrieval with No Human Annotation, TPAMI 2019, eq. 3. p = 1 is the mean,
    p to infinity the maximum. Negative values, which tokens of a transformer have, count as `eps`.
    """
    return x.clamp(min=eps).pow(p).mean(dim=-1).pow(1.0 / p)


class GeM(nn.Module):
    """Generalised-mean pooling with a learnt exponent."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), GEM_P))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Local features [n, c, ...] to [n, c]."""
        return gem(x.flatten(2), self.p)


class Average(nn.Module):
    """Mean of all positions."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Local features [n, c, ...] to [n, c]."""
        return x.flatten(2).mean(dim=-1)


class PooledBackbone(nn.Module):
    """A timm backbone whose last feature map or tokens are pooled to one feature.

    Args:
        backbone: of timm, without a classifier.
        pooling: ``avg``, ``gem``, ``max`` over all positions, prefix tokens left out; ``cls`` the class token.
        name: of the backbone, for errors.

    Raises:
        ConfigError: it has no class token to take.
    """

    def __init__(self, backbone: Any, pooling: str, name: str) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling
        self.name = name
        self.prefix, self.prefix_told = prefix_tokens(backbone)
        self.width = int(backbone.num_features)
        if pooling == "cls" and (self.prefix == 0 or not _class_tokens(backbone)):
            raise ConfigError(f"{name} has no class token", f"pool its positions: timm:{name}+gem, +avg or +max")

    @property
    def head(self) -> dict[str, Any]:
        """What is done here, every number of it, as JSON values."""
        facts: dict[str, Any] = {"pooling": self.pooling}
        if self.pooling == "gem":
            facts |= {"p": GEM_P, "eps": GEM_EPS}
        return facts if self.prefix_told else facts | {"prefix": self.prefix}

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """float32 [n, 3, h, w] to [n, width].

        Raises:
            ConfigError: the backbone gives neither a map nor tokens.
        """
        if self.pooling == "cls":
            return _features(self.backbone, self.name, pixels)[:, 0]
        local = local_features(self.backbone, self.name, pixels)
        if self.pooling == "avg":
            return local.mean(dim=-1)
        return local.amax(dim=-1) if self.pooling == "max" else gem(local)


def local_features(backbone: Any, name: str, pixels: torch.Tensor) -> torch.Tensor:
    """The last feature map or tokens of a timm backbone, prefix tokens left out: [n, width, positions].

    Args:
        backbone: of timm.
        name: of the backbone, for errors.
        pixels: float32 [n, 3, h, w].

    Raises:
        ConfigError: the backbone gives neither a map nor tokens.
    """
    x = _features(backbone, name, pixels)
    if x.ndim == 3:  # tokens [n, prefix + m, width]
        prefix, _ = prefix_tokens(backbone)
        if x.shape[1] - prefix < _FEWEST_POSITIONS:  # timm's PiT gives its class tokens alone
            raise ConfigError(f"{name} gives no local features to pool", f"leave the pooling out: timm:{name}")
        return x[:, prefix:].transpose(1, 2)
    # A map, its channels second, or last as in Swin.
    channels_last = getattr(backbone, "output_fmt", "NCHW") == "NHWC"
    return (x.flatten(1, 2).transpose(1, 2) if channels_last else x.flatten(2)).contiguous()


def prefix_tokens(backbone: Any) -> tuple[int, bool]:
    """How many prefix tokens a timm backbone has before its positions, and whether it declares them.

    VOLO and CoaT-Lite have a class token and do not (seen in timm 1.0.31).
    """
    count = getattr(backbone, "num_prefix_tokens", None)
    return (int(count), True) if count is not None else (1, False) if _class_tokens(backbone) else (0, True)


def _class_tokens(backbone: Any) -> list[str]:
    return [n for n, _ in backbone.named_parameters(recurse=False) if n.startswith("cls_token")]


def _features(backbone: Any, name: str, pixels: torch.Tensor) -> torch.Tensor:
    x: Any = backbone.forward_features(pixels)
    if not isinstance(x, torch.Tensor) or x.ndim not in {3, 4}:
        raise ConfigError(f"{name} gives neither a map nor tokens to pool", f"leave it out: timm:{name}")
    return x


def pooled(backbone: Any, spec: EncoderSpec) -> PooledBackbone | None:
    """`backbone` with the pooling that `spec` asks for; None where it asks for none.

    Raises:
        ConfigError: it has no class token to take.
    """
    return None if spec.pooling is None else PooledBackbone(backbone, spec.pooling, spec.model)


class NetVLAD(nn.Module):
    """``V_k = sum_i a_k(x_i) (x_i - c_k)`` over unit local features x_i (eqs. 1 to 4).

    Arandjelovic et al., NetVLAD: CNN architecture for weakly supervised place recognition, CVPR 2016.
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
        return torch.from_numpy(means.centroids), 1.0  # all is assigned to it for any alpha
    distances, _ = faiss.knn(local, means.centroids, 2)
    gap = float((distances[:, 1] - distances[:, 0]).mean())
    return torch.from_numpy(means.centroids), _LOG_RATIO / max(gap, 1e-6)
