"""Retrieval: the addresses of the most similar labelled photos vote."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from ial_bench import (
    PHOTO,
    Candidates,
    ConfigError,
    Features,
    FrozenEncoderMethod,
    MethodInfo,
    Sizes,
    Workload,
    unit_norm,
)
from ial_methods.retrieval.gallery import UNIT_NORM, Gallery, identity, labels_of
from ial_methods.retrieval.search import (
    FORMS,
    IndexSpec,
    Probe,
    StreamedExact,
    Transform,
    build_index,
    search,
    search_effort,
    set_effort,
)
from ial_methods.retrieval.votes import Rerank, nearest_scores, place_codes, pooling, vote_weights

_DEFAULT_K, _DEFAULT_TEMPERATURE = 20, 0.05  # for datasets without a val split
LISTED = 200
"""Neighbours whose addresses are listed after those that got votes."""
_BLOCK = 4096
_VOTES = "votes.npz"
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
            ConfigError: the features vary in fewer dimensions.
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


class Retrieval(FrozenEncoderMethod):
    """Weighted k-nearest-neighbour vote over cosine similarities, searched with FAISS.

    The vote of neighbour i is ``exp(s_i / T) / sum_j exp(s_j / T)`` over the k nearest; an address's score is the
    sum of its neighbours' votes, or of some of them (`rerank`). Addresses without a vote follow in the order of their
    most similar photo among the 200 nearest, so that a small k still gives a list. The gallery is train + val +
    database. k and T are chosen on val by exact search among the train photos, whatever the index, so that runs with
    different indexes differ in their search alone.
    """

    info = MethodInfo(
        name="retrieval",
        title="Retrieval (kNN vote)",
        family="retrieval",
        summary="Softmax-weighted vote over the addresses of the nearest labelled photos.",
        reference="Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018",
    )

    class Config(FrozenEncoderMethod.Config):
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
        index: str = Field("flat", description=f"{FORMS}; flat is exact")
        nprobe: int = Field(16, ge=1, description="lists of ivf and ivfpq that a query looks into")
        ef_search: int = Field(
            64, ge=1, description="photos that hnsw keeps in sight on its way; as many as are asked for at least"
        )
        whiten: int | None = Field(None, ge=1, description="components of a PCA whitening fitted on train; null: none")
        rerank: Rerank = Field(
            "vote",
            description="what counts for an address: all its photos' votes, its best place's, its nearest photos' mean",
        )
        top_m: int = Field(3, ge=1, description="nearest photos of an address that rerank=address takes the mean of")

        @field_validator("index")
        @classmethod
        def _is_an_index(cls, text: str) -> str:
            IndexSpec.parse(text)
            return text

    config: Config

    @property
    def spec(self) -> IndexSpec:
        """The kind of index."""
        return IndexSpec.parse(self.config.index)

    def workload(self, sizes: Sizes) -> Workload:
        """Val photos, then queries, against all labelled ones; which the index holds."""
        fit, query = search_effort(sizes)
        gallery = 4.0 * sizes.labelled * sizes.dim
        return Workload(fit, PHOTO + query, held=gallery, stored=gallery)

    def fit_features(self, train: Features, val: Features) -> None:
        """Fit the whitening; choose k and T: val photos search the train photos."""
        self.n_candidates = len(train.photos.candidates)
        self._fit_transform(train)
        self._labelled = [train, val]
        self.k, self.temperature, val_ssa1 = self._choose(train, val)
        self.facts |= {"k": self.k, "temperature": self.temperature, "val_ssa1": val_ssa1}
        self._probe = None if self.spec.exact else Probe.sample(train, val, self._exact(train), self._transform)

    def best_on_val(self, train: Features, val: Features) -> float | None:
        """SSA-1 on val by the train photos with the best k and T; None without val. For choices before a fit."""
        if len(val) == 0:
            return None
        self.n_candidates = len(train.photos.candidates)
        self._fit_transform(train)
        return float(self._right_on_val(train, val).max() / len(val))

    def index(self, candidates: Candidates) -> None:
        """Build the gallery of all labelled photos; for an index that is not exact, measure what it finds."""
        parts = [*self._labelled]
        if len(candidates.database):
            parts.append(self.features(candidates.database))
        self.facts["recall_at_10"] = 1.0  # the share of the 10 nearest train photos that the index finds
        known = {"labels": labels_of(parts)}
        if (places := self._places(parts)) is not None:
            known["places"] = places
        made_of = identity(self._encoder_digest, parts, self._transform_digest)
        self.gallery = Gallery.of(parts, known, made_of, self.spec, self._transform, self._measure_recall)
        self._set_effort(self.gallery.index)
        del self._labelled, self._probe

    def score_features(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Votes; below them, addresses without one by their nearest photo."""
        similarity, rows = self.gallery.search(x, max(self.k, LISTED))
        labels, places = _of_rows(rows, self.gallery.known["labels"], self.gallery.known.get("places"))
        k = self.k
        pool = self._pooling(labels[:, :k], None if places is None else places[:, :k])
        votes = pool(vote_weights(similarity[:, :k], self.temperature))
        return np.where(votes > 0, votes, nearest_scores(similarity, labels, self.n_candidates))

    @property
    def _transform(self) -> Transform:
        return unit_norm if self.whitening is None else self.whitening

    @property
    def _transform_digest(self) -> str:
        return UNIT_NORM if self.whitening is None else self.whitening.digest

    @property
    def _encoder_digest(self) -> str:
        return self.context.features.card(self.backbone).digest

    def _fit_transform(self, train: Features) -> None:
        self.whitening = None if self.config.whiten is None else Whitening.fit(train, self.config.whiten)

    def _set_effort(self, index: Any) -> None:
        set_effort(index, self.spec, self.config.nprobe, self.config.ef_search)

    def _measure_recall(self, index: Any) -> None:
        if self._probe is not None:
            self._set_effort(index)
            self.facts["recall_at_10"] = self._probe.recall(index)

    def _pooling(self, labels: npt.NDArray[np.int32], places: npt.NDArray[np.int32] | None) -> Any:
        return pooling(self.config.rerank, labels, places, self.n_candidates, self.config.top_m)

    def _places(self, parts: list[Features]) -> npt.NDArray[np.int32] | None:
        return place_codes(parts) if self.config.rerank == "place" else None

    def _exact(self, train: Features) -> Any:
        """Exact search of the train photos, in no more memory than the run's own index takes."""
        if self.spec.exact:
            return build_index(self.spec, [train], self._transform)
        return StreamedExact(train, self._transform)

    def _choose(self, train: Features, val: Features) -> tuple[int, float, float | None]:
        """k, temperature and the SSA-1 on val that they reach, where they were chosen."""
        ks, temperatures = self.config.k_grid, self.config.temperature_grid
        if len(ks) == len(temperatures) == 1:
            return ks[0], temperatures[0], None
        if len(val) == 0:
            self.context.report.log(
                f"{self.info.name}: no val split to choose k and temperature on; taking the defaults"
            )
            return _DEFAULT_K, _DEFAULT_TEMPERATURE, None
        right = self._right_on_val(train, val)
        best_k, best_t = np.unravel_index(right.argmax(), right.shape)  # of equals, the fewest neighbours
        return ks[int(best_k)], temperatures[int(best_t)], float(right.max() / len(val))

    def _right_on_val(self, train: Features, val: Features) -> npt.NDArray[np.int64]:
        """int64 [ks, temperatures]: val photos whose address the train photos get right."""
        ks, temperatures = self.config.k_grid, self.config.temperature_grid
        gallery, gallery_labels, gallery_places = self._exact(train), labels_of([train]), self._places([train])
        right = np.zeros((len(ks), len(temperatures)), dtype=np.int64)
        for x, y in val.blocks(_BLOCK):
            similarity, rows = search(gallery, self._transform(x), max(ks))
            labels, places = _of_rows(rows, gallery_labels, gallery_places)
            for i, k in enumerate(ks):
                pool = self._pooling(labels[:, :k], None if places is None else places[:, :k])
                for j, temperature in enumerate(temperatures):
                    votes = pool(vote_weights(similarity[:, :k], temperature))
                    right[i, j] += int((votes.argmax(axis=1) == y).sum())
        return right

    def storage_bytes(self) -> int:
        return self.gallery_bytes() + super().storage_bytes()

    def gallery_bytes(self) -> int:
        """The gallery, and the whitening where there is one."""
        return self.gallery.nbytes + (0 if self.whitening is None else self.whitening.nbytes)

    def save(self, folder: Path) -> None:
        self.gallery.save(folder)
        chosen: dict[str, Any] = {"k": self.k, "temperature": self.temperature, "n_candidates": self.n_candidates}
        if self.whitening is not None:
            chosen |= {"mean": self.whitening.mean, "projection": self.whitening.projection}
        np.savez(folder / _VOTES, **chosen)

    def load(self, folder: Path) -> None:
        """Read the gallery, memory-mapped.

        Raises:
            DataError: the index was made from other features than this method's.
        """
        with np.load(folder / _VOTES, allow_pickle=False) as stored:
            self.whitening = Whitening(stored["mean"], stored["projection"]) if "mean" in stored else None
            self.k, self.temperature = int(stored["k"]), float(stored["temperature"])
            self.n_candidates = int(stored["n_candidates"])
        now = {"encoder": self._encoder_digest, "transform": self._transform_digest}
        self.gallery = Gallery.load(folder, now, self.spec, self._transform)
        self._set_effort(self.gallery.index)


def _of_rows(
    rows: npt.NDArray[np.int64], labels: npt.NDArray[np.int32], places: npt.NDArray[np.int32] | None
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32] | None]:
    """Addresses and places of gallery rows [n, k]; where none was found (-1), those of row 0, whose vote is 0."""
    found = np.maximum(rows, 0)
    return labels[found], None if places is None else places[found]
