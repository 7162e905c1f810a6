"""The VPR encoders that can be named, where their weights come from, and the photos that they take.

Nothing heavy is imported here: a name is checked before any model is built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FILES_JOINED_BY = "::"


@dataclass(frozen=True)
class Published:
    """A published encoder.

    Attributes:
        family: the module beside this one that builds it, such as ``cosplace`` (EigenPlaces too).
        trunk: torchvision's or DINOv2's name of the network below.
        dim: length of a descriptor; 0 where the weights decide.
        size: photos are resized to this height and width, regardless of their shape.
        crop: then cut to this height and width in the middle.
        interpolation: of the resizing.
        page: where the authors offer the weights.
        files: what the weights are, for a message.
    """

    family: str
    trunk: str
    dim: int
    size: tuple[int, int]
    crop: tuple[int, int]
    interpolation: str
    page: str
    files: str = "FILE"

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Every number of it, as JSON values."""
        return {
            "crop": list(self.crop), "interpolation": self.interpolation, "mean": list(IMAGENET_MEAN),
            "resize": list(self.size), "std": list(IMAGENET_STD),
        }  # fmt: skip


class Built(NamedTuple):
    """A published encoder with its weights.

    Attributes:
        model: a photo to a descriptor.
        dim: length of a descriptor.
        files: that the weights came from.
    """

    model: nn.Module
    dim: int
    files: Sequence[Path]


def _of_berton(name: str, page: str, dims: Mapping[str, tuple[int, ...]]) -> dict[str, Published]:
    """Both were trained on photos of 512 x 512; theirs are tested at the photos' own size, one by one."""
    return {
        f"{name}-{trunk}-{dim}": Published("cosplace", trunk, dim, (512, 512), (512, 512), "bilinear", page)
        for trunk, widths in dims.items()
        for dim in widths
    }


_RESNET_DIMS = (32, 64, 128, 256, 512, 1024, 2048)

PUBLISHED: dict[str, Published] = {
    **_of_berton(
        "cosplace",
        "https://github.com/gmberton/CosPlace",
        {
            "vgg16": (64, 128, 256, 512), "resnet18": _RESNET_DIMS[:5], "resnet50": _RESNET_DIMS,
            "resnet101": _RESNET_DIMS, "resnet152": _RESNET_DIMS,
        },
    ),
    **_of_berton(
        "eigenplaces",
        "https://github.com/gmberton/EigenPlaces",
        {
            "vgg16": (512,), "resnet18": (256, 512), "resnet50": _RESNET_DIMS[2:], "resnet101": _RESNET_DIMS[2:],
        },
    ),
    **{
        f"mixvpr-resnet50-{dim}": Published(
            "mixvpr", "resnet50", dim, (320, 320), (320, 320), "bilinear", "https://github.com/amaralibey/MixVPR"
        )
        for dim in (128, 512, 4096)
    },
    "salad": Published(
        "salad", "vitb14", 8448, (322, 322), (322, 322), "bilinear", "https://github.com/serizba/salad"
    ),
    "anyloc-dinov2-vitg14": Published(
        "anyloc", "vitg14", 0, (480, 640), (476, 630), "bilinear", "https://github.com/AnyLoc/AnyLoc",
        files=f"C_CENTERS_FILE[{FILES_JOINED_BY}DINOV2_FILE]",
    ),
}  # fmt: skip
"""By the name after ``vpr:``."""
