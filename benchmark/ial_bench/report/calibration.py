"""What methods' confidence is worth: reliability where scores are probabilities, risk and coverage of any."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ial_bench.method import Scores
from ial_bench.metrics.accuracy import first_hit
from ial_bench.metrics.calibration import BINS, Floats, Reliability, aurc, best_aurc, reliability, risks, thinned
from ial_bench.report.answers import Answers
from ial_bench.report.groups import Group
from ial_bench.report.selection import Selected
from ial_bench.report.table import Table, analysis
from ial_bench.topk import NO_ANSWER, TopK, sigmoid

_POINTS = 1000  # of a risk-coverage curve in JSON
COVERAGES = (0.1, 0.25, 0.5, 0.75, 1.0)
_ECE = "ECE = sum over {bins} bins of equal mass of n_b / n |share right in b - mean confidence in b|"
_AURC = "AURC = mean risk (share wrong) over all coverages; best: that of an order with all wrong answers last"
_ORDER = (
    "no ECE, for the scores are no probabilities; risk is by the score of the first answer, which need not mean the "
    "same on every photo"
)
_UNKNOWN = (
    "no ECE, for the predictions hold the best scores alone, and not what all of them sum to (`bench run --rerun` "
    "stores it); risk is by the score of the first answer"
)


@dataclass(frozen=True)
class Calibrated:
    """What one method's confidence is worth.

    Attributes:
        title: of the method.
        reliability: of the answers of all seeds together; None where its confidence is not a probability.
        risks: [n], see `risks`; the mean over seeds.
        best: the least area that its answers allow, the mean over seeds.
        why_not: why there is no reliability, if so.
    """

    title: str
    reliability: Reliability | None
    risks: Floats
    best: float
    why_not: str | None


def confidence(top: TopK, n_candidates: int, scores_are: Scores = "logits") -> Floats | None:
    """[n]: probability of the first answer; None where scores give none, or the sum of all logits is unknown.

    Args:
        top: answers.
        n_candidates: of the dataset.
        scores_are: what the scores say.
    """
    if scores_are == "order":
        return None
    if scores_are == "sigmoid":
        return sigmoid(top.scores[:, 0])
    scores = top.scores.astype(np.float64)
    if top.log_sum is not None:
        return np.asarray(np.exp(np.minimum(scores[:, 0] - top.log_sum, 0.0)))
    if top.indices.shape[1] < n_candidates or (top.indices == NO_ANSWER).any():
        return None
    return np.asarray(1 / np.exp(scores - scores[:, :1]).sum(axis=1))


def calibrated(answers: Answers, group: Group, title: str, logits: bool, bins: int = BINS) -> Calibrated:
    """One method's confidence against whether its answers are right.

    Args:
        answers: where they lie.
        group: its runs.
        title: shown.
        logits: whether its scores are logits, where a record does not say.
        bins: of the reliability.

    Raises:
        DataError: predictions cannot be read.
    """
    truth = answers.truth
    curves, ideals, sure, rights = [], [], [], []
    why: str | None = None
    for run in group.runs:
        top = answers.top(run)
        right = (first_hit(top.indices[:, :1], truth.labels) == 0).astype(np.float64)
        own = run.method.scores or ("logits" if logits else "order")
        probability = confidence(top, len(truth.candidate_rows), own)
        if own == "order":
            why = _ORDER
        elif probability is None:
            why = _UNKNOWN
        ranked = _by_score(top) if probability is None else probability
        curves.append(risks(ranked, right))
        ideals.append(best_aurc(right))
        rights.append(right)
        if probability is not None:
            sure.append(probability)
    curve = None if why else reliability(np.concatenate(sure), np.concatenate(rights), bins)
    return Calibrated(title, curve, np.asarray(np.mean(curves, axis=0)), float(np.mean(ideals)), why)


def all_calibrated(selected: Selected, logits: Collection[str], bins: int = BINS) -> list[Calibrated]:
    """`calibrated` of each group.

    Args:
        selected: the runs.
        logits: names of the methods whose scores are logits.
        bins: of the reliability.
    """
    named = zip(selected.groups, selected.titles, strict=True)
    return [calibrated(selected.answers, g, title, g.method in logits, bins) for g, title in named]


def calibration_table(selected: Selected, logits: Collection[str], bins: int = BINS) -> Table:
    """Error, area and risks of each method; the curves are among the facts.

    Args:
        selected: as for `all_calibrated`.
        logits: as for `all_calibrated`.
        bins: as for `all_calibrated`.
    """
    found = all_calibrated(selected, logits, bins)
    rows = tuple(
        (
            c.title, None if c.reliability is None else c.reliability.ece, aurc(c.risks), c.best,
            *(risk_at(c.risks, share) for share in COVERAGES),
        )
        for c in found
    )  # fmt: skip
    notes = [_ECE.format(bins=bins)] if any(c.reliability for c in found) else []
    notes += [_AURC, *why_not(found)]
    if any(len(g.runs) > 1 for g in selected.groups):
        notes.append("of several seeds, ECE is of all their answers together, AURC and risks are means over seeds")
    curves = [
        {
            "method": c.title,
            "reliability": None if c.reliability is None else {
                "counts": c.reliability.counts.tolist(), "confidence": c.reliability.confidence.tolist(),
                "accuracy": c.reliability.accuracy.tolist(),
            },
            "risk": {
                "coverage": ((thinned(len(c.risks), _POINTS) + 1) / max(1, len(c.risks))).tolist(),
                "risk": c.risks[thinned(len(c.risks), _POINTS)].tolist(),
            },
        }
        for c in found
    ]  # fmt: skip
    return analysis(
        f"{selected.dataset}: confidence of first answers",
        ("method", "ECE", "AURC", "best AURC", *(f"risk at {share:.0%}" for share in COVERAGES)),
        rows,
        (*notes, *selected.notes),
        {"dataset": selected.dataset, "bins": bins, "curves": curves},
    )


def why_not(found: Sequence[Calibrated]) -> list[str]:
    """The methods for which no ECE can be given, and why."""
    reasons = dict.fromkeys(c.why_not for c in found if c.why_not)
    return [f"{', '.join(c.title for c in found if c.why_not == reason)}: {reason}" for reason in reasons]


def risk_at(curve: Floats, share: float) -> float | None:
    """The risk where the most confident `share` of the queries is answered, at least one; None of no queries."""
    return float(curve[max(1, round(share * len(curve))) - 1]) if len(curve) else None


def _by_score(top: TopK) -> npt.NDArray[np.float64]:
    """[n]: the first answer's score; below all others where there is no answer."""
    return np.where(top.indices[:, 0] == NO_ANSWER, -np.inf, top.scores[:, 0].astype(np.float64))
