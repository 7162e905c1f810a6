"""Retrieval on features given as arrays: what its tests and its benchmark share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ial_bench import Features, RunContext
from ial_bench.engine.features import FeatureStore
from ial_bench.progress import NoReport
from ial_bench.settings import config_from_text
from ial_bench.testing import CHECK_BACKBONE
from ial_methods.retrieval.knn import Retrieval

Floats = npt.NDArray[np.float32]


class HeldPhotos:
    """Photos of which only labels and places are known."""

    def __init__(self, labels: Any, places: Any, n_candidates: int, name: str) -> None:
        self.labels = np.asarray(labels, np.int32)
        self.places = np.asarray(places, np.int64)
        self.candidates = HeldCandidates(n_candidates)
        self.digest = f"digest of {name}"


class HeldCandidates:
    """Candidates without database photos."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.database = ()

    def __len__(self) -> int:
        return self.n


def held(x: Any, labels: Any, n_candidates: int, places: Any = None, name: str = "photos") -> Features:
    """Features `x`, which may be anything that is cut as an array is."""
    photos: Any = HeldPhotos(labels, np.arange(len(labels)) if places is None else places, n_candidates, name)
    return Features(x, photos)


def clustered(n: int, dim: int, classes: int, seed: int, spread: float = 0.6) -> tuple[Floats, npt.NDArray[np.int32]]:
    """Features around one centre a class, the same centres for each seed, of any norm; and their classes."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(0, 1, (classes, dim))
    labels = rng.integers(0, classes, n).astype(np.int32)
    x = centres[labels] + rng.normal(0, spread, (n, dim))
    return (x * rng.uniform(0.5, 2, (n, 1))).astype(np.float32), labels


def unit(x: Any) -> npt.NDArray[np.float64]:
    """Rows of norm 1, in double precision."""
    wide = np.asarray(x, np.float64)
    return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True))


def made(folder: Path, **settings: Any) -> Retrieval:
    """The method with these settings, not fitted."""
    texts = {key: str(value).replace("'", '"') for key, value in settings.items()}
    config = config_from_text(Retrieval, {"backbone": CHECK_BACKBONE, **texts})
    store = FeatureStore(folder / "cache", "cpu", 8, 0, NoReport())
    return Retrieval(config, RunContext(0, "cpu", store, NoReport(), 8))


def fitted(folder: Path, train: Features, val: Features, **settings: Any) -> Any:
    """The method, fitted and indexed."""
    method = made(folder, **settings)
    method.fit_features(train, val)
    candidates: Any = train.photos.candidates
    method.index(candidates)
    return method
