"""Features of photos by a network that a method trains, as the network is now."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch

from ial_bench.datasets.loader import DecodedPhotos, Prepared, image_tensors, photo_tensors
from ial_bench.datasets.photos import Photos
from ial_bench.encoders.encoder import names_of_batch, require_finite
from ial_bench.image_batch import ImageBatch
from ial_bench.images import RGB
from ial_bench.method import RunContext
from ial_bench.progress import chunks

FloatRows = npt.NDArray[np.float32]


class TrainedEncoder:
    """Encodes photos a batch at a time.

    Args:
        name: of the encoder, for errors.
        encode: normalised pixels to features.
        preprocess: a decoded photo to normalised pixels.
        context: device, size of a batch, workers.
        kept: photos of datasets that were decoded before.

    Raises:
        DataError: from both methods: a feature is not finite.
        ImageError: from both methods: a photo cannot be decoded.
    """

    def __init__(
        self, name: str, encode: Callable[[torch.Tensor], torch.Tensor], preprocess: Callable[[RGB], torch.Tensor],
        context: RunContext, kept: DecodedPhotos,
    ) -> None:  # fmt: skip
        self._name, self._encode, self._preprocess = name, encode, preprocess
        self._context, self._kept = context, kept

    def photos(self, photos: Photos) -> Iterator[tuple[slice, FloatRows]]:
        """Features [b, d] of photos of a dataset, with their rows."""
        parts = list(chunks(len(photos), self._context.batch_size))
        batches = [range(p.start, p.stop) for p in parts]
        pin, workers = self._context.device.startswith("cuda"), self._context.workers
        loaded = photo_tensors(photos, Prepared(self._preprocess), batches, workers, pin=pin, kept=self._kept)
        for part, pixels in zip(parts, loaded, strict=True):
            yield part, self._features(pixels, part.start, photos.where)

    def images(self, images: ImageBatch) -> Iterator[tuple[slice, FloatRows]]:
        """Features [b, d] of photos that a method is asked about, with their rows."""
        name = names_of_batch(images)
        for part in chunks(len(images), self._context.batch_size):
            pixels = image_tensors(images, range(part.start, part.stop), self._preprocess, self._context.workers)
            yield part, self._features(pixels, part.start, name)

    def _features(self, pixels: torch.Tensor, first: int, name: Callable[[int], str]) -> FloatRows:
        with torch.inference_mode():
            features: FloatRows = self._encode(pixels.to(self._context.device)).float().cpu().numpy()
        require_finite(features, self._name, lambda i: name(first + i))
        return features
