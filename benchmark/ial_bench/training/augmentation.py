"""Augmentation: photos cropped, resized and relit at random; never mirrored, since a mirrored street is another street.

The result follows from (seed, epoch, photo) alone, whatever the number of worker processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from ial_bench.datasets.loader import DecodedPhotos, photo_tensors
from ial_bench.datasets.photos import Photos
from ial_bench.errors import SkipMethod
from ial_bench.images import RGB
from ial_bench.seeds import generator
from ial_bench.training.config import AugmentationConfig
from ial_bench.training.sampler import Rows

_RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
_LEVELS = np.arange(256, dtype=np.float32) / 255
_TINT = 0.4  # of the brightness change, in each colour alone


@dataclass(frozen=True)
class Augmentation:
    """Turns a decoded photo into a normalised tensor, changed at random.

    Attributes:
        size: height and width of the tensor.
        mean: of the normalisation, by channel.
        std: of the normalisation, by channel.
        resampling: how Pillow resizes.
        whole: whether the photo's whole frame is squeezed into the square, instead of a square being cut out.
        min_scale: side of the smallest cut, as a share of the largest.
        jitter: strength of changes of light.
        crop: side of the centre crop in evaluation, as a share of the largest; sides of random crops are a share of it.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resampling: Image.Resampling
    whole: bool
    min_scale: float = 1.0
    jitter: float = 0.0
    crop: float = 1.0

    @classmethod
    def of(cls, preprocessing: dict[str, Any], config: AugmentationConfig) -> Augmentation:
        """The evaluation's preprocessing with the configured changes.

        Raises:
            SkipMethod: its result is not a square, cropped or squeezed.
        """
        size = preprocessing["size"]
        sides = {int(s) for s in (size if isinstance(size, (list, tuple)) else (size,))}
        mode = preprocessing.get("resize_mode") or "shortest"
        if len(sides) > 1 or mode not in {"shortest", "squash"}:
            raise SkipMethod(
                f"photos of size {size} with resize_mode {mode!r} cannot be trained on; give another model"
            )
        return cls(
            size=sides.pop(),
            mean=tuple(preprocessing["mean"]),
            std=tuple(preprocessing["std"]),
            resampling=_RESAMPLING.get(preprocessing.get("interpolation", "bicubic"), Image.Resampling.BICUBIC),
            whole=mode == "squash",
            min_scale=config.min_scale,
            jitter=config.jitter,
            crop=float(preprocessing.get("crop", 1.0)),
        )

    def __call__(self, photo: RGB, rng: np.random.Generator) -> torch.Tensor:
        """float32 [3, size, size]."""
        image = Image.fromarray(photo)
        box = self._box(image.width, image.height, rng)
        if box != (0.0, 0.0, self.size, self.size):  # a photo of the right size is taken as it is
            image = image.resize((self.size, self.size), self.resampling, box=box)
        seen = np.asarray(image)
        values = self._values(seen, rng)
        pixels = np.empty((3, *seen.shape[:2]), np.float32)
        for channel, out in enumerate(pixels):
            np.take(values[channel], seen[..., channel], out=out, mode="clip")  # without a copy for checks
        return torch.from_numpy(pixels)

    def _values(self, seen: RGB, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """float32 [3, 256]: what light and normalisation make of each value of a channel."""
        values = _LEVELS
        if self.jitter:
            gain = np.exp(self.jitter * (rng.normal(0, 1) + _TINT * rng.normal(0, 1, 3))).astype(np.float32)
            contrast = np.float32(np.exp(self.jitter * rng.normal(0, 1)))
            middle = np.float32(seen.mean() / 255)
            values = (middle + (values - middle) * contrast) * gain[:, None]
            np.maximum(values, 0, out=values)
            np.minimum(values, 1, out=values)
        mean, std = self._normalisation
        return np.asarray((values - mean) / std, np.float32)

    @cached_property
    def _normalisation(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Mean and deviation: float32 [3, 1] each."""
        return np.array(self.mean, np.float32)[:, None], np.array(self.std, np.float32)[:, None]

    def _box(self, width: int, height: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
        """The part that is taken: all of it, or with `min_scale` below 1 a square of random side and place."""
        frame = (width, height) if self.whole else (self.crop * min(width, height),) * 2
        if self.min_scale == 1.0:
            left, top = (width - frame[0]) / 2, (height - frame[1]) / 2
            return left, top, left + frame[0], top + frame[1]
        scale, across, down = rng.uniform(self.min_scale, 1), rng.uniform(), rng.uniform()
        w, h = scale * frame[0], scale * frame[1]
        left, top = across * (width - w), down * (height - h)
        return left, top, left + w, top + h


def pixel_batches(
    photos: Photos,
    augmentation: Augmentation,
    batches: list[Rows],
    seed: int,
    epoch: int,
    workers: int,
    *,
    pin: bool = False,
    kept: DecodedPhotos | None = None,
) -> Iterator[torch.Tensor]:
    """Augmented photos of the batches of an epoch, in order: float tensors [b, 3, size, size].

    Raises:
        ImageError: a photo cannot be decoded.
    """
    return photo_tensors(
        photos, _Seeded(augmentation, seed, epoch), [b.tolist() for b in batches], workers, pin=pin, kept=kept
    )


@dataclass(frozen=True)
class _Seeded:
    augmentation: Augmentation
    seed: int
    epoch: int

    def __call__(self, photo: RGB, row: int) -> torch.Tensor:
        return self.augmentation(photo, generator("training view", self.seed, self.epoch, row))
