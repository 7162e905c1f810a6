"""Photos as tensors in batches, read and decoded ahead by workers.

Beside a GPU workers are processes. On the CPU they are threads, which decode and resize without Python's lock, and
share its cores and its memory with the model.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy.typing as npt

from ial_bench.datasets.decoded import DecodedPhotos
from ial_bench.datasets.photos import Photos
from ial_bench.images import RGB
from ial_bench.processes import Workers, start_server

if TYPE_CHECKING:
    import torch

_Ask: TypeAlias = "Callable[[int], Future[Any]]"

_AHEAD = 2  # batches in the making while one is used
_PRELOAD = (
    "ial_bench.datasets.dataset", "ial_bench.training.augmentation", "PIL.Image", "open_clip.transform", "timm.data",
)  # fmt: skip


def photo_tensors(
    photos: Photos,
    make: Callable[[RGB, int], torch.Tensor],
    batches: Sequence[Sequence[int]],
    workers: int,
    *,
    pin: bool = False,
    processes: bool | None = None,
    kept: DecodedPhotos | None = None,
) -> Iterator[torch.Tensor]:
    """Float tensors [b, ...] of the batches, in order.

    Args:
        photos: where from.
        make: a decoded photo and its row to a tensor; of a class that reaches worker processes.
        batches: rows of each batch.
        workers: threads or processes; 0 does it between the batches.
        pin: whether the tensors are to lie in pinned memory, for a GPU.
        processes: whether workers are processes; None: those for a GPU are.
        kept: photos of the dataset that were decoded before; processes decode for themselves.

    Raises:
        ImageError: a photo cannot be decoded.
        WorkerError: a process has ended, or cannot be started.
    """
    apart = pin if processes is None else processes
    number = min(workers, sum(len(batch) for batch in batches))
    items = _Tensors(photos, make, None if apart and number else kept)
    if number == 0:
        for batch in batches:
            yield _stacked([items(i) for i in batch], pin)
        return
    coming: deque[list[Future[Any]]] = deque()
    with (_processes if apart else _threads)(items, number) as ask:
        for batch in batches:
            coming.append([ask(i) for i in batch])
            if len(coming) > _AHEAD:
                yield _stacked([photo.result() for photo in coming.popleft()], pin)
        while coming:
            yield _stacked([photo.result() for photo in coming.popleft()], pin)


def expect_processes() -> None:
    """Have ready what worker processes need, while this one does something else, such as loading a model."""
    start_server(_PRELOAD)


def _stacked(photos: list[Any], pin: bool) -> torch.Tensor:
    import torch

    tensors = [torch.as_tensor(p) for p in photos]
    shape = (len(tensors), *tensors[0].shape)
    return torch.stack(tensors, out=torch.empty(shape, dtype=tensors[0].dtype, pin_memory=pin))


@contextmanager
def _threads(items: _Tensors, number: int) -> Iterator[_Ask]:
    pool = ThreadPoolExecutor(number)
    try:
        yield lambda i: pool.submit(items, i)
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _processes(items: _Tensors, number: int) -> Iterator[_Ask]:
    known = [name for name in _PRELOAD if name in sys.modules]  # what is needed there is loaded here already
    with Workers(_Arrays(items), number, known) as pool:
        yield pool.submit


@dataclass(frozen=True)
class _Tensors:
    photos: Photos
    make: Callable[[RGB, int], torch.Tensor]
    kept: DecodedPhotos | None = None

    def __call__(self, i: int) -> torch.Tensor:
        return self.make(self.photos.image(i) if self.kept is None else self.kept.image(self.photos, i), i)


@dataclass(frozen=True)
class _Arrays:
    """The same as arrays, for worker processes: torch would hand tensors over in shared memory."""

    items: _Tensors

    def __call__(self, i: int) -> npt.NDArray[Any]:
        import torch

        torch.set_num_threads(1)  # there are as many of these processes as are to compute at once
        return self.items(i).numpy()
