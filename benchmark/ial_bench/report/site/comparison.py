"""Differences between the methods of a report, under each metric of the leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, islice
from typing import Any

import numpy as np
import numpy.typing as npt

from ial_bench.engine.ground_truth import GroundTruth
from ial_bench.metrics.comparison import Difference, compare, holm
from ial_bench.report.groups import Group
from ial_bench.report.site.areas import Areas
from ial_bench.report.site.source import Run, labels

Floats = npt.NDArray[np.float64]


@dataclass
class Comparison:
    """Collects what the queries are worth to each method, then compares.

    Oracles are left out, as they are by ``bench compare --all-pairs``. Of several seeds, each query counts by its mean.

    Attributes:
        groups: the methods, oracles among them.
        metrics: names.
        values: by metric and number of the group, [n].
    """

    groups: Sequence[Group]
    metrics: Sequence[str]
    values: dict[str, dict[int, Floats]] = field(default_factory=dict)

    def add(self, run: Run, names: Sequence[str], values: Floats) -> None:
        """Add one run's outcomes, as `ial_bench.engine.score.outcomes` gives them."""
        if self.groups[run.group].oracle:
            return
        for metric in self.metrics:
            if metric in names:
                of_groups = self.values.setdefault(metric, {})
                mean = values[:, names.index(metric)] / len(self.groups[run.group].runs)
                of_groups[run.group] = of_groups[run.group] + mean if run.group in of_groups else mean

    def data(self, truth: GroundTruth, areas: Areas, whole: set[int]) -> dict[str, Any]:
        """For ``compare.js``: fractions, not percent.

        Args:
            truth: of the queries.
            areas: of its addresses.
            whole: the groups of which every run was added.
        """
        titles = labels(self.groups)
        compared = [i for i, g in enumerate(self.groups) if i in whole and not g.oracle]
        streets = areas.street_of[truth.address_rows]
        counts = np.bincount(streets, minlength=len(areas.streets))
        told: dict[str, Any] = {
            "groups": [{"number": i, "label": titles[i], "seeds": len(self.groups[i].runs)}
                       for i in compared],
            "queriesOfStreet": counts.tolist(), "metrics": {},
        }  # fmt: skip
        measured = [m for m in self.metrics if compared and all(i in self.values.get(m, {}) for i in compared)]
        columns = [np.stack([self.values[m][i] for i in compared], axis=1) for m in measured]
        for metric, values, pairs in zip(measured, columns, _differences(columns, truth.places), strict=True):
            told["metrics"][metric] = _metric_data(values, pairs, streets, counts)
        return told


def _differences(columns: Sequence[Floats], places: npt.NDArray[np.int64]) -> list[list[Difference]]:
    """Of each metric all pairs of methods, from one bootstrap for all metrics; Holm's correction is a metric's own.

    Args:
        columns: of each metric [n, m].
        places: [n].
    """
    if not columns:
        return []
    m = columns[0].shape[1]
    pairs = [(i * m + a, i * m + b) for i in range(len(columns)) for a, b in combinations(range(m), 2)]
    drawn = iter(compare(np.concatenate(columns, axis=1), places, pairs))
    found = []
    for i in range(len(columns)):
        mine = list(islice(drawn, m * (m - 1) // 2))
        corrected = iter(holm([d.p for d in mine if d.p is not None]))
        found.append([
            replace(d, first=d.first - i * m, second=d.second - i * m,
                    p_holm=None if d.p is None else next(corrected))
            for d in mine
        ])  # fmt: skip
    return found


def _metric_data(
    values: Floats, pairs: Sequence[Difference], streets: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]
) -> dict[str, Any]:
    both = values.T @ values
    wrong = 1 - values
    neither = wrong.T @ wrong
    return {
        "means": values.mean(axis=0).tolist(),
        "rightOfStreet": [np.bincount(streets, v, minlength=len(counts)).round(6).tolist() for v in values.T],
        "pairs": [
            {
                "a": d.first, "b": d.second, "difference": d.value, "ci95": d.ci95, "aAlone": d.only_first,
                "bAlone": d.only_second, "both": float(both[d.first, d.second]),
                "neither": float(neither[d.first, d.second]), "p": d.p, "pHolm": d.p_holm,
                "separable": bool(d.separable),
            }
            for d in pairs
        ],
    }  # fmt: skip
