"""PCA whitening of features (Jégou and Chum, Negative Evidences and Co-occurrences in Image Retrieval, ECCV 2012)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ial_bench import Features, unit_norm
from ial_bench.errors import ConfigError

_LEAST_VARIANCE = 1e-9  # of the largest; what is below is rounding of float32


@dataclass(frozen=True)
class Whitening:
    """``unit((unit(x) - mean) P)``: components of unit variance, then unit norm, so that inner products are cosines.

    Attributes:
        mean: float32 [d], of unit features.
        projection: float32 [d, m], principal directions by falling variance, each divided by its deviation.
    """

    mean: npt.NDArray[np.float32]
    projection: npt.NDArray[np.float32]

    @classmethod
    def fit(cls, train: Features, dim: int) -> Whitening:
        """Principal components of the train features, read in blocks, summed in double precision.

        Args:
            train: features [n, d].
            dim: components m to keep.

        Raises:
            ConfigError: the features do not vary in so many dimensions.
        """
        width = train.x.shape[1]
        n = max(len(train), 1)
        mean = sum((unit_norm(x).sum(axis=0, dtype=np.float64) for x, _ in train.blocks()), np.zeros(width)) / n
        scatter = np.zeros((width, width))
        for x, _ in train.blocks():
            centred = unit_norm(x).astype(np.float64) - mean
            scatter += centred.T @ centred
        variances, directions = np.linalg.eigh(scatter / max(n - 1, 1))
        variances, directions = variances[::-1], directions[:, ::-1]
        rank = int((variances > max(variances[0], 0.0) * _LEAST_VARIANCE).sum())
        if dim > rank:
            raise ConfigError(
                f"whiten={dim}: the features of the {len(train):,} train photos vary in {rank} dimensions only",
                f"set whiten to at most {rank}",
            )
        kept = directions[:, :dim]
        kept = kept * np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(dim)])  # else their signs mean nothing
        return cls(mean.astype(np.float32), (kept / np.sqrt(variances[:dim])).astype(np.float32))

    def __call__(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """float32 [n, m] of features [n, d]: unit rows."""
        return unit_norm(np.asarray((unit_norm(x) - self.mean) @ self.projection, dtype=np.float32))

    @property
    def nbytes(self) -> int:
        """Bytes of mean and projection."""
        return self.mean.nbytes + self.projection.nbytes

    @property
    def digest(self) -> str:
        """SHA-256 of mean and projection."""
        return hashlib.sha256(self.mean.tobytes() + self.projection.tobytes()).hexdigest()
