"""How much of a method's uncertainty is of places, and how much of seeds."""

from __future__ import annotations

import numpy as np

from ial_bench.metrics.intervals import Estimate, SeedSpread, seed_spread
from ial_bench.report.selection import Selected
from ial_bench.report.table import Table, analysis, points

_ONE_RUN = (
    "one run: other places, the same weights; with seeds: other places and other seeds, as in a claim about a method"
)
_SOURCES = "places, seeds' sd: standard deviations of the mean from places and of a single seed, in percentage points"


def spreads(selected: Selected, metric: str) -> list[SeedSpread]:
    """That of each group.

    Args:
        selected: the runs.
        metric: a mean over queries.

    Raises:
        DataError: ground truth or predictions cannot be read.
        UnknownNameError: no such metric.
    """
    answers = selected.answers
    places = answers.truth.places
    return [
        seed_spread(np.stack([answers.values([run], metric) for run in g.runs], axis=1), places)
        for g in selected.groups
    ]


def sheet(selected: Selected, metric: str) -> Table:
    """`spreads` as a table."""
    rows = tuple(
        (
            title, len(group.runs), Estimate(s.value, s.one_run), None if s.with_seeds is None else s.as_estimate,
            points(s.place_sd), points(s.seed_sd),
        )
        for title, group, s in zip(selected.titles, selected.groups, spreads(selected, metric), strict=True)
    )  # fmt: skip
    return analysis(
        f"{selected.dataset}: {metric} % over places and seeds",
        ("method", "seeds", "one run", "with seeds", "places", "seeds' sd"),
        rows,
        (_ONE_RUN, _SOURCES, *selected.notes),
        {"dataset": selected.dataset, "metric": metric},
    )
