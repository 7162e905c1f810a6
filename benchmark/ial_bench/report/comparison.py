"""Methods compared on the same queries, of one dataset or several, and how sure one is, over places and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ial_bench.errors import DataError
from ial_bench.metrics.comparison import Difference, compare
from ial_bench.metrics.intervals import Estimate, SeedSpread, seed_spread
from ial_bench.report.groups import Group
from ial_bench.report.selection import Selected, contenders
from ial_bench.report.table import Cell, Column, Row, Table, analysis, points

MEAN = "mean of datasets"


@dataclass(frozen=True)
class Compared:
    """Differences on one dataset, or of means over several.

    Attributes:
        name: of the dataset, or `MEAN`.
        metric: a mean over queries.
        groups: the methods; of means, those of the first dataset.
        means: of each method.
        differences: between all pairs.
    """

    name: str
    metric: str
    groups: tuple[Group, ...]
    means: tuple[float, ...]
    differences: tuple[Difference, ...]

    def as_json(self) -> dict[str, Any]:
        """For programs: fractions, not percent."""
        named = [
            {"method": g.method, "title": g.title, "runs": [r.run_id for r in g.runs], "mean": mean}
            for g, mean in zip(self.groups, self.means, strict=True)
        ]
        pairs = [
            {
                "a": d.first, "b": d.second, "difference": d.value, "ci95": d.ci95, "a_alone": d.only_first,
                "b_alone": d.only_second, "p": d.p, "p_holm": d.p_holm, "separable": d.separable,
            }
            for d in self.differences
        ]  # fmt: skip
        return {"dataset": self.name, "metric": self.metric, "methods": named, "pairs": pairs}


def compared(
    results: Path, datasets: Sequence[str | None], methods: Sequence[str], metric: str, limit: int | None
) -> tuple[list[Compared], list[str]]:
    """The comparison on each dataset and, of several, of the means over datasets, all with the same weight.

    Args:
        results: folder of results.
        datasets: names; None: the only one with results.
        methods: names, or of one dataset ids of runs, two or more; none: all but oracles, the best first.
        metric: a mean over queries.
        limit: of the runs, photos a split; None: any.

    Returns:
        One a dataset and then the means; what a reader must know.

    Raises:
        DataError: no results, too few of them, or answers that cannot be read.
        ConfigError: several datasets and none asked for.
        UnknownNameError: no such dataset, method or metric.
    """
    chosen = [Selected.among(results, name, methods, limit) for name in datasets]
    rows = [list(s.groups) if methods else contenders(s.groups) for s in chosen]
    if len(chosen) > 1 and not methods:
        rows = _common(chosen, rows)
    if min(map(len, rows)) < 2:
        where = " and ".join(repr(s.dataset) for s in chosen)
        raise DataError(f"{min(map(len, rows))} method with results on {where}: nothing to compare", "run another one")
    values = [
        np.stack([s.answers.values(g.runs, metric) for g in of], axis=1) for s, of in zip(chosen, rows, strict=True)
    ]
    if not methods:
        order = np.argsort(-np.mean([v.mean(axis=0) for v in values], axis=0), kind="stable")
        rows, values = [[of[i] for i in order] for of in rows], [v[:, order] for v in values]
    places = [s.answers.truth.places for s in chosen]
    found = [
        Compared(s.dataset, metric, tuple(of), _means([v]), tuple(compare(v, p)))
        for s, of, v, p in zip(chosen, rows, values, places, strict=True)
    ]
    if len(chosen) > 1:
        stratum = np.repeat(np.arange(len(values)), [len(v) for v in values])
        joint = compare(np.concatenate(values), _numbered(places), strata=stratum)
        found.append(Compared(MEAN, metric, tuple(rows[0]), _means(values), tuple(joint)))
    notes = [note for s in chosen for note in s.notes]
    return found, list(dict.fromkeys([*(note for s in chosen for note in s.seed_notes), *notes]))


def comparison_table(found: Sequence[Compared], notes: Sequence[str] = ()) -> Table:
    """A table with a row for each pair; for several datasets a row for each, then one for the means.

    Args:
        found: what `compared` returns.
        notes: likewise.
    """
    several = len(found) > 1
    metric = found[0].metric
    columns = (
        *([Column("dataset", text=True)] if several else []),
        Column("A", text=True, title="A"),
        Column("B", text=True, title="B"),
        *(Column(f"{side} {metric}", percent=True, part="value") for side in "AB"),
        Column("A - B", percent=True, title="A - B", part="value", shown="{:+.1f}".format),
        Column("95 %", percent=True, title="95 %", part="interval", shown="{:+.1f}".format),
        *(Column(f"{side} alone", shown="{:,.0f}".format) for side in "AB"),
        *(Column(name, title=name, shown=_p) for name in ("p", "p (Holm)")),
    )
    pairs = zip(*(of.differences for of in found), strict=True)
    every = [(of, d) for pair in pairs for of, d in zip(found, pair, strict=True)]
    cells = [[*([Cell(text=of.name)] if several else []), *_cells(of, d)] for of, d in every]
    rows = [Row("measured", "", 0, dict(zip((c.key for c in columns), own, strict=True))) for own in cells]
    return Table("" if several else found[0].name, columns, tuple(rows), tuple(notes), ranking=False)


def _cells(of: Compared, d: Difference) -> list[Cell]:
    titles = [Cell(text=of.groups[i].title) for i in (d.first, d.second)]
    difference = Cell(d.value, d.ci95)
    means = [Cell(of.means[i]) for i in (d.first, d.second)]
    return [*titles, *means, difference, difference, *map(Cell, (d.only_first, d.only_second, d.p, d.p_holm))]


def _p(p: float) -> str:
    """Never shown as 0: the least possible p follows from the number of draws."""
    return f"{p:.4f}" if p >= 0.0001 else f"{p:.1e}"


def _means(values: Sequence[npt.NDArray[np.float64]]) -> tuple[float, ...]:
    return tuple(np.mean([v.mean(axis=0) for v in values], axis=0).tolist())


def _numbered(places: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    """One numbering of the places of several datasets."""
    numbers, start = [], 0
    for own in places:
        _, place = np.unique(own, return_inverse=True)
        numbers.append(place + start)
        start += int(place.max(initial=-1)) + 1
    return np.concatenate(numbers)


def _common(chosen: Sequence[Selected], rows: Sequence[list[Group]]) -> list[list[Group]]:
    """The methods that have runs on all datasets, in one order.

    Raises:
        DataError: one of them has several configurations somewhere.
    """
    names = [g.method for g in rows[0] if all(any(g.method == h.method for h in of) for of in rows[1:])]
    found = []
    for selected, of in zip(chosen, rows, strict=True):
        of_name = {name: [g for g in of if g.method == name] for name in dict.fromkeys(names)}
        for name, groups in of_name.items():
            if len(groups) > 1:
                problem = f"{name} was run with {len(groups)} configurations on {selected.dataset!r}"
                raise DataError(problem, "compare them on one dataset, or keep one configuration a results folder")
        found.append([groups[0] for groups in of_name.values()])
    return found


_ONE_RUN = (
    "one run: other places, the same weights; with seeds: other places and other seeds, as in a claim about a method"
)
_SOURCES = "places, seeds' sd: standard deviations of the mean from places and of a single seed, in percentage points"


def spreads(selected: Selected, metric: str) -> list[SeedSpread]:
    """The spread of each group over places and seeds.

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


def seeds_table(selected: Selected, metric: str) -> Table:
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
