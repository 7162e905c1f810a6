"""The photos that a method is asked about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, overload

import numpy as np
import numpy.typing as npt

from ial_bench.images import RGB


class PhotoRows(Protocol):
    """Photos of a dataset, as far as a batch knows them: what caches and errors call them."""

    @property
    def digest(self) -> str:
        """SHA-256 of which image files these are."""
        ...

    def __len__(self) -> int: ...

    def where(self, i: int) -> str:
        """Where photo i lies, for errors."""
        ...


class ImageBatch(Sequence[RGB]):
    """The photos a method is asked about: pixels, and nothing that reveals where they were taken.

    Photos are decoded when they are taken out, so that a batch may be larger than memory.

    Args:
        load: returns photo i, decoded.
        keys: uint64 [n], an opaque number per photo that stays the same from run to run, for methods that
            draw at random per photo.
        positions: float64 [n, 2], true latitude and longitude in degrees; only given to methods that
            declare themselves oracles.
        source: the dataset rows behind the batch, by which the engine finds cached features. Not part of
            the contract.
        names: of the photos, for errors. Not part of the contract.
    """

    def __init__(
        self,
        load: Callable[[int], RGB],
        keys: npt.NDArray[np.uint64],
        positions: npt.NDArray[np.float64] | None = None,
        source: tuple[PhotoRows, slice] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self._load = load
        self._keys = keys
        self._positions = positions
        self._source = source
        self._names = names

    @classmethod
    def from_arrays(
        cls,
        photos: Sequence[RGB],
        keys: npt.NDArray[np.uint64] | None = None,
        positions: npt.NDArray[np.float64] | None = None,
        names: Sequence[str] | None = None,
    ) -> ImageBatch:
        """A batch of photos that are already decoded."""
        numbers = np.arange(len(photos), dtype=np.uint64) if keys is None else keys
        return cls(photos.__getitem__, numbers, positions, names=names)

    @property
    def keys(self) -> npt.NDArray[np.uint64]:
        """uint64 [n]: an opaque, stable number per photo."""
        return self._keys

    @property
    def positions(self) -> npt.NDArray[np.float64]:
        """float64 [n, 2]: true latitude and longitude, for oracles alone.

        Raises:
            PermissionError: the method has not declared ``MethodInfo(oracle=True)``.
        """
        if self._positions is None:
            raise PermissionError("the true positions of queries are for oracles: declare MethodInfo(oracle=True)")
        return self._positions

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, index: int) -> RGB: ...
    @overload
    def __getitem__(self, index: slice) -> ImageBatch: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            rows = range(len(self))[index]
            return ImageBatch(
                lambda i: self._load(rows[i]),
                self._keys[index],
                None if self._positions is None else self._positions[index],
            )
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._load(index % len(self))
