"""A position from those of a photo's nearest neighbours.

All of it on unit vectors, so that neither a pole nor the antimeridian is special.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ial_bench import Features
from ial_bench.geo.points import EARTH_RADIUS_M, Points, points_of, unit_vectors
from ial_bench.geocoding.geocoder import NearestPlace
from ial_bench.geocoding.place_index import PlaceIndex

Floats: TypeAlias = npt.NDArray[np.float64]
FloatRows: TypeAlias = npt.NDArray[np.float32]

_NO_LENGTH = 1e-9  # of a mean of unit vectors; only antipodes cancel
_SHIFTS = 200
_AT_REST_M = 1e-3


def weighted_mean(positions: Points, weights: Floats) -> Points:
    """[n, 2]: the weighted mean of each row's positions: the direction of the weighted sum of unit vectors.

    Where nothing is left of the sum, as of antipodes of equal weight, it is the row's first position.

    Args:
        positions: [n, k, 2].
        weights: [n, k].
    """
    return points_of(_mean(unit_vectors(positions), weights, unit_vectors(positions[:, 0])))


def mean_shift(positions: Points, weights: Floats, bandwidth_m: float) -> Points:
    """[n, 2]: the mode of the weighted density of each row's positions (Comaniciu and Meer, PAMI 2002, eq. 20).

    The kernel is a Gaussian in metres, ``exp(-d^2 / 2 h^2)``, with d the chord between two points, which in a city is
    their distance; on the sphere it is the von Mises-Fisher kernel of concentration ``(R / h)^2``. Started at the
    position where the density is highest; each step goes to the kernel-weighted mean, which never lowers the density,
    until it is shorter than a millimetre.

    Args:
        positions: [n, k, 2].
        weights: [n, k].
        bandwidth_m: h, in metres.
    """
    vectors = unit_vectors(positions)
    # From differences: chords of near points from their cosine would be rounded to decimetres.
    squares = sum(np.square(vectors[:, :, None, i] - vectors[:, None, :, i]) for i in range(3))
    start = (_kernel(np.asarray(squares), bandwidth_m) @ weights[..., None])[..., 0].argmax(axis=1)
    now = np.take_along_axis(vectors, start[:, None, None], axis=1)[:, 0]
    moving = np.arange(len(positions))
    for _ in range(_SHIFTS):
        if len(moving) == 0:
            break
        there, here = vectors[moving], now[moving]
        squares = np.square(there - here[:, None]).sum(axis=-1)
        moved = _mean(there, weights[moving] * _kernel(squares, bandwidth_m), here)
        now[moving] = moved
        moving = moving[np.linalg.norm(moved - here, axis=1) * EARTH_RADIUS_M > _AT_REST_M]
    return points_of(now)


@dataclass(frozen=True)
class ValByPlace:
    """SSA-1 of val photos, as located, by the nearest train place; None without val.

    Attributes:
        train: photos whose places are known.
        val: photos to locate.
        locate: features [n, d] to positions [n, 2].
    """

    train: Features
    val: Features
    locate: Callable[[FloatRows], Points]

    @cached_property
    def _places(self) -> NearestPlace:
        return NearestPlace(PlaceIndex.of(self.train.photos))

    def __call__(self) -> float | None:
        """With the first stage as it is."""
        if len(self.val) == 0:
            return None
        right = 0
        for x, labels in self.val.blocks(1024):
            right += int((self._places.rank(self.locate(x), 1).indices[:, 0] == labels).sum())
        return right / len(self.val)


def _kernel(squared_chords: Floats, bandwidth_m: float) -> Floats:
    """Of chords on the unit sphere."""
    return np.asarray(np.exp(-squared_chords * (0.5 * (EARTH_RADIUS_M / bandwidth_m) ** 2)))


def _mean(vectors: Floats, weights: Floats, otherwise: Floats) -> Floats:
    """[n, 3] unit vectors: of the weighted sums of [n, k, 3]; `otherwise` [n, 3] where a sum vanishes."""
    sums = np.einsum("nki,nk->ni", vectors, weights)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    vanished = lengths <= _NO_LENGTH * weights.sum(axis=1, keepdims=True)
    return np.where(vanished, otherwise, sums / np.where(vanished, 1.0, lengths))
