"""First stages that take a photo's position from those of its nearest labelled photos."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ial_bench import Features, unit_norm
from ial_bench.geo.points import Points, haversine_m
from ial_bench.json_files import read_json, write_json
from ial_methods.retrieval.rerank import vote_weights
from ial_methods.two_stage.locate import mean_shift, weighted_mean

Kind: TypeAlias = Literal["nearest", "mean", "mean-shift"]

_INDEX, _POSITIONS, _CHOICE = "gallery.faiss", "gallery.npz", "choice.json"
_BLOCK = 1024


@dataclass(frozen=True)
class NeighbourParameters:
    """Parameters of a first stage: neighbours, temperature of their weights, bandwidth in metres."""

    k: int
    temperature: float
    bandwidth_m: float


class Gallery:
    """Photos with their positions, searched exactly by cosine with FAISS.

    Args:
        index: of unit features, by inner product.
        positions: [n, 2], in the index's order.
    """

    def __init__(self, index: Any, positions: Points) -> None:
        self.index, self.positions = index, positions

    @classmethod
    def of(cls, parts: Sequence[Features]) -> Gallery:
        """The photos of all parts."""
        import faiss

        index = faiss.IndexFlatIP(parts[0].x.shape[1])
        for part in parts:
            for x, _ in part.blocks():
                index.add(unit_norm(x))
        return cls(index, np.concatenate([p.photos.positions for p in parts]))

    def search(self, x: npt.NDArray[np.float32], k: int) -> tuple[npt.NDArray[np.float32], Points]:
        """Similarities [n, k] and positions [n, k, 2] of the k nearest photos (all, of fewer), nearest first."""
        similarity, rows = self.index.search(unit_norm(x), min(k, self.index.ntotal))
        return similarity, self.positions[rows]

    def storage_bytes(self) -> int:
        """Bytes of features and positions."""
        return int(self.index.ntotal * self.index.d * 4) + self.positions.nbytes

    def save(self, folder: Path) -> None:
        """Store it in `folder`."""
        import faiss

        faiss.write_index(self.index, str(folder / _INDEX))
        np.savez(folder / _POSITIONS, positions=self.positions)

    @classmethod
    def load(cls, folder: Path) -> Gallery:
        """What `save` stored, memory-mapped."""
        import faiss

        with np.load(folder / _POSITIONS, allow_pickle=False) as stored:
            positions = stored["positions"]
        return cls(faiss.read_index(str(folder / _INDEX), faiss.IO_FLAG_MMAP_IFC), positions)


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
        self.gallery = Gallery.of([train])
        if len(val) == 0:
            if len(self._grids) > 1:
                log(f"two-stage: no val split to choose on; taking {self._default}")
            return
        metres = [np.empty(len(val)) for _ in self._grids]
        done = 0
        for x, _ in val.blocks(_BLOCK):
            true = val.photos.positions[done : done + len(x)]
            similarity, positions = self.gallery.search(x, max(c.k for c in self._grids))
            for i, choice in enumerate(self._grids):
                located = self._from(similarity, positions, choice)
                metres[i][done : done + len(x)] = haversine_m(located, true)
            done += len(x)
        medians = [float(np.median(m)) for m in metres]
        best = int(np.argmin(medians))
        self.choice, self.val_median_m = self._grids[best], medians[best]

    def index(self, parts: Sequence[Features]) -> None:
        """Search all labelled photos from now on."""
        self.gallery = Gallery.of(parts)

    def locate(self, x: npt.NDArray[np.float32]) -> Points:
        """Positions [n, 2] of features [n, d]."""
        assert self.gallery is not None  # noqa: S101 - fitted or loaded before it is asked
        if len(x) == 0:
            return np.zeros((0, 2))
        return self._from(*self.gallery.search(x, self.choice.k), self.choice)

    def _from(self, similarity: npt.NDArray[np.float32], positions: Points, choice: NeighbourParameters) -> Points:
        if self.kind == "nearest":
            return positions[:, 0]
        similarity, positions = similarity[:, : choice.k], positions[:, : choice.k]
        weights = vote_weights(similarity, choice.temperature)
        if self.kind == "mean":
            return weighted_mean(positions, weights)
        return mean_shift(positions, weights, choice.bandwidth_m)

    def storage_bytes(self) -> int:
        """The gallery's."""
        return 0 if self.gallery is None else self.gallery.storage_bytes()

    def trained_parameters(self) -> int:
        """None."""
        return 0

    def save(self, folder: Path) -> None:
        """Store the gallery as FAISS does, and what was chosen."""
        assert self.gallery is not None  # noqa: S101 - fitted before it is saved
        self.gallery.save(folder)
        write_json(folder / _CHOICE, {"choice": asdict(self.choice), "val_median_m": self.val_median_m})

    def load(self, folder: Path) -> None:
        """Take over what `save` stored; the gallery memory-mapped."""
        told = read_json(folder / _CHOICE)
        self.choice, self.val_median_m = NeighbourParameters(**told["choice"]), told["val_median_m"]
        self.gallery = Gallery.load(folder)

    def told(self) -> Mapping[str, Any]:
        """The numbers that matter for this kind."""
        k, temperature, bandwidth_m = astuple(self.choice)
        chosen = {"k": k, "temperature": temperature, "bandwidth_m": bandwidth_m}
        used = {"nearest": 0, "mean": 2, "mean-shift": 3}[self.kind]
        return {**dict(list(chosen.items())[:used]), "val_median_m": self.val_median_m}


def grid(
    kind: Kind, ks: Sequence[int], temperatures: Sequence[float], bandwidths: Sequence[float]
) -> list[NeighbourParameters]:
    """All choices that differ for this kind, fewest neighbours first."""
    if kind == "nearest":
        ks, temperatures = [1], temperatures[:1]
    if kind != "mean-shift":
        bandwidths = bandwidths[:1]
    return [NeighbourParameters(*one) for one in product(sorted(ks), sorted(temperatures), sorted(bandwidths))]
