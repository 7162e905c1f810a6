"""Retrieval: the addresses of the most similar labelled photos vote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ial_bench import Candidates, Features, FrozenEncoderMethod, MethodInfo, unit_norm

_DEFAULT_K, _DEFAULT_TEMPERATURE = 20, 0.05  # for datasets without a val split
_LISTED = 200  # neighbours whose addresses are listed after those that got votes
_BLOCK = 4096


class Retrieval(FrozenEncoderMethod):
    """Weighted k-nearest-neighbour vote over cosine similarities, searched exactly with FAISS.

    The vote of neighbour i is ``exp(s_i / T) / sum_j exp(s_j / T)`` over the k nearest; an address's score is the
    sum of its neighbours' votes. Addresses without a vote follow in the order of their most similar photo among the
    200 nearest, so that a small k still gives a list. k and T are chosen on val; the gallery is train + val + database.
    """

    info = MethodInfo(
        name="retrieval",
        title="Retrieval (kNN vote)",
        family="retrieval",
        summary="Softmax-weighted vote over the addresses of the nearest labelled photos.",
        reference="Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018",
    )

    class Config(FrozenEncoderMethod.Config):
        """Settings."""

        k_grid: tuple[int, ...] = Field(
            (1, 2, 5, 10, 20, 50, 100, 200),
            min_length=1,
            description="neighbours to choose from; one value fixes it",
        )
        temperature_grid: tuple[float, ...] = Field(
            (0.01, 0.02, 0.05, 0.1, 0.2),
            min_length=1,
            description="temperatures to choose from; one value fixes it",
        )

    config: Config

    def fit_features(self, train: Features, val: Features) -> None:
        """Choose k and T: val photos search the train photos."""
        self.n_candidates = len(train.photos.candidates)
        self.val_ssa1: float | None = None
        self._labelled = [train, val]
        self.k, self.temperature = self._choose(train, val)

    def index(self, candidates: Candidates) -> None:
        """Build the gallery of all labelled photos."""
        gallery = [*self._labelled]
        if len(candidates.database):
            gallery.append(self.features(candidates.database))
        self.gallery, self.labels = _flat_index(gallery)
        del self._labelled

    def score_features(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Votes; below them, addresses without one by their nearest photo."""
        similarity, labels = _search(self.gallery, self.labels, x, max(self.k, _LISTED))
        votes = _vote(similarity[:, : self.k], labels[:, : self.k], self.temperature, self.n_candidates)
        return np.where(votes > 0, votes, _nearest(similarity, labels, self.n_candidates))

    def _choose(self, train: Features, val: Features) -> tuple[int, float]:
        ks, temperatures = self.config.k_grid, self.config.temperature_grid
        if len(ks) == len(temperatures) == 1:
            return ks[0], temperatures[0]
        if len(val) == 0:
            self.context.report.log("retrieval: no val split to choose k and temperature on; taking the defaults")
            return _DEFAULT_K, _DEFAULT_TEMPERATURE
        gallery, gallery_labels = _flat_index([train])
        right = np.zeros((len(ks), len(temperatures)), dtype=np.int64)
        for x, y in val.blocks(_BLOCK):
            similarity, labels = _search(gallery, gallery_labels, x, max(ks))
            for i, k in enumerate(ks):
                for j, temperature in enumerate(temperatures):
                    votes = _vote(similarity[:, :k], labels[:, :k], temperature, self.n_candidates)
                    right[i, j] += int((votes.argmax(axis=1) == y).sum())
        best_k, best_t = np.unravel_index(right.argmax(), right.shape)  # of equals, the fewest neighbours
        self.val_ssa1 = float(right.max() / len(val))
        return ks[int(best_k)], temperatures[int(best_t)]

    def facts(self) -> Mapping[str, Any]:
        """What was chosen."""
        return {"k": self.k, "temperature": self.temperature, "val_ssa1": self.val_ssa1}

    def storage_bytes(self) -> int:
        """Gallery features and labels, and the image tower."""
        features = self.gallery.ntotal * self.gallery.d * 4
        return int(features) + self.labels.nbytes + super().storage_bytes()

    def save(self, folder: Path) -> None:
        """Store the gallery as FAISS does."""
        import faiss

        faiss.write_index(self.gallery, str(folder / "gallery.faiss"))
        chosen: dict[str, Any] = {"k": self.k, "temperature": self.temperature, "n_candidates": self.n_candidates}
        np.savez(
            folder / "votes.npz", labels=self.labels,
            val_ssa1=np.array([] if self.val_ssa1 is None else [self.val_ssa1]),
            **chosen,
        )  # fmt: skip

    def load(self, folder: Path) -> None:
        """Read the gallery, memory-mapped."""
        import faiss

        self.gallery = faiss.read_index(str(folder / "gallery.faiss"), faiss.IO_FLAG_MMAP)
        with np.load(folder / "votes.npz", allow_pickle=False) as stored:
            self.labels = stored["labels"]
            self.k, self.temperature = int(stored["k"]), float(stored["temperature"])
            self.n_candidates = int(stored["n_candidates"])
            self.val_ssa1 = float(stored["val_ssa1"][0]) if len(stored["val_ssa1"]) else None


def _flat_index(parts: list[Features]) -> tuple[Any, npt.NDArray[np.int32]]:
    """An exact inner-product index of all photos whose address is a candidate, and their labels."""
    import faiss

    index = faiss.IndexFlatIP(parts[0].x.shape[1])
    labels = []
    for part in parts:
        for x, y in part.blocks():
            index.add(unit_norm(x[y >= 0]))
            labels.append(y[y >= 0])
    return index, np.concatenate(labels).astype(np.int32)


def _search(
    index: Any, labels: npt.NDArray[np.int32], x: npt.NDArray[np.float32], k: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Similarities and labels of the k nearest, [n, k], nearest first."""
    similarity, rows = index.search(unit_norm(x), min(k, index.ntotal))
    return similarity, labels[rows]


def _vote(
    similarity: npt.NDArray[np.float32], labels: npt.NDArray[np.int32], temperature: float, n_candidates: int
) -> npt.NDArray[np.float32]:
    """[n, n_candidates]: softmax weights of the neighbours, summed by address."""
    n = len(similarity)
    weights = np.exp((similarity - similarity[:, :1]).astype(np.float64) / temperature)
    weights /= weights.sum(axis=1, keepdims=True)
    cells = labels + np.arange(n, dtype=np.int64)[:, None] * n_candidates
    votes = np.bincount(cells.ravel(), weights.ravel(), minlength=n * n_candidates)
    return votes.reshape(n, n_candidates).astype(np.float32)


def _nearest(
    similarity: npt.NDArray[np.float32], labels: npt.NDArray[np.int32], n_candidates: int
) -> npt.NDArray[np.float32]:
    """[n, n_candidates]: similarity of each address's nearest listed photo, less 2: below any vote. -4 for none."""
    scores = np.full((len(similarity), n_candidates), -4.0, dtype=np.float32)
    np.maximum.at(scores, (np.arange(len(similarity))[:, None], labels), similarity - 2)
    return scores
