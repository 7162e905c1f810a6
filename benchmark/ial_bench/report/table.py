"""The leaderboard as a model, from which every format is written."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Literal

from ial_bench.encoders.spec import RANDOM_INIT
from ial_bench.engine.record import RunRecord
from ial_bench.report.groups import Group, encoder_of, groups_of, one_population
from ial_bench.report.published import PublishedRow

DEFAULT_METRICS = ("SSA-1", "SSA-5", "SA-1", "SA-5")
LATENCY, STORAGE, PARAMETERS = "p50 (ms)", "storage (MB)", "parameters (M)"
RowKind = Literal["measured", "oracle", "published"]


class Mark(Enum):
    """Place of a cell in its column."""

    NONE = ""
    BEST = "best"
    SECOND = "second"


@dataclass(frozen=True)
class Cell:
    """One number of the table.

    Attributes:
        value: in the column's unit; None where there is none.
        ci95: 95 % interval over places; for several seeds, the mean of the seeds' intervals.
        spread: standard deviation across seeds, None for a single run.
        mark: best or second of its column.
    """

    value: float | None
    ci95: tuple[float, float] | None = None
    spread: float | None = None
    mark: Mark = Mark.NONE


@dataclass(frozen=True)
class Row:
    """One method with one configuration, or one published result.

    Attributes:
        kind: measured rows are ranked; oracles and published rows are not.
        title: the method's title, with what tells it from its other rows.
        backbone: its encoder, in short; untrained weights are said so.
        seeds: number of runs behind it, 0 for published rows.
        cells: by column name.
        cite: citation key of a published row.
    """

    kind: RowKind
    title: str
    backbone: str
    seeds: int
    cells: dict[str, Cell]
    cite: str = ""


@dataclass(frozen=True)
class Column:
    """A column: its name, unit and direction.

    Attributes:
        name: heading.
        percent: whether values are fractions shown as percent.
        digits: decimals shown.
        best: which end is best; None is not ranked.
    """

    name: str
    percent: bool = False
    digits: int = 1
    best: Literal["high", "low"] | None = None


@dataclass(frozen=True)
class Table:
    """A leaderboard.

    Attributes:
        dataset: its name.
        columns: after method and backbone.
        rows: measured ones from best to worst, then oracles, then published.
        notes: what a reader must know beside it.
    """

    dataset: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())


def build_table(
    records: Iterable[RunRecord],
    dataset: str,
    metrics: Sequence[str] = DEFAULT_METRICS,
    published: Iterable[PublishedRow] = (),
    limit: int | None = None,
) -> Table:
    """The leaderboard of the records on `dataset`.

    Rows compare only what was measured on the same photos: the same dataset digest, candidates, protocol and
    limit. Of several such groups the latest is shown, whole runs before limited ones, and the notes count the
    rest.

    Args:
        records: any records; those of other datasets are ignored.
        dataset: name.
        metrics: accuracy columns.
        published: rows to append.
        limit: show runs limited to so many photos a split.
    """
    own = [r for r in records if r.dataset.name == dataset]
    done, notes = one_population([r for r in own if r.status == "done" and r.metrics], limit)
    ranked = (
        *(Column(m, percent=True, best="high") for m in metrics),
        Column(LATENCY, digits=2, best="low"),
        Column(STORAGE, digits=1, best="low"),
        Column(PARAMETERS, digits=1),
    )
    if len(_timed_on(done)) > 1:
        ranked = tuple(replace(c, best=None) if c.name == LATENCY else c for c in ranked)
        notes.append("latencies come from different hardware and are not comparable: none is marked best")
    rows = _measured_rows(groups_of(done), metrics)
    rows = [
        *_marked([r for r in rows if r.kind == "measured"], ranked),
        *(r for r in rows if r.kind == "oracle"),
    ]
    rows += [_published_row(p, metrics) for p in published]
    notes = [*_about(done), *notes, *_not_shown(own, done)]
    return Table(dataset, ranked, tuple(rows), tuple(notes))


def _measured_rows(groups: list[Group], metrics: Sequence[str]) -> list[Row]:
    """A row each. Best first."""
    rows = [_row(group, metrics) for group in groups]
    return sorted(rows, key=lambda r: ([-(r.cells[m].value or 0.0) for m in metrics[:1]], r.title, r.backbone))


def _row(group: Group, metrics: Sequence[str]) -> Row:
    runs = group.runs
    cells: dict[str, Cell] = {}
    for name in metrics:
        found = [r.metrics.accuracy[name] for r in runs if r.metrics and name in r.metrics.accuracy]
        intervals = [i.ci95 for i in found if i.ci95]
        ci95 = (_mean([a for a, _ in intervals]), _mean([b for _, b in intervals])) if intervals else None
        cells[name] = _cell([i.value for i in found], ci95)
    cells[LATENCY] = _cell([r.phases.query.p50_ms for r in runs if r.phases and r.phases.query])
    cells[STORAGE] = _cell([r.size.storage_bytes / 1e6 for r in runs if r.size])
    cells[PARAMETERS] = _cell([r.size.parameters / 1e6 for r in runs if r.size])
    return Row("oracle" if group.oracle else "measured", group.title, group.backbone, len(runs), cells)


def _cell(values: list[float], ci95: tuple[float, float] | None = None) -> Cell:
    if not values:
        return Cell(None)
    return Cell(_mean(values), ci95, statistics.stdev(values) if len(values) > 1 else None)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _marked(rows: list[Row], columns: Sequence[Column]) -> list[Row]:
    """The rows with the best and the second of each ranked column marked, as they are shown: ties share."""
    marks: dict[tuple[int, str], Mark] = {}
    for column in columns:
        values = {
            i: round(value * (100 if column.percent else 1), column.digits)
            for i, row in enumerate(rows)
            if (value := row.cells[column.name].value) is not None
        }
        if column.best is None or len(values) < 2:
            continue
        order = sorted(set(values.values()), reverse=column.best == "high")
        places = dict(zip(order, (Mark.BEST, Mark.SECOND), strict=False))
        marks |= {(i, column.name): places.get(value, Mark.NONE) for i, value in values.items()}
    return [
        replace(row, cells={n: replace(c, mark=marks.get((i, n), Mark.NONE)) for n, c in row.cells.items()})
        for i, row in enumerate(rows)
    ]


def _published_row(row: PublishedRow, metrics: Sequence[str]) -> Row:
    cells = {m: Cell(row.accuracy.get(m)) for m in metrics}
    cells[LATENCY] = Cell(row.latency_ms)
    cells[STORAGE] = Cell(None if row.storage_bytes is None else row.storage_bytes / 1e6)
    cells[PARAMETERS] = Cell(None)
    return Row("published", row.method, "", 0, cells, row.key)


def _about(done: list[RunRecord]) -> list[str]:
    if not done:
        return []
    d = done[0].dataset
    notes = [
        f"{d.n_queries:,} queries from {d.n_places:,} places, {d.n_candidates:,} candidate addresses",
        "in brackets: 95 % interval of a bootstrap over places",
    ]
    if d.n_queries_without_candidate:
        notes.append(
            f"{d.n_queries_without_candidate:,} queries have an address that is no candidate and count as wrong"
        )
    machines = _timed_on(done)
    if machines:
        names = [h.get("gpu") or f"{h.get('cpu')}, {h.get('cores')} cores" for h in machines.values()]
        notes.append(f"latency: one decoded photo to its top-{done[0].k}, on {' and '.join(dict.fromkeys(names))}")
    if any(r.method.oracle for r in done):
        notes.append("oracles know the query's true position; they are not ranked")
    encoders = [encoder_of(r.method.backbone) for r in done if r.method.backbone]
    if any(e and e.random_init for e in encoders):
        notes.append(
            f"{RANDOM_INIT}: the encoder's weights are untrained; accuracies say nothing about the trained model"
        )
    return notes


def _timed_on(done: list[RunRecord]) -> dict[str, dict[str, Any]]:
    """The machines that latencies were measured on, by digest."""
    return {r.provenance.hardware_digest: r.provenance.hardware for r in done if r.phases and r.phases.query}


def _not_shown(own: list[RunRecord], done: list[RunRecord]) -> list[str]:
    """A line for each method whose latest run was skipped or failed and that has no row."""
    shown = {r.method.name for r in done}
    latest: dict[str, RunRecord] = {}
    for r in own:
        if r.status != "done" and r.method.name not in shown:
            earlier = latest.get(r.method.name)
            if earlier is None or r.provenance.finished >= earlier.provenance.finished:
                latest[r.method.name] = r
    return [
        f"{name} was {r.status}: {r.reason}" if r.status == "skipped" else f"{name} failed: {r.reason}"
        for name, r in sorted(latest.items())
    ]
