"""Photos as tensors: decoded, prepared and stacked to batches, ahead of their use by workers.

With a GPU, workers are processes. On the CPU they are threads, which decode and resize without Python's lock and share
the cores and the memory with the model.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ial_bench.datasets.photos import Photos
from ial_bench.images import RGB
from ial_bench.processes import Workers, start_server

if TYPE_CHECKING:
    import torch

    from ial_bench.image_batch import ImageBatch

_Ask: TypeAlias = "Callable[[int], Future[Any]]"

_AHEAD = 2  # batches in the making while one is used
_PRELOAD = (
    "ial_bench.datasets.dataset", "ial_bench.training.augmentation", "PIL.Image", "open_clip.transform", "timm.data",
)  # fmt: skip
_BYTES = 1 << 28
_PHOTOS = 1 << 14  # their places in the file take some megabytes of memory
_OF_FREE = 8  # at most an eighth of the free space of the disk


@dataclass(frozen=True)
class Prepared:
    """A photo as it is encoded: without augmentation, so that its row does not matter."""

    preprocess: Callable[[RGB], torch.Tensor]

    def __call__(self, photo: RGB, row: int) -> torch.Tensor:  # noqa: ARG002 - as an augmentation is called
        """Float tensor [3, h, w]."""
        return self.preprocess(photo)


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
    """Float tensors [b, ...] of batches of a dataset's photos, in order.

    Args:
        photos: where from.
        make: a decoded photo and its row to a tensor, such as `Prepared`; of a class that can be pickled.
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


def image_tensors(
    images: ImageBatch, rows: Sequence[int], preprocess: Callable[[RGB], torch.Tensor], workers: int = 0
) -> torch.Tensor:
    """Float tensors [b, 3, h, w] of some photos that a method is asked about.

    Args:
        images: where from.
        rows: which.
        preprocess: a decoded photo to a tensor.
        workers: threads that decode and prepare; fewer than 2 do it in this one.
    """

    def load(i: int) -> torch.Tensor:
        return preprocess(images[i])

    if workers < 2 or len(rows) < 2:
        return _stacked([load(i) for i in rows])
    with ThreadPoolExecutor(workers) as pool:
        return _stacked(list(pool.map(load, rows)))


def feature_batches(x: npt.NDArray[np.float32], batches: Sequence[npt.NDArray[np.int64]]) -> Iterator[torch.Tensor]:
    """Float tensors [b, d] of cached features, in order; `x` may be memory-mapped."""
    import torch

    for rows in batches:
        yield torch.from_numpy(np.ascontiguousarray(x[rows]))


def expect_processes() -> None:
    """Start to load what worker processes need, while this one does something else, such as loading a model."""
    start_server(_PRELOAD)


def _stacked(photos: list[Any], pin: bool = False) -> torch.Tensor:
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
    known = [name for name in _PRELOAD if name in sys.modules]  # they need what is loaded here
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
    """The same as arrays, for worker processes: torch would pass tensors in shared memory."""

    items: _Tensors

    def __call__(self, i: int) -> npt.NDArray[Any]:
        import torch

        torch.set_num_threads(1)  # there is a process for each core that may be used
        return self.items(i).numpy()


class DecodedPhotos:
    """Decoded photos of one dataset in a file, for trainings that see them in every epoch. Threads may share it.

    The first photos are kept, as many as fit. Small ones take longer to decode than to read back; of large ones few
    fit, and the others are decoded each time. The file has no name, so it is gone when the process ends in any way.

    Args:
        folder: of the file; None: nothing is kept.
        limit: most bytes of the file.
    """

    def __init__(self, folder: Path | None, limit: int = _BYTES) -> None:
        self._lock, self._places, self._end = Lock(), dict[int, tuple[int, tuple[int, ...]]](), 0
        self._file: Any = None
        self._limit = 0
        if folder is not None:
            self._limit = min(limit, shutil.disk_usage(folder).free // _OF_FREE)
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - as long as this object
            weakref.finalize(self, self._file.close)

    def image(self, photos: Photos, i: int) -> RGB:
        """Photo i, as `Photos.image` gives it.

        Raises:
            ImageError: as there, where it is not kept.
        """
        row = int(photos.rows[i])
        kept = self._read(row)
        if kept is not None:
            return kept
        photo = photos.image(i)
        self._keep(row, photo)
        return photo

    def _read(self, row: int) -> RGB | None:
        if row not in self._places:
            return None
        start, shape = self._places[row]
        with self._lock:
            self._file.seek(start)
            data = self._file.read(int(np.prod(shape)))
        return np.frombuffer(data, np.uint8).reshape(shape)

    def _keep(self, row: int, photo: RGB) -> None:
        with self._lock:
            fits = self._end + photo.nbytes <= self._limit and len(self._places) < _PHOTOS
            if not fits or row in self._places:
                return
            try:
                self._file.seek(self._end)
                written = self._file.write(photo.tobytes())
            except OSError:  # a full disk only costs time
                written = 0
            if written != photo.nbytes:
                self._limit = 0
                return
            self._places[row] = self._end, photo.shape
            self._end += photo.nbytes
