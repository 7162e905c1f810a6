"""Photos as tensors in batches, read and decoded ahead by workers.

Beside a GPU workers are processes. On the CPU they are threads, which decode and resize without Python's lock, and
share its cores and its memory with the model: of a process that trains and has forked, every page that it then writes
to is first copied.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ial_bench.datasets.photos import Photos
from ial_bench.errors import BenchError
from ial_bench.images import RGB

if TYPE_CHECKING:
    import torch

_AHEAD = 2  # batches in the making while one is used


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
        workers: threads or processes; 0 does it between the batches.
        pin: whether the tensors are to lie in pinned memory, for a GPU.

    Raises:
        ImageError: a photo cannot be decoded.
    """
    if not pin:
        yield from _by_threads(_Tensors(photos, make), batches, workers)
        return
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


def _by_threads(items: _Tensors, batches: Sequence[Sequence[int]], workers: int) -> Iterator[torch.Tensor]:
    if workers == 0:
        for batch in batches:
            yield _whole([items[i] for i in batch])
        return
    pool = ThreadPoolExecutor(workers)
    coming: deque[list[Future[torch.Tensor | BenchError]]] = deque()
    try:
        for batch in batches:
            coming.append([pool.submit(items.__getitem__, i) for i in batch])
            if len(coming) > _AHEAD:
                yield _whole([photo.result() for photo in coming.popleft()])
        while coming:
            yield _whole([photo.result() for photo in coming.popleft()])
    finally:
        pool.shutdown(cancel_futures=True)


def _whole(items: list[torch.Tensor | BenchError]) -> torch.Tensor:
    stacked = _stack(items)
    if isinstance(stacked, BenchError):
        raise stacked
    return stacked


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
