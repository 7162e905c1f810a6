"""The leaderboard as a model, from which every format is written."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Literal

from ial_bench.encoders.spec import RANDOM_INIT, EncoderSpec
from ial_bench.engine.record import MethodRecord, RunRecord
from ial_bench.errors import ConfigError
from ial_bench.files import digest
from ial_bench.report.published import PublishedRow
from ial_bench.settings import BACKBONE, shown

DEFAULT_METRICS = ("SSA-1", "SSA-5", "SA-1", "SA-5")
_ABSENT = object()
_SHOWN_DIGITS = 8  # of a digest
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
    done, notes = _one_population([r for r in own if r.status == "done" and r.metrics], limit)
    ranked = (
        *(Column(m, percent=True, best="high") for m in metrics),
        Column(LATENCY, digits=2, best="low"),
        Column(STORAGE, digits=1, best="low"),
        Column(PARAMETERS, digits=1),
    )
    if len(_timed_on(done)) > 1:
        ranked = tuple(replace(c, best=None) if c.name == LATENCY else c for c in ranked)
        notes.append("latencies come from different hardware and are not comparable: none is marked best")
    rows = _measured_rows(done, metrics)
    rows = [
        *_marked([r for r in rows if r.kind == "measured"], ranked),
        *(r for r in rows if r.kind == "oracle"),
    ]
    rows += [_published_row(p, metrics) for p in published]
    notes = [*_about(done), *notes, *_not_shown(own, done)]
    return Table(dataset, ranked, tuple(rows), tuple(notes))


def _one_population(records: list[RunRecord], limit: int | None) -> tuple[list[RunRecord], list[str]]:
    groups: dict[tuple[Any, ...], list[RunRecord]] = defaultdict(list)
    for r in records:
        groups[r.dataset.digest, r.dataset.candidate_digest, r.dataset.limit, r.protocol_version, r.k].append(r)
    wanted = [key for key in groups if limit is None or key[2] == limit]
    if not wanted:
        return [], [] if limit is None else [f"no runs are limited to {limit:,} photos a split"]
    chosen = max(wanted, key=lambda key: (key[2] is None, max(r.provenance.finished for r in groups[key])))
    others = len(records) - len(groups[chosen])
    notes = []
    if chosen[2] is not None:
        notes.append(f"limited to {chosen[2]:,} photos a split: for a quick look, not a result")
    if others:
        runs = "run is" if others == 1 else "runs are"
        why = "another version of the dataset, another limit, k or protocol"
        notes.append(f"{others:,} other {runs} left out: {why}")
    return groups[chosen], notes


def _measured_rows(records: list[RunRecord], metrics: Sequence[str]) -> list[Row]:
    """One row a method and configuration; seeds are joined. Best first."""
    runs: dict[tuple[str, ...], list[RunRecord]] = defaultdict(list)
    for r in records:
        runs[r.method.name, r.method.version, digest(r.method.config), r.method.weights_digest or ""].append(r)
    by_method: dict[str, list[list[RunRecord]]] = defaultdict(list)
    for group in runs.values():
        by_method[group[0].method.name].append(group)
    rows = [_row(group, siblings, metrics) for siblings in by_method.values() for group in siblings]
    return sorted(rows, key=lambda r: ([-(r.cells[m].value or 0.0) for m in metrics[:1]], r.title, r.backbone))


def _row(runs: list[RunRecord], siblings: list[list[RunRecord]], metrics: Sequence[str]) -> Row:
    method = runs[0].method
    cells: dict[str, Cell] = {}
    for name in metrics:
        found = [r.metrics.accuracy[name] for r in runs if r.metrics and name in r.metrics.accuracy]
        intervals = [i.ci95 for i in found if i.ci95]
        ci95 = (_mean([a for a, _ in intervals]), _mean([b for _, b in intervals])) if intervals else None
        cells[name] = _cell([i.value for i in found], ci95)
    cells[LATENCY] = _cell([r.phases.query.p50_ms for r in runs if r.phases and r.phases.query])
    cells[STORAGE] = _cell([r.size.storage_bytes / 1e6 for r in runs if r.size])
    cells[PARAMETERS] = _cell([r.size.parameters / 1e6 for r in runs if r.size])
    title = method.title + _difference(runs, siblings)
    return Row("oracle" if method.oracle else "measured", title, _backbone(method.backbone), len(runs), cells)


def _difference(runs: list[RunRecord], siblings: list[list[RunRecord]]) -> str:
    """What tells a row's configuration from the method's other rows, in brackets."""
    if len(siblings) == 1:
        return ""
    mine, others = runs[0].method, [s[0].method for s in siblings]
    found = [f"preset {mine.preset}"] if mine.preset and any(m.preset != mine.preset for m in others) else []
    found += [
        f"{key}={shown(value)}"
        for key, value in sorted(mine.config.items())
        if key != BACKBONE and any(key in _compared(mine, m) and m.config.get(key, _ABSENT) != value for m in others)
    ]
    if any(m.version != mine.version for m in others):
        found.append(f"version {mine.version}")
    # The backbone has a column of its own, which names a checkpoint by its file name alone.
    look_alikes = [m for m in others if _backbone(m.backbone) == _backbone(mine.backbone)]
    if any(m.backbone != mine.backbone for m in look_alikes):
        found.append(f"backbone={mine.backbone}")
    if mine.weights_digest and any(m.weights_digest != mine.weights_digest for m in look_alikes):
        found.append(f"weights {mine.weights_digest[:_SHOWN_DIGITS]}")
    return f" ({', '.join(found)})" if found else ""


def _compared(a: MethodRecord, b: MethodRecord) -> set[str]:
    """The settings in which rows may differ: those of one preset in all, others in what was changed on top."""
    return {*a.config, *b.config} if a.preset == b.preset else {*a.changed, *b.changed}


def _encoder(spec: str) -> EncoderSpec | None:
    """None for one of a library that only a later ial-bench knows: its records are shown all the same."""
    try:
        return EncoderSpec.parse(spec)
    except ConfigError:
        return None


def _backbone(spec: str | None) -> str:
    if spec is None:
        return ""
    parsed = _encoder(spec)
    if parsed is None:
        return spec
    model = parsed.network.rsplit("/", 1)[-1].removesuffix(".json")
    if parsed.random_init:
        return f"{model} ({RANDOM_INIT}: untrained)"
    file = parsed.weights_file
    return f"{model} ({file.name if file else parsed.weights})" if parsed.weights else model


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
    encoders = [_encoder(r.method.backbone) for r in done if r.method.backbone]
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
