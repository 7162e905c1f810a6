"""Probabilities of addresses: of texts and of neighbours put together, and spread over the map.

SciPy is imported where it is used: methods are listed and planned without it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ial_bench.geo.points import EARTH_RADIUS_M, Points, unit_vectors

Probabilities = npt.NDArray[np.float64]

_TAIL = 3.0  # bandwidths; what lies farther off would have less than 1.2 % of the weight of what is near
_UNSEEN = np.float32(1024)  # a power of two keeps the order of floats; no float64 above 0 has a logarithm below -745


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
