"""Whether confidence separates right answers from wrong ones: reliability, ECE, risk and coverage.

Confidence is the probability that a method gives its first answer. It is *calibrated* if 70 % of
the answers given with 70 % confidence are right; it *ranks* if wrong answers have less of it. The second needs only an
order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Answers in bins of equal mass, by confidence; bins that ties leave empty are left out.

    Attributes:
        counts: int64 [b], answers.
        confidence: [b], their mean confidence.
        accuracy: [b], share of them that is right.
    """

    counts: npt.NDArray[np.int64]
    confidence: Floats
    accuracy: Floats

    @property
    def ece(self) -> float:
        """Expected calibration error: ``sum_b n_b / n |accuracy_b - confidence_b|`` (Naeini et al., AAAI 2015)."""
        gaps = np.abs(self.accuracy - self.confidence)
        return float(gaps @ self.counts / self.counts.sum()) if len(gaps) else float("nan")


def reliability(confidence: Floats, right: Floats, bins: int = BINS) -> Reliability:
    """The reliability curve.

    Bins are cut at the quantiles of the confidence, so that each holds as many answers as any other: bins of equal
    width leave most of them nearly empty. Equal confidences stay together.

    Args:
        confidence: [n], 0 to 1.
        right: [n], 0 to 1.
        bins: the most bins.
    """
    if not len(confidence):
        return Reliability(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    edges = np.quantile(confidence, np.linspace(0, 1, bins + 1))
    place = np.searchsorted(edges[1:-1], confidence)
    counts = np.bincount(place, minlength=bins)
    kept = counts > 0
    means = [np.bincount(place, v, minlength=bins)[kept] / counts[kept] for v in (confidence, right)]
    return Reliability(counts[kept].astype(np.int64), means[0], means[1])


def risks(confidence: Floats, right: Floats) -> Floats:
    """[n]: share of wrong answers among the i + 1 most confident ones.

    The risk-coverage curve: entry i is the risk at coverage (i + 1) / n. Equal confidences count by the mean
    over all their orders, so the result does not depend on the order of the queries.

    Args:
        confidence: [n], any scale; its order alone counts.
        right: [n], 0 to 1.
    """
    n = len(confidence)
    order = np.argsort(-confidence, kind="stable")
    wrong = np.cumsum(1 - right[order])
    ranked = confidence[order]
    falls = np.flatnonzero(ranked[1:] != ranked[:-1]) + 1
    ends = np.concatenate([[0], falls, [n]]) if n else np.zeros(1)
    # Inside a tie, the expected number of wrong ones grows evenly.
    at_ends = np.concatenate([[0.0], wrong])[ends.astype(np.int64)]
    taken = np.arange(1, n + 1)
    return np.asarray(np.interp(taken, ends, at_ends) / taken)


def aurc(curve: Floats) -> float:
    """Area under the risk-coverage curve: its mean over the n coverages (Geifman and El-Yaniv, NeurIPS 2017)."""
    return float(curve.mean()) if len(curve) else float("nan")


def thinned(n: int, most: int) -> npt.NDArray[np.int64]:
    """At most `most` of 0..n - 1, evenly spaced, with both ends: enough of a long curve to draw it."""
    return np.unique(np.linspace(0, n - 1, min(most, n)).round().astype(np.int64))


def best_aurc(right: Floats) -> float:
    """The area of the order that has all wrong answers last: what no confidence can go below.

    Args:
        right: [n], 0 to 1.
    """
    return aurc(risks(right, right))
