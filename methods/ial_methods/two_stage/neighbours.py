"""Image -> GPS -> address with a first stage that takes the position of the nearest labelled photos, or their mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ial_bench import Features, MethodInfo, RunContext
from ial_bench.geo.points import EARTH_RADIUS_M, Points, haversine_m, points_of, unit_vectors
from ial_bench.json_files import read_json, write_json
from ial_methods.retrieval.gallery import Gallery, identity
from ial_methods.retrieval.votes import vote_weights
from ial_methods.two_stage.pipeline import REFERENCE, Pipeline

Kind: TypeAlias = Literal["nearest", "mean", "mean-shift"]
Floats: TypeAlias = npt.NDArray[np.float64]

_CHOICE = "choice.json"
_BLOCK = 1024
_NO_LENGTH = 1e-9  # of a mean of unit vectors; only antipodes cancel
_SHIFTS = 200
_AT_REST_M = 1e-3


@dataclass(frozen=True)
class NeighbourParameters:
    """Parameters of a first stage: neighbours, temperature of their weights, bandwidth in metres."""

    k: int
    temperature: float
    bandwidth_m: float


_DEFAULT = NeighbourParameters(10, 0.05, 50.0)  # for datasets without a val split


class TwoStage(Pipeline):
    """The pipeline that image address localization is compared with.

    The first stage takes a position from those of the most similar labelled photos (train + val + database); the second
    ranks the candidates for it. The predicted position is stored beside the answer.
    """

    info = MethodInfo(
        name="two-stage",
        title="Image-GPS-Address",
        family="two-stage",
        summary="Position from the nearest labelled photos, then the address by a geocoder.",
        reference=REFERENCE,
    )

    class Config(Pipeline.Config):
        stage1: Kind = Field(
            "nearest",
            description="nearest photo's position; mean, weighted by similarity, of the top k; or mean-shift, the mode "
            "of their density",
        )
        k_grid: tuple[int, ...] = Field(
            (2, 5, 10, 20, 50), min_length=1, description="neighbours to choose from; one value fixes it"
        )
        temperature_grid: tuple[float, ...] = Field(
            (0.01, 0.02, 0.05, 0.1), min_length=1, description="temperatures of their weights to choose from"
        )
        bandwidth_grid: tuple[float, ...] = Field(
            (10.0, 25.0, 50.0, 100.0, 200.0), min_length=1, description="bandwidths of mean-shift, metres"
        )

    config: Config
    stage1: Neighbours

    def __init__(self, config: Config, context: RunContext) -> None:
        super().__init__(config, context)
        grids = grid(config.stage1, config.k_grid, config.temperature_grid, config.bandwidth_grid)
        self.stage1 = Neighbours(config.stage1, grids, _DEFAULT)


class Neighbours:
    """The first stage: nearest photo's position, weighted mean of the nearest, or the mode of their density.

    Args:
        kind: which.
        grids: numbers to choose from.
        default: the numbers where there is no val split to choose on.
    """

    def __init__(self, kind: Kind, grids: Sequence[NeighbourParameters], default: NeighbourParameters) -> None:
        self.kind: Kind = kind
        self._grids, self._default = grids, default
        self.gallery: Gallery | None = None
        self.choice = grids[0] if len(grids) == 1 else default
        self.val_median_m: float | None = None

    def fit(self, train: Features, val: Features, log: Callable[[str], None]) -> None:
        """Choose the numbers by the median distance of val photos, located among train photos; of equals the first.

        Not by SSA-1, which the second stage changes as well: rows of one first stage then differ in the second alone.
        """
        self.gallery = _gallery([train], {})
        if len(val) == 0:
            if len(self._grids) > 1:
                log(f"two-stage: no val split to choose on; taking {self._default}")
            return
        metres = [np.empty(len(val)) for _ in self._grids]
        done = 0
        for x, _ in val.blocks(_BLOCK):
            true = val.photos.positions[done : done + len(x)]
            similarity, positions = self._nearest(x, max(c.k for c in self._grids))
            for i, choice in enumerate(self._grids):
                located = self._from(similarity, positions, choice)
                metres[i][done : done + len(x)] = haversine_m(located, true)
            done += len(x)
        medians = [float(np.median(m)) for m in metres]
        best = int(np.argmin(medians))
        self.choice, self.val_median_m = self._grids[best], medians[best]

    def index(self, parts: Sequence[Features], encoder: str) -> None:
        """Search all labelled photos from here on."""
        self.gallery = _gallery(parts, identity(encoder, parts))

    def locate(self, x: npt.NDArray[np.float32]) -> Points:
        if len(x) == 0:
            return np.zeros((0, 2))
        return self._from(*self._nearest(x, self.choice.k), self.choice)

    def _nearest(self, x: npt.NDArray[np.float32], k: int) -> tuple[npt.NDArray[np.float32], Points]:
        """Similarities [n, k] and positions [n, k, 2] of the k nearest photos (all, of fewer), nearest first."""
        assert self.gallery is not None  # noqa: S101 - fitted or loaded before it is asked
        similarity, rows = self.gallery.search(x, k)
        return similarity, self.gallery.known["positions"][rows]

    def _from(self, similarity: npt.NDArray[np.float32], positions: Points, choice: NeighbourParameters) -> Points:
        if self.kind == "nearest":
            return positions[:, 0]
        similarity, positions = similarity[:, : choice.k], positions[:, : choice.k]
        weights = vote_weights(similarity, choice.temperature)
        if self.kind == "mean":
            return weighted_mean(positions, weights)
        return mean_shift(positions, weights, choice.bandwidth_m)

    def storage_bytes(self) -> int:
        return 0 if self.gallery is None else self.gallery.nbytes

    def trained_parameters(self) -> int:
        return 0

    def save(self, folder: Path) -> None:
        assert self.gallery is not None  # noqa: S101 - fitted before it is saved
        self.gallery.save(folder)
        write_json(folder / _CHOICE, {"choice": asdict(self.choice), "val_median_m": self.val_median_m})

    def load(self, folder: Path, encoder: str) -> None:
        """Read what `save` stored; the gallery memory-mapped."""
        stored = read_json(folder / _CHOICE)
        self.choice, self.val_median_m = NeighbourParameters(**stored["choice"]), stored["val_median_m"]
        self.gallery = Gallery.load(folder, {"encoder": encoder})

    def facts(self) -> Mapping[str, Any]:
        """The numbers that matter for this kind."""
        k, temperature, bandwidth_m = astuple(self.choice)
        chosen = {"k": k, "temperature": temperature, "bandwidth_m": bandwidth_m}
        used = {"nearest": 0, "mean": 2, "mean-shift": 3}[self.kind]
        return {**dict(list(chosen.items())[:used]), "val_median_m": self.val_median_m}


def _gallery(parts: Sequence[Features], made_of: Mapping[str, str]) -> Gallery:
    """Every photo of all parts, with its position."""
    positions = np.concatenate([p.photos.positions for p in parts])
    return Gallery.of(parts, {"positions": positions}, made_of, every_photo=True)


def grid(
    kind: Kind, ks: Sequence[int], temperatures: Sequence[float], bandwidths: Sequence[float]
) -> list[NeighbourParameters]:
    """All choices that differ for this kind, fewest neighbours first."""
    if kind == "nearest":
        ks, temperatures = [1], temperatures[:1]
    if kind != "mean-shift":
        bandwidths = bandwidths[:1]
    return [NeighbourParameters(*one) for one in product(sorted(ks), sorted(temperatures), sorted(bandwidths))]


# Means are taken on unit vectors, so that neither a pole nor the antimeridian is special.


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


def _kernel(squared_chords: Floats, bandwidth_m: float) -> Floats:
    """Of chords on the unit sphere."""
    return np.asarray(np.exp(-squared_chords * (0.5 * (EARTH_RADIUS_M / bandwidth_m) ** 2)))


def _mean(vectors: Floats, weights: Floats, otherwise: Floats) -> Floats:
    """[n, 3] unit vectors: of the weighted sums of [n, k, 3]; `otherwise` [n, 3] where a sum vanishes."""
    sums = np.einsum("nki,nk->ni", vectors, weights)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    vanished = lengths <= _NO_LENGTH * weights.sum(axis=1, keepdims=True)
    return np.where(vanished, otherwise, sums / np.where(vanished, 1.0, lengths))
