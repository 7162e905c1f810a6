"""An encoder's image tower for training, with its own pooling or another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ial_bench.encoders.convolutions import quicken
from ial_bench.encoders.finite import require_finite
from ial_bench.encoders.netvlad import NetVLAD
from ial_bench.encoders.openclip import build_openclip
from ial_bench.encoders.pooling import Average, GeM, local_features
from ial_bench.encoders.spec import OWN_POOLING, EncoderSpec, PoolingSpec, require_trainable_tower, shown_spec
from ial_bench.encoders.timm_backbone import build_timm
from ial_bench.errors import ConfigError, SkipMethod
from ial_bench.images import RGB

_CROPS = {"center": "shortest", "squash": "squash"}  # timm's words, and open_clip's


class ImageTower(nn.Module):
    """An image tower: frozen, in evaluation mode (statistics of batch norm stay), until `unfreeze`.

    Args:
        visual: the encoder's own: pixels [n, 3, h, w] to features [n, d].
        local: pixels to local features [n, width, positions], by parts of `visual`.
        preprocess: a decoded photo to a float tensor [3, h, w], as in evaluation.
        preprocessing: size, mean, std, interpolation, resize_mode and crop, as `Augmentation.of` takes them.
        pooling: how local features become one, where not by the encoder itself.
    """

    head: nn.Module | None

    def __init__(
        self,
        visual: nn.Module,
        local: Callable[[torch.Tensor], torch.Tensor],
        preprocess: Callable[[RGB], torch.Tensor],
        preprocessing: dict[str, Any],
        pooling: PoolingSpec,
    ) -> None:
        super().__init__()
        self.visual = visual
        self.local = local
        self.preprocess = preprocess
        self.preprocessing = preprocessing
        if pooling.kind == "netvlad":
            with torch.no_grad():
                width = local(self.blank()).shape[1]
            self.head = NetVLAD(pooling.clusters, width)
        else:
            self.head = GeM() if pooling.kind == "gem" else Average() if pooling.kind == "avg" else None
        self.eval()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalised pixels [n, 3, h, w] to features [n, d], not normalised."""
        given: Any = self.visual(pixels) if self.head is None else self.head(self.local(pixels))
        features: torch.Tensor = given[0] if isinstance(given, tuple) else given  # CoCa gives tokens beside it
        return features

    @property
    def device(self) -> torch.device:
        """Where the parameters lie."""
        return next(self.parameters()).device

    @property
    def dim(self) -> int:
        """Length of a feature."""
        with torch.no_grad():
            return int(self(self.blank()).shape[1])

    def unfreeze(self) -> None:
        """Ask for gradients of all parameters that the feature depends on.

        Others, such as a projection behind another pooling, stay out of it: they are neither trained nor counted.
        """
        self.requires_grad_(requires_grad=True)
        own = list(self.parameters())
        with torch.enable_grad():
            reached = torch.autograd.grad(self(self.blank()).sum(), own, allow_unused=True)
        for parameter, gradient in zip(own, reached, strict=True):
            parameter.requires_grad = gradient is not None

    def tensors(self) -> dict[str, torch.Tensor]:
        """What the feature depends on, once unfrozen: trained parameters, and statistics that stay."""
        trained = {n: p for n, p in self.named_parameters() if p.requires_grad}
        return {**trained, **dict(self.named_buffers())}

    def blank(self) -> torch.Tensor:
        """float32 [1, 3, h, w]: zeros of a photo's size."""
        size = self.preprocessing["size"]
        sides = tuple(size) if isinstance(size, (list, tuple)) else (size, size)
        return torch.zeros(1, 3, *sides, device=self.device)


def load_image_tower(text: str, pooling: str, device: str) -> ImageTower:
    """A copy of its own of the image tower of the encoder `text`, on `device`.

    Args:
        text: an encoder's spec.
        pooling: see `PoolingSpec`.
        device: torch device.

    Raises:
        SkipMethod: its weights cannot be had here, or it is not to be trained here.
        ConfigError: no such encoder, or a pooling that it does not take.
        DataError: a checkpoint that is damaged, unsafe, not finite or for another model.
    """
    require_trainable_tower(text)
    spec, how = EncoderSpec.parse(text), PoolingSpec.parse(pooling)
    tower = _of_openclip(text, how) if spec.library == "openclip" else _of_timm(text, spec, how)
    tower.to(device)
    quicken(tower, tower, tower.blank())
    with torch.inference_mode():  # before training, which would blame its learning rate
        require_finite(tower(tower.blank()).float().cpu().numpy(), shown_spec(text), lambda _: "a grey photo")
    return tower


def _of_openclip(text: str, pooling: PoolingSpec) -> ImageTower:
    built = build_openclip(text)
    visual = built.model.visual
    if pooling.kind != OWN_POOLING and not hasattr(visual, "forward_intermediates"):
        raise ConfigError(
            f"the image tower of {text}, a {type(visual).__name__}, gives no local features to pool",
            f"set pooling to {OWN_POOLING}",
        )
    # A ResNet has no last norm, and CoCa's stands behind its pooling.
    bare = type(visual).__name__ == "ModifiedResNet" or getattr(visual, "attn_pool", None) is not None
    norm = {} if bare else {"normalize_intermediates": True}

    def local(pixels: torch.Tensor) -> torch.Tensor:
        given = visual.forward_intermediates(pixels, indices=1, intermediates_only=True, output_fmt="NCHW", **norm)
        last: torch.Tensor = given["image_intermediates"][-1]
        return last.flatten(2)

    return ImageTower(visual, local, built.preprocess, built.preprocessing, pooling)


def _of_timm(text: str, spec: EncoderSpec, pooling: PoolingSpec) -> ImageTower:
    if spec.pooling is not None and pooling.kind != OWN_POOLING:
        raise ConfigError(
            f"{text} is pooled by {spec.pooling} already", f"leave it out: timm:{spec.model}, or leave out pooling"
        )
    built = build_timm(text, spec)
    given = built.preprocessing
    if given["crop_mode"] not in _CROPS or (given["crop_mode"] == "squash" and given["crop_pct"] != 1):
        raise SkipMethod(f"photos of {text} are cut in the way {given['crop_mode']!r}; give another model")
    preprocessing = {
        "size": list(given["input_size"][1:]), "mean": given["mean"], "std": given["std"],
        "interpolation": given["interpolation"], "resize_mode": _CROPS[given["crop_mode"]], "crop": given["crop_pct"],
    }  # fmt: skip

    def local(pixels: torch.Tensor) -> torch.Tensor:
        return local_features(built.model, spec.model, pixels)

    return ImageTower(built.head or built.model, local, built.preprocess, preprocessing, pooling)
