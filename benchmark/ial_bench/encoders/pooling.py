"""From a map of local features to one feature."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ial_bench.encoders.spec import EncoderSpec
from ial_bench.errors import ConfigError

GEM_P = 3.0
GEM_EPS = 1e-6
_FEWEST_POSITIONS = 4


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
        told: dict[str, Any] = {"pooling": self.pooling}
        if self.pooling == "gem":
            told |= {"p": GEM_P, "eps": GEM_EPS}
        return told if self.prefix_told else told | {"prefix": self.prefix}

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
    """How many of a timm backbone's tokens stand before its positions, and whether it says so itself.

    VOLO and CoaT-Lite have a class token and do not (seen in timm 1.0.31).
    """
    told = getattr(backbone, "num_prefix_tokens", None)
    return (int(told), True) if told is not None else (1, False) if _class_tokens(backbone) else (0, True)


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
