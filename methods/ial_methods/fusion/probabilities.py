"""Probabilities of addresses: texts and neighbours fused, spread over the map; and what of it is chosen on val.

SciPy is imported where it is used: methods are listed and planned without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from ial_bench.geo.points import EARTH_RADIUS_M, Points, unit_vectors
from ial_methods.retrieval.votes import Labels, Scores, pooling, vote_weights

Probabilities = npt.NDArray[np.float64]

_TAIL = 3.0  # bandwidths; what lies farther off would have less than 1.2 % of the weight of what is near
_UNSEEN = np.float32(1024)  # a power of two keeps the order of floats; no float64 above 0 has a logarithm below -745
_LEAST = 1e-12  # probability that a logarithm is taken of


def text_probabilities(logits: npt.NDArray[np.float32], temperature: float) -> Probabilities:
    """float64 [n, n_candidates]: ``exp(l_i / T) / sum_j exp(l_j / T)`` of logits [n, n_candidates]."""
    from scipy.special import softmax

    return np.asarray(softmax(logits.astype(np.float64) / temperature, axis=1))


def fuse(text: npt.NDArray[Any], votes: npt.NDArray[Any], weight: float) -> Probabilities:
    """``weight * votes + (1 - weight) * text``: the weighted sum rule of Kittler et al., TPAMI 1998.

    Args:
        text: probabilities by texts, of any shape.
        votes: probabilities by retrieval, of the same shape.
        weight: of retrieval, 0 to 1.
    """
    return np.asarray(weight * votes.astype(np.float64) + (1.0 - weight) * text)


def neighbour_shares(positions: Points, bandwidth_m: float) -> Any:
    """SciPy CSR array [n, n]: the share of j's probability that goes to i, in row j and column i.

    Shares are ``exp(-d^2 / 2 b^2)`` of the great-circle distance d, divided by their sum over the row, so that
    probability is moved and never made or lost; 0 beyond three bandwidths, and from an address to itself. An address
    without neighbours keeps what it has: 1 to itself.

    Args:
        positions: [n, 2], of the addresses.
        bandwidth_m: b, metres.
    """
    from scipy.sparse import csr_array
    from scipy.spatial import KDTree

    n = len(positions)
    tree = KDTree(unit_vectors(positions))
    chord = 2.0 * np.sin(min(_TAIL * bandwidth_m / EARTH_RADIUS_M, np.pi) / 2.0)
    pairs: Any = tree.sparse_distance_matrix(tree, chord, output_type="ndarray")
    pairs = pairs[pairs["i"] != pairs["j"]]
    metres = 2.0 * EARTH_RADIUS_M * np.arcsin(np.minimum(pairs["v"] / 2.0, 1.0))
    alone = np.setdiff1d(np.arange(n), pairs["i"])
    weights = np.concatenate([np.exp(-0.5 * (metres / bandwidth_m) ** 2), np.ones(len(alone))])
    rows, columns = np.concatenate([pairs["i"], alone]), np.concatenate([pairs["j"], alone])
    totals = np.bincount(rows, weights, minlength=n)
    shares = csr_array((weights / totals[rows], (rows, columns)), shape=(n, n))
    shares.sort_indices()  # one order of addition, whatever the tree's
    return shares


def spread(p: Probabilities, shares: Any, part: float) -> Probabilities:
    """``(1 - part) p + part p S``: each address hands that part of its probability to its neighbours.

    Args:
        p: [n, n_candidates].
        shares: S, of `neighbour_shares`.
        part: 0 to 1.
    """
    return np.asarray((1.0 - part) * p + part * (p @ shares))


def log_scores(p: Probabilities, below: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """float32 [n, n_candidates]: ``log p``, whose softmax is p; where p is 0, a score below that of any p above 0.

    Args:
        p: probabilities [n, n_candidates].
        below: the order of those with p = 0: numbers of at most -0.75, such as those of `nearest_scores`.
    """
    seen = p > 0
    logs = np.log(p, out=np.zeros_like(p), where=seen).astype(np.float32)
    return np.where(seen, logs, _UNSEEN * below)


@dataclass(frozen=True)
class Evidence:
    """What both sides say of some photos.

    Attributes:
        logits: float32 [n, n_candidates], of texts.
        similarity: float32 [n, m], of the nearest photos, nearest first; -inf where there is none.
        labels: int32 [n, m], their addresses.
    """

    logits: Scores
    similarity: Scores
    labels: Labels

    def votes(self, k: int, temperature: float) -> Scores:
        """float32 [n, n_candidates]: probabilities by the k nearest photos, 0 for addresses without one."""
        pool = pooling("vote", self.labels[:, :k], None, self.logits.shape[1], top_m=1)
        return pool(vote_weights(self.similarity[:, :k], temperature))


@dataclass(frozen=True)
class FusionParameters:
    """Parameters of a fusion.

    Attributes:
        weight: of retrieval.
        k: its neighbours.
        temperature: of their votes.
        text_temperature: of the texts' logits.
    """

    weight: float
    k: int
    temperature: float
    text_temperature: float

    def fused(self, evidence: Evidence) -> Probabilities:
        """float64 [n, n_candidates]."""
        votes = evidence.votes(self.k, self.temperature)
        return fuse(text_probabilities(evidence.logits, self.text_temperature), votes, self.weight)


@dataclass(frozen=True)
class Grids:
    """Parameters to choose from; of equals, the first."""

    weights: Sequence[float]
    ks: Sequence[int]
    temperatures: Sequence[float]
    text_temperatures: Sequence[float]

    def __iter__(self) -> Iterator[FusionParameters]:
        """All of them, in the order of `tally`."""
        numbers = product(self.ks, self.temperatures, self.text_temperatures, self.weights)
        return (FusionParameters(w, k, t, tau) for k, t, tau, w in numbers)


@dataclass
class Tally:
    """How choices do on val, one number each.

    Attributes:
        right: photos whose most probable address is theirs.
        likelihood: sum of the logarithms of their own addresses' probabilities.
    """

    right: npt.NDArray[np.int64]
    likelihood: npt.NDArray[np.float64]

    def best(self) -> int:
        """That with the most photos right; of equals the most likely, then the first."""
        return int(np.where(self.right == self.right.max(), self.likelihood, -np.inf).argmax())


def tally(blocks: Iterable[tuple[Evidence, Labels]], grids: Grids) -> Tally:
    """Every choice on every photo.

    The most probable address is one with a vote, or that of the best text: among these few it is looked for, so that
    a choice costs as much as there are neighbours, and not as there are candidates.

    Args:
        blocks: evidence and true addresses (-1: none of the candidates) of val photos.
        grids: the choices.
    """
    shape = len(grids.ks), len(grids.temperatures), len(grids.text_temperatures), len(grids.weights)
    right, likelihood = np.zeros(shape, np.int64), np.zeros(shape)
    for evidence, truth in blocks:
        known = truth >= 0
        own = np.maximum(truth, 0)[:, None]
        texts = [text_probabilities(evidence.logits, tau) for tau in grids.text_temperatures]
        best_text = evidence.logits.argmax(axis=1).astype(np.int32)[:, None]
        for i, k in enumerate(grids.ks):
            few = np.sort(np.concatenate([evidence.labels[:, :k], best_text], axis=1), axis=1)  # of equals, the first
            where = np.concatenate([few, own], axis=1)
            for j, temperature in enumerate(grids.temperatures):
                votes = np.take_along_axis(evidence.votes(k, temperature), where, axis=1)
                for m, text in enumerate(texts):
                    matched = np.take_along_axis(text, where, axis=1)
                    for n, weight in enumerate(grids.weights):
                        p = fuse(matched, votes, weight)
                        top = np.take_along_axis(few, p[:, :-1].argmax(axis=1)[:, None], axis=1)[:, 0]
                        right[i, j, m, n] += int((top == truth).sum())
                        likelihood[i, j, m, n] += np.log(np.maximum(p[known, -1], _LEAST)).sum()
    return Tally(right.ravel(), likelihood.ravel())


def choose(
    blocks: Iterable[tuple[Evidence, Labels]], grids: Grids, n_photos: int
) -> tuple[FusionParameters, Mapping[str, float]]:
    """The best choice on val, and the val SSA-1 of text alone, of retrieval alone at its best, and of the choice.

    Args:
        blocks: as of `tally`.
        grids: the choices.
        n_photos: val photos in all.
    """
    weights = sorted({0.0, 1.0, *grids.weights})  # each side alone is recorded, whatever the grid
    every = Grids(weights, grids.ks, grids.temperatures, grids.text_temperatures)
    all_of_them, counted = list(every), tally(blocks, every)
    allowed = np.array([c.weight in set(grids.weights) for c in all_of_them])
    rows = np.flatnonzero(allowed)
    best = int(rows[Tally(counted.right[rows], counted.likelihood[rows]).best()])
    alone = {
        name: max(int(r) for r, c in zip(counted.right, all_of_them, strict=True) if c.weight == weight)
        for name, weight in (("text", 0.0), ("retrieval", 1.0))
    }
    right = {**alone, "fused": int(counted.right[best])}
    return all_of_them[best], {name: count / n_photos for name, count in right.items()}


@dataclass(frozen=True)
class Spread:
    """How far probability is spread: which part of it, and the kernel's bandwidth in metres."""

    part: float
    bandwidth_m: float


def choose_spread(
    blocks: Iterable[tuple[Probabilities, Labels]], positions: Points, spreads: Sequence[Spread]
) -> tuple[Spread, int]:
    """The best spread on val, as of `Tally.best`, and how many photos it gets right.

    Args:
        blocks: probabilities [n, n_candidates] and true addresses of val photos.
        positions: of the candidates.
        spreads: to choose from.
    """
    shares = {b: neighbour_shares(positions, b) for b in {s.bandwidth_m for s in spreads}}
    counted = Tally(np.zeros(len(spreads), np.int64), np.zeros(len(spreads)))
    for p, truth in blocks:
        known = truth >= 0
        for i, one in enumerate(spreads):
            spread_out = spread(p, shares[one.bandwidth_m], one.part)
            counted.right[i] += int((spread_out.argmax(axis=1) == truth).sum())
            own = spread_out[known, truth[known]]
            counted.likelihood[i] += np.log(np.maximum(own, _LEAST)).sum()
    best = counted.best()
    return spreads[best], int(counted.right[best])
