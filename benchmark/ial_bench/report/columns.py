"""The columns of a leaderboard: the word for each, and how it is read from the runs of a row.

To add a column that is no accuracy, add an entry to `QUANTITIES`.

SSA-1, MRR, within_50, ...    an accuracy
sd, sd:METRIC                 standard deviation across seeds, of the first metric or of the one named
set:KEY                       a setting
backbone, seeds, latency, ... the words of `WORDS`
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ial_bench.engine.record import Interval, RunRecord
from ial_bench.errors import unknown_name
from ial_bench.report.groups import FACTS, Group
from ial_bench.report.published import PublishedRow
from ial_bench.report.table import Cell, Column

BACKBONE, SEEDS, METRICS, SPREAD, SETTING = "backbone", "seeds", "metrics", "sd", "set:"
ORIGIN = "origin"
LATENCY = "latency"
_SPREAD_OF = f"{SPREAD}:"
_DISTANCES = ("within_25", "within_50", "within_100", "within_200")


@dataclass(frozen=True)
class Quantity:
    """A number of a run other than an accuracy.

    Attributes:
        name: heading, with its unit.
        digits: decimals shown.
        best: which end is best; None is not ranked.
        of: the number; None where the run has none.
        published: the number of a published row.
        timed: whether it depends on the machine.
        ci95: its interval; None where it has none.
    """

    name: str
    digits: int
    best: Literal["high", "low"] | None
    of: Callable[[RunRecord], float | None]
    published: Callable[[PublishedRow], float | None] = lambda _: None
    timed: bool = False
    ci95: Callable[[RunRecord], tuple[float, float] | None] = lambda _: None


def _query(name: str) -> Callable[[RunRecord], float | None]:
    return lambda r: getattr(r.phases.query, name) if r.phases and r.phases.query else None


def _size(name: str, unit: float) -> Callable[[RunRecord], float | None]:
    return lambda r: getattr(r.size, name) / unit if r.size else None


QUANTITIES = {
    LATENCY: Quantity("p50 (ms)", 2, "low", _query("p50_ms"), lambda p: p.latency_ms, timed=True),
    "latency-p95": Quantity("p95 (ms)", 2, "low", _query("p95_ms"), timed=True),
    "latency-p99": Quantity("p99 (ms)", 2, "low", _query("p99_ms"), timed=True),
    "throughput": Quantity("photos/s", 1, "high", _query("images_per_second"), timed=True),
    "fit": Quantity("fit (s)", 1, "low", lambda r: r.phases.fit.seconds if r.phases else None, timed=True),
    "storage": Quantity(
        "storage (MB)", 1, "low", _size("storage_bytes", 1e6),
        lambda p: None if p.storage_bytes is None else p.storage_bytes / 1e6,
    ),
    "parameters": Quantity("parameters (M)", 1, None, _size("parameters", 1e6)),
    "trained": Quantity("trained (M)", 1, None, _size("parameters_trained", 1e6)),
    "distance": Quantity(
        "median error (m)", 1, "low", lambda r: r.metrics.distance_m.median if r.metrics else None,
        ci95=lambda r: r.metrics.distance_m.median_ci95 if r.metrics else None,
    ),
}  # fmt: skip
WORDS = (BACKBONE, ORIGIN, SEEDS, METRICS, SPREAD, *QUANTITIES)


def accuracy(record: RunRecord, metric: str) -> Interval | None:
    """A run's accuracy by its name, None where the run does not have it."""
    if record.metrics is None:
        return None
    if metric in _DISTANCES:
        found: Interval = getattr(record.metrics.distance_m, metric)
        return found
    return record.metrics.accuracy.get(metric)


def metrics_of(records: Sequence[RunRecord]) -> list[str]:
    """Names of the accuracies that the records have."""
    return sorted({n for r in records if r.metrics for n in (*r.metrics.accuracy, *_DISTANCES)})


def is_metric(word: str) -> bool:
    """Whether the word of a column is an accuracy."""
    return word not in WORDS and not word.startswith((_SPREAD_OF, SETTING))


def is_shared(word: str) -> bool:
    """Whether a column is the same for all datasets that stand side by side."""
    return word in {BACKBONE, ORIGIN} or word.startswith(SETTING)


def is_timed(word: str) -> bool:
    """Whether a column depends on the machine."""
    return word in QUANTITIES and QUANTITIES[word].timed


def spread_metric(word: str, first: str | None) -> str | None:
    """The metric whose spread a column shows, None of other columns."""
    if word == SPREAD:
        return first
    return word.removeprefix(_SPREAD_OF) if word.startswith(_SPREAD_OF) else None


def column(word: str, first: str | None, group: str = "", title: str = "", digits: int = 1) -> Column:
    """The column that a word stands for.

    Args:
        word: as above.
        first: the first metric of the table.
        group: dataset, where several stand side by side.
        title: heading instead of the name and its unit.
        digits: decimals of accuracies.
    """
    if is_shared(word):
        return Column(word.removeprefix(SETTING), text=True, title=title)
    if word == SEEDS:
        return Column(SEEDS, digits=0, group=group, title=title)
    metric = spread_metric(word, first)
    if metric is not None:
        of = Column(metric, group=group).key
        return Column(f"{metric} seed sd", percent=True, digits=digits, group=group, spread_of=of, title=title)
    if word in QUANTITIES:
        known = QUANTITIES[word]
        return Column(known.name, digits=known.digits, best=known.best, group=group, title=title)
    return Column(word, percent=True, digits=digits, best="high", group=group, title=title)


Measure = Callable[[Group, Sequence[RunRecord]], Cell]
"""From the group of a row, and its runs on the column's dataset, to the cell. For a timed quantity all these runs are
taken to be of one machine."""


def measure(word: str, first: str | None) -> Measure:
    """How the cells of a column are read.

    Args:
        word: of the column.
        first: the first metric of the table.
    """
    if word == BACKBONE:
        return lambda group, _: Cell(text=group.backbone)
    if word.startswith(SETTING):
        key = word.removeprefix(SETTING)
        return lambda group, _: Cell(text=group.setting(key))
    if word == SEEDS:
        return lambda _, runs: Cell(float(len(runs)) if runs else None)
    if word in QUANTITIES:
        known = QUANTITIES[word]
        return lambda _, runs: _quantity(known, runs)
    metric = spread_metric(word, first)
    if metric is not None:
        return lambda _, runs: Cell(_accuracy(metric, runs).spread)
    return lambda _, runs: _accuracy(word, runs)


def _quantity(known: Quantity, runs: Sequence[RunRecord]) -> Cell:
    values = [v for r in runs if (v := known.of(r)) is not None]
    return Cell(_mean(values) if values else None, _mean_interval([known.ci95(r) for r in runs]))


def _accuracy(metric: str, runs: Sequence[RunRecord]) -> Cell:
    """The mean of several seeds; a method without randomness has no spread, however often it was run."""
    found = [i for r in runs if (i := accuracy(r, metric))]
    if not found:
        return Cell()
    varied = len(found) > 1 and runs[0].method.stochastic
    ci95 = _mean_interval([i.ci95 for i in found])
    return Cell(_mean([i.value for i in found]), ci95, statistics.stdev(i.value for i in found) if varied else None)


def _mean_interval(found: Sequence[tuple[float, float] | None]) -> tuple[float, float] | None:
    known = [i for i in found if i is not None]
    return (_mean([a for a, _ in known]), _mean([b for _, b in known])) if known else None


def reported(word: str, row: PublishedRow) -> Cell:
    """The cell of a published row."""
    if word in QUANTITIES:
        return Cell(QUANTITIES[word].published(row))
    return Cell(row.accuracy.get(word))


def check_words(words: Sequence[str], records: Sequence[RunRecord]) -> None:
    """Check that columns exist.

    Raises:
        UnknownNameError: one is neither a word nor in any record.
    """
    metrics = metrics_of(records)
    settings = sorted({key for r in records for key in r.method.config} | {*FACTS})
    for word in words:
        metric = spread_metric(word, None) or (word if is_metric(word) else None)
        if metric is not None and metrics and metric not in metrics:
            fix = (
                f"the records have {', '.join(metrics)}; columns that are no metrics: {', '.join(WORDS)}, {SETTING}KEY"
            )
            raise unknown_name("metric", metric, [*metrics, *WORDS], fix)
        key = word.removeprefix(SETTING)
        if word.startswith(SETTING) and key not in settings:
            raise unknown_name("setting", key, settings, f"the records have {', '.join(settings)}")


def settings_of(groups: Sequence[Group]) -> list[str]:
    """Words of the settings in which rows of one method differ, in their order."""
    return list(dict.fromkeys(f"{SETTING}{key}" for g in groups for key in g.differences if key != BACKBONE))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
