"""NaN and infinity, refused where they arise: in weights as they are loaded, in features as they are made.

A NaN compares with nothing, so that behind it stands an order that means nothing, and a score that looks like one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ial_bench.errors import DataError

if TYPE_CHECKING:
    from torch import nn

    from ial_bench.image_batch import ImageBatch


def require_finite_weights(model: nn.Module, text: str) -> None:
    """Refuse a network with parameters or stored statistics that are NaN or infinite.

    Args:
        model: with weights, in any precision.
        text: the encoder's name, for errors.

    Raises:
        DataError: with the first such tensor.
    """
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            bad = int((~tensor.isfinite()).sum())
            raise DataError(
                f"the weights of {text} are not all finite: {bad:,} of {tensor.numel():,} values of {name} are NaN "
                "or infinite",
                "take an earlier checkpoint, or get the file again",
            )


def require_finite(features: npt.NDArray[np.float32], text: str, name: Callable[[int], str]) -> None:
    """Refuse features that are NaN or infinite.

    Args:
        features: [n, d].
        text: name of the encoder that made them, for errors.
        name: tells what row i is of, in words.

    Raises:
        DataError: with the first such row.
    """
    fine = np.isfinite(features).all(axis=1)
    if not fine.all():
        raise DataError(
            f"{text} gives features of {name(int(fine.argmin()))} that are NaN or infinite",
            "numbers overflow in it: where --precision is fp16, bf16 or fp32 has the range; else take another "
            "checkpoint",
        )


def name_of_text(text: str) -> str:
    """A text in words."""
    return f"the text {text!r}"


def names_of_batch(images: ImageBatch) -> Callable[[int], str]:
    """Photos of a batch in words: where they lie, if that is known; else their numbers."""
    source, names = images._source, images._names  # noqa: SLF001 - the engine's own marks
    if source is None:
        return lambda i: f"photo {i} of the batch" if names is None else names[i]
    photos, part = source
    rows = range(*part.indices(len(photos)))
    return lambda i: photos.where(rows[i])
