"""Intervals for queries that are not independent: the cluster bootstrap over places.

Photos of one place succeed or fail together. Whole places are drawn with replacement, so that the interval
tells what another sample of *places* would have shown. With 24 photos a place and an intra-class correlation
of 0.3, an interval that treats photos as independent covers the truth half the time it claims to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ial_bench.seeds import generator

REPLICATES = 10_000
LEVEL = 0.95
_BLOCK_CELLS = 1 << 20  # counters drawn at once: they stay in the processor's cache


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval, None where a single place gives no idea of the spread."""

    value: float
    ci95: tuple[float, float] | None


def place_weights(n_places: int, replicates: int, seed: int, cells: int = 0) -> Iterator[npt.NDArray[np.float64]]:
    """Blocks [b, n_places]: how often each place was drawn, for `replicates` replicates in all.

    Args:
        n_places: to draw from, and to draw for each replicate.
        replicates: rows of all blocks together.
        seed: of the draws, which do not depend on the size of the blocks.
        cells: numbers that the caller will hold a replicate, where they are more than places.
    """
    rng = generator("bootstrap", seed)
    block = max(1, _BLOCK_CELLS // max(n_places, cells, 1))
    for start in range(0, replicates, block):
        size = min(block, replicates - start)
        drawn = rng.integers(n_places, size=(size, n_places), dtype=np.int32)
        drawn += (np.arange(size, dtype=np.int32) * n_places)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * n_places).reshape(size, n_places).astype(np.float64)


def clustered_means(
    values: npt.NDArray[np.floating],
    places: npt.NDArray[np.integer],
    classes: npt.NDArray[np.integer] | None = None,
    class_columns: int = 0,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> list[Estimate]:
    """Means of columns, each with a percentile interval from a bootstrap over places.

    Args:
        values: [n, m], one row a query.
        places: [n], any numbers; equal ones are one place.
        classes: [n], class of each query, for macro means.
        class_columns: the first so many columns are also averaged as macro means (the mean over classes of the
            class means); their estimates follow the m plain ones.
        replicates: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        m + class_columns estimates.
    """
    n, m = values.shape
    _, place = np.unique(places, return_inverse=True)
    n_places = int(place.max()) + 1 if n else 0
    points = list(values.mean(axis=0)) if n else [float("nan")] * m
    # [P, m + 1]: sums and, last, counts. A replicate's mean is a ratio of two weighted sums over places.
    sums = np.stack([np.bincount(place, column, minlength=n_places) for column in [*values.T, np.ones(n)]], axis=1)
    macro = None
    if classes is not None and class_columns:
        if not n:
            return [Estimate(float("nan"), None)] * (m + class_columns)
        macro = _MacroMeans(values[:, :class_columns], place, classes, n_places)
        points += list(macro.means(np.ones((1, n_places)))[0])
    if n_places < 2:
        return [Estimate(float(p), None) for p in points]
    drawn = []
    for weights in place_weights(n_places, replicates, seed, 0 if macro is None else macro.n_classes):
        total = weights @ sums
        plain = total[:, :m] / total[:, m:]
        drawn.append(plain if macro is None else np.concatenate([plain, macro.means(weights)], axis=1))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(drawn), [tail, 1 - tail], axis=0)
    return [Estimate(float(p), (float(a), float(b))) for p, a, b in zip(points, low, high, strict=True)]


class _MacroMeans:
    """Mean over classes of the class means, under place weights; classes that were not drawn do not count."""

    def __init__(
        self,
        values: npt.NDArray[np.floating],
        place: npt.NDArray[np.integer],
        classes: npt.NDArray[np.integer],
        n_places: int,
    ) -> None:
        from scipy.sparse import csr_array

        _, cls = np.unique(classes, return_inverse=True)
        self.n_classes = int(cls.max()) + 1
        shape = (n_places, self.n_classes)
        self._counts = csr_array((np.ones(len(cls)), (place, cls)), shape=shape)
        self._sums = [csr_array((column.astype(np.float64), (place, cls)), shape=shape) for column in values.T]

    def means(self, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """[r, c] for weights [r, n_places]."""
        counts = weights @ self._counts
        present = counts > 0
        safe = np.where(present, counts, 1.0)
        columns = [((weights @ s) / safe).sum(axis=1) / present.sum(axis=1) for s in self._sums]
        return np.stack(columns, axis=1)
