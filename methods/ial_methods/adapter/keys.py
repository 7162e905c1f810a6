"""What Tip-Adapter keeps and chooses, as arrays. No torch here: methods are listed and planned without it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ial_bench import unit_norm
from ial_bench.files import storage_errors
from ial_bench.progress import chunks

KEY_BLOCK = 4096
"""Keys that are looked at together."""

_IN_MEMORY_BYTES = 1 << 30


@dataclass(frozen=True)
class CacheParameters:
    """The weight and sharpness of a cache model, as chosen on val.

    Attributes:
        alpha: weight of the cache's votes beside the text logits.
        beta: sharpness of the votes.
        val_ssa1: SSA-1 on val with them, None without a choice.
    """

    alpha: float
    beta: float
    val_ssa1: float | None = None

    def as_array(self) -> npt.NDArray[np.float64]:
        """float64 [3]; NaN for None."""
        return np.array([self.alpha, self.beta, np.nan if self.val_ssa1 is None else self.val_ssa1])

    @classmethod
    def from_array(cls, told: npt.NDArray[np.float64]) -> CacheParameters:
        """What `as_array` gave."""
        alpha, beta, ssa1 = told.tolist()
        return cls(alpha, beta, None if np.isnan(ssa1) else ssa1)


def choose_rows(
    labels: npt.NDArray[np.int32], per_address: int | None, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """int64 [m]: rows to cache, ordered by address; of each at most `per_address`, drawn without replacement.

    Rows whose address is no candidate (label -1) are left out.
    """
    rows = np.flatnonzero(labels >= 0)
    if per_address is not None:
        drawn = rng.permutation(rows)
        drawn = drawn[np.argsort(labels[drawn], kind="stable")]
        own = labels[drawn]
        place = np.arange(len(drawn)) - np.searchsorted(own, own)  # of each photo among its address's
        rows = np.sort(drawn[place < per_address])
    return rows[np.argsort(labels[rows], kind="stable")].astype(np.int64)


def unit_rows(x: npt.NDArray[np.float32], rows: npt.NDArray[np.int64], folder: Path | None) -> npt.NDArray[np.float32]:
    """float32 [m, d]: unit features of `rows`; more than 1 GiB of them in a nameless file, memory-mapped.

    Args:
        x: features, may be memory-mapped.
        rows: which.
        folder: where the file may lie; None: where temporary files do.

    Raises:
        StorageError: the file cannot be written.
    """
    shape = len(rows), x.shape[1]
    blocks = (unit_norm(np.asarray(x[rows[part]])) for part in chunks(len(rows), KEY_BLOCK))
    if shape[0] * shape[1] * 4 <= _IN_MEMORY_BYTES:
        return np.concatenate([np.zeros((0, shape[1]), np.float32), *blocks])
    with storage_errors(folder or Path(tempfile.gettempdir())), tempfile.TemporaryFile(dir=folder) as file:
        for block in blocks:
            file.write(block.tobytes())
        file.flush()
        return np.memmap(file, dtype=np.float32, mode="c", shape=shape)
