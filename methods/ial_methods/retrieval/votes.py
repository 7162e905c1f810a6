"""From the nearest photos to scores of addresses: votes, and how the votes for one address are pooled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ial_bench import Features

Rerank = Literal["vote", "place", "address"]
Scores: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.int32]
Weights: TypeAlias = npt.NDArray[np.float64]


def vote_weights(similarity: Scores, temperature: float) -> Weights:
    """float64 [n, k]: ``exp(s_i / T) / sum_j exp(s_j / T)`` of neighbours, nearest first; 0 where -inf says none."""
    nearest = similarity[:, :1]
    nearest = np.where(np.isfinite(nearest), nearest, np.float32(0))
    weights = np.exp((similarity - nearest).astype(np.float64) / temperature)
    total = weights.sum(axis=1, keepdims=True)
    return np.asarray(weights / np.where(total > 0, total, 1.0))


def pooling(
    rerank: Rerank, labels: Labels, places: Labels | None, n_candidates: int, top_m: int
) -> Callable[[Weights], Scores]:
    """How votes of neighbours become scores of addresses: [n, k] to [n, n_candidates].

    Args:
        rerank: ``vote``, the sum of the votes of an address's photos; ``place``, the sum of those of its best place
            alone; ``address``, the mean vote of its `top_m` nearest photos, 0 for those that are not neighbours.
        labels: int32 [n, k], addresses of the neighbours, nearest first.
        places: int32 [n, k], their places (`place_codes`), for ``place`` alone.
        n_candidates: number of addresses.
        top_m: for ``address``.
    """
    shape = len(labels), n_candidates
    rows = np.arange(len(labels), dtype=np.int64)[:, None]
    cells = (labels + rows * n_candidates).ravel()
    if rerank == "place":
        return _best_place(cells, _required(places), shape)
    counted = _place_in_group(cells) < top_m if rerank == "address" else None

    def summed(weights: Weights) -> Scores:
        flat = weights.ravel() if counted is None else weights.ravel() * counted / top_m
        votes = np.bincount(cells, flat, minlength=shape[0] * shape[1])
        return votes.reshape(shape).astype(np.float32)

    return summed


def nearest_scores(similarity: Scores, labels: Labels, n_candidates: int) -> Scores:
    """[n, n_candidates]: similarity of each address's nearest listed photo, less 2: below any vote. -4 for none."""
    scores = np.full((len(similarity), n_candidates), -4.0, dtype=np.float32)
    np.maximum.at(scores, (np.arange(len(similarity))[:, None], labels), similarity - 2)
    return scores


def place_codes(parts: Sequence[Features]) -> Labels:
    """int32 [rows]: a number from 0 for each place of an address, for the photos of `parts` with a candidate label.

    A place whose photos have several addresses counts once for each of them.
    """
    labels = np.concatenate([p.labels for p in parts])
    places = np.concatenate([p.photos.places for p in parts])
    pairs = np.stack([labels, places], axis=1)[labels >= 0]
    return np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int32)


def _best_place(cells: npt.NDArray[np.int64], places: Labels, shape: tuple[int, int]) -> Callable[[Weights], Scores]:
    n_places = int(places.max(initial=0)) + 1
    keys = (places + np.arange(len(places), dtype=np.int64)[:, None] * n_places).ravel()
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    which, address = which.reshape(-1), cells[first]

    def best(weights: Weights) -> Scores:
        scores = np.zeros(shape[0] * shape[1])
        np.maximum.at(scores, address, np.bincount(which, weights.ravel(), minlength=len(first)))
        return scores.reshape(shape).astype(np.float32)

    return best


def _place_in_group(keys: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """int64 [n]: how many equal keys stand before each."""
    order = np.argsort(keys, kind="stable")
    in_order = keys[order]
    place = np.empty(len(keys), dtype=np.int64)
    place[order] = np.arange(len(keys)) - np.searchsorted(in_order, in_order)
    return place


def _required(places: Labels | None) -> Labels:
    if places is None:
        raise ValueError("pooling by place needs the neighbours' places")
    return places
