"""Differences between the methods of a report, under each metric of the leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ial_bench.engine.ground_truth import GroundTruth
from ial_bench.metrics.comparison import Difference, compare
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
        """Add one run's outcomes, as `ial_bench.engine.scoring.outcomes` gives them."""
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
        for metric, values in zip(measured, columns, strict=True):
            told["metrics"][metric] = _metric_data(values, compare(values, truth.places), streets, counts)
        return told


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
