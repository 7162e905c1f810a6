"""Decoded photos on the disk, for trainings that see the same ones in every epoch."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ial_bench.datasets.photos import Photos
    from ial_bench.images import RGB

_BYTES = 1 << 28
_PHOTOS = 1 << 14  # of which some megabytes of memory tell where they lie
_OF_FREE = 8  # at most one in so many bytes of what is free on the disk


class DecodedPhotos:
    """Photos of one dataset as they were decoded: the first that come, as many as fit. Threads may share it.

    Small photos take longer to decode than to read back; of large ones few fit, and decoding them anew is as before.
    The file has no name, so that nothing is left of it when the process ends, however it does.

    Args:
        folder: where the file is to lie; None: nothing is kept.
        limit: bytes at most.
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
            except OSError:  # a full disk: what is kept is a convenience
                written = 0
            if written != photo.nbytes:
                self._limit = 0
                return
            self._places[row] = self._end, photo.shape
            self._end += photo.nbytes
