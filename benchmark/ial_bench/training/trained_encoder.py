"""Features of photos by a network that a method trains, as the network is now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch

from ial_bench.datasets.decoded import DecodedPhotos
from ial_bench.datasets.photos import Photos
from ial_bench.encoders.finite import names_of_batch, require_finite
from ial_bench.images import RGB, ImageBatch
from ial_bench.method import RunContext, chunks
from ial_bench.training.augmentation import plain_pixels

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
        loaded = plain_pixels(photos, batches, self._preprocess, self._context, self._kept)
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


def image_tensors(
    images: ImageBatch, rows: Sequence[int], preprocess: Callable[[RGB], torch.Tensor], workers: int
) -> torch.Tensor:
    """Float tensors [b, 3, h, w] of some photos that a method is asked about, decoded by as many threads."""

    def load(i: int) -> torch.Tensor:
        return preprocess(images[i])

    if workers < 2 or len(rows) < 2:
        return torch.stack([load(i) for i in rows])
    with ThreadPoolExecutor(workers) as pool:  # decoding and resizing leave Python's lock
        return torch.stack(list(pool.map(load, rows)))
