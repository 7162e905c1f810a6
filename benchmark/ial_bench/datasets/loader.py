"""Photos as tensors in batches, read and decoded by worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ial_bench.datasets.photos import Photos
from ial_bench.errors import BenchError
from ial_bench.images import RGB

if TYPE_CHECKING:
    import torch


def photo_tensors(
    photos: Photos,
    make: Callable[[RGB, int], torch.Tensor],
    batches: Sequence[Sequence[int]],
    workers: int,
    *,
    pin: bool = False,
) -> Iterator[torch.Tensor]:
    """Float tensors [b, ...] of the batches, in order.

    Args:
        photos: where from.
        make: a decoded photo and its row to a tensor; of a class that reaches worker processes.
        batches: rows of each batch.
        workers: processes; 0 does it in this one.
        pin: whether the tensors are to lie in pinned memory.

    Raises:
        ImageError: a photo cannot be decoded.
    """
    from torch.utils.data import DataLoader

    items: Any = _Tensors(photos, make)  # any sequence will do
    loader = DataLoader(
        items,
        batch_sampler=[list(b) for b in batches],
        collate_fn=_stack,
        num_workers=min(workers, len(batches)),
        pin_memory=pin,
    )
    for tensors in loader:
        if isinstance(tensors, BenchError):
            raise tensors
        yield tensors


@dataclass(frozen=True)
class _Tensors:
    photos: Photos
    make: Callable[[RGB, int], torch.Tensor]

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, i: int) -> torch.Tensor | BenchError:
        """The tensor, or in its place the error: raised in a worker it would reach the user as a page of traceback."""
        try:
            photo = self.photos.image(i)
        except BenchError as error:
            return error
        return self.make(photo, i)


def _stack(items: list[torch.Tensor | BenchError]) -> torch.Tensor | BenchError:
    import torch

    tensors: list[torch.Tensor] = []
    for item in items:
        if isinstance(item, BenchError):
            return item
        tensors.append(item)
    return torch.stack(tensors)
