"""The leaderboard as a table, which every format writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from ial_bench.engine.record import RunRecord
from ial_bench.errors import ConfigError
from ial_bench.report import columns as column_kinds
from ial_bench.report.answers import Outcomes, Trust, about_trust, inseparable_rows
from ial_bench.report.groups import Group, groups_of
from ial_bench.report.layout import AS_GIVEN, Entry, Layout, chosen, mark_contradicted, mark_stale, ordered
from ial_bench.report.notes import about_seeds, joined, not_cited, not_shown, notes_of
from ial_bench.report.published import PublishedRow, why_not_beside
from ial_bench.report.selection import Population
from ial_bench.report.stale import NO_CODE, Code, about_stale
from ial_bench.report.table import EMPTY, Cell, Column, Mark, Row, Table

DEFAULT_METRICS = ("SSA-1", "SSA-5", "SA-1", "SA-5")


def build_table(
    records: Iterable[RunRecord],
    dataset: str,
    metrics: Sequence[str] = DEFAULT_METRICS,
    published: Iterable[PublishedRow] = (),
    limit: int | None = None,
    results: Path | None = None,
    code: Code = NO_CODE,
) -> Table:
    """The leaderboard of the records on `dataset`, with the usual columns.

    Args:
        records: any records; those of other datasets are ignored.
        dataset: name.
        metrics: accuracy columns.
        published: rows to append.
        limit: show runs with this limit of photos a split.
        results: as for `lay_out`.
        code: likewise.
    """
    return lay_out(records, [dataset], Layout(metrics=tuple(metrics), limit=limit), published, results, code)


def lay_out(
    records: Iterable[RunRecord],
    datasets: Sequence[str],
    layout: Layout,
    published: Iterable[PublishedRow] = (),
    results: Path | None = None,
    code: Code = NO_CODE,
) -> Table:
    """A table of the records on `datasets`, side by side where they are several.

    Rows compare only what was measured on the same photos: the same dataset digest, candidates, protocol, k and
    limit. Of several such populations the latest is shown, whole runs before limited ones, and the notes count the
    rest. Published rows are shown with whole runs on the dataset as it was published; else the notes say why not.
    Runs that later code of their method has superseded are left out and counted too.

    Args:
        records: any records; those of other datasets are ignored.
        datasets: names, in their order.
        layout: what to show.
        published: rows to choose from.
        results: folder of results, whose answers show which rows are separable and whether numbers are true; None:
            they are not read.
        code: of the methods as they are here; rows of other code are marked as stale, and not ranked.

    Raises:
        ConfigError: a column to sort by that is not shown, or a row that is asked for and not there or left out.
    """
    published = list(published)
    own = [r for r in records if r.dataset.name in datasets]
    populations = [Population.among(own, name, layout.limit, code) for name in datasets]
    left_out = {p.dataset: why for p in populations if (why := why_not_beside(p.dataset, p.done, layout.limit))}
    entries = chosen(groups_of([r for p in populations for r in p.done]), published, layout, left_out)
    entries = mark_stale(entries, code)
    groups = [e.group for e in entries if e.group is not None]
    places = _places(own, groups, populations, layout)
    outcomes = None
    if results is not None and layout.separable:
        outcomes = Outcomes(results, next((place.first for place in places), None))
    trust = Trust.of((r for g in groups for r in g.runs), outcomes)
    entries = mark_contradicted(entries, trust)
    beside = [(population, tuple(own)) for population, own in groupby(places, key=attrgetter("population"))]
    found = [(entry, _row(entry, beside, trust)) for entry in entries]
    by = _sorted_by(places, layout)
    columns = [place.column for place in places]
    found = ordered(found, columns, layout, by)
    rows, ties = _tied(found, places, layout, outcomes)
    columns, mixed = _comparable(places, groups)
    rows = _marked(rows, columns)
    words = [place.word for place in places]
    names = [layout.headings.get(name, name) for name in datasets]
    notes = [
        *joined([notes_of(p, groups, words, layout.intervals) for p in populations], names),
        *joined(mixed, names),
        *joined(ties, names),
        *about_stale(e.group.method for e in entries if e.group is not None and e.stale),
        *about_trust(trust, [(e.title, e.group.runs) for e in entries if e.group]),
        *about_seeds(rows, columns),
        *joined([not_cited(name, left_out, filter(layout.cites, published)) for name in datasets], names),
        *joined([not_shown(p) for p in populations], names),
    ]
    return Table(", ".join(names), tuple(columns), tuple(rows), tuple(notes))


@dataclass(frozen=True)
class _Place:
    """A column, the word for it, and whose runs it shows: None where that does not matter."""

    word: str
    population: Population | None
    first: str | None
    column: Column

    @cached_property
    def timed(self) -> bool:
        """Whether it depends on the machine."""
        return column_kinds.is_timed(self.word)

    @cached_property
    def measure(self) -> column_kinds.Measure:
        """How its cells are read."""
        return column_kinds.measure(self.word, self.first)


def _places(
    own: Sequence[RunRecord], groups: Sequence[Group], populations: Sequence[Population], layout: Layout
) -> list[_Place]:
    """Columns: those that are the same for all datasets, then each dataset's."""
    known = column_kinds.metrics_of(own)
    usual = tuple(m for m in DEFAULT_METRICS if m in known or not known)
    metrics = usual if layout.metrics is None else layout.metrics
    several = len(populations) > 1
    words = layout.words(metrics, several, any(p.varied(g) for p in populations for g in groups))
    if layout.settings_as_columns:
        at = 1 if words[:1] == (column_kinds.BACKBONE,) else 0
        words = (*words[:at], *(w for w in column_kinds.settings_of(groups) if w not in words), *words[at:])
    first = next((w for w in words if column_kinds.is_metric(w)), None)
    places = []
    for population in (None, *populations):
        for word in words:
            if (population is None) == column_kinds.is_shared(word):
                name = population.dataset if several and population else ""
                column = column_kinds.column(
                    word, first, layout.headings.get(name, name), layout.headings.get(word, ""), layout.digits
                )
                places.append(_Place(word, population, first, column))
    return places


def _row(entry: Entry, beside: Sequence[tuple[Population | None, Sequence[_Place]]], trust: Trust) -> Row:
    """The row of an entry; `beside`: the columns of each population."""
    if entry.group is None:
        cells = {place.column.key: _reported(entry, place) for _, places in beside for place in places}
        return Row(entry.kind, entry.title, 0, cells, entry.published[0].key, entry.heading)
    group, cells, seeds = entry.group, {}, 0
    for population, places in beside:
        runs = [] if population is None else population.of(group)
        timed = [] if population is None else population.timed(group)
        seeds = max(seeds, len(runs))
        for place in places:
            if place.word == column_kinds.ORIGIN:
                cells[place.column.key] = Cell(text=", ".join(dict.fromkeys(map(trust.origin, group.runs))))
            else:
                cells[place.column.key] = place.measure(group, timed if place.timed else runs)
    return Row(entry.kind, entry.title, seeds, cells, "", entry.heading, tuple(r.run_id for r in group.runs))


def _reported(entry: Entry, place: _Place) -> Cell:
    """The cell of a published row."""
    for row in entry.published:
        if place.population is not None and row.dataset == place.population.dataset:
            return column_kinds.reported(place.word, row)
    return EMPTY


def _sorted_by(places: Sequence[_Place], layout: Layout) -> Column | None:
    """The column that rows are ordered by: of the first dataset, where several stand side by side.

    Raises:
        ConfigError: it is not shown.
    """
    numbers = [p for p in places if not p.column.text]
    if layout.sort in {None, AS_GIVEN}:
        return next((p.column for p in numbers if p.word == p.first), None)
    for place in numbers:
        if layout.sort in {place.word, place.column.key}:
            return place.column
    shown = ", ".join(dict.fromkeys(p.word for p in numbers))
    raise ConfigError(f"cannot sort by {layout.sort!r}, which is not shown", f"one of {shown}, or {AS_GIVEN}")


def _tied(
    rows: Sequence[tuple[Entry, Row]], places: Sequence[_Place], layout: Layout, outcomes: Outcomes | None
) -> tuple[list[Row], list[list[str]]]:
    """The rows, with those marked that are not separable from the best in the first metric; notes on each dataset."""
    found = [row for _, row in rows]
    notes: list[list[str]] = []
    for place in places:
        if place.population is None or place.word != place.first:
            continue
        ranked = [
            (i, runs)
            for i, (entry, row) in enumerate(rows)
            if row.kind == "measured" and entry.group and (runs := place.population.of(entry.group))
        ]
        metric = layout.headings.get(place.word, place.word)
        tied, note = inseparable_rows([runs for _, runs in ranked], metric, outcomes)
        notes.append([note] if note else [])
        for j in tied:
            i = ranked[j][0]
            cell = found[i].cell(place.column)._replace(tied=True)
            found[i] = replace(found[i], cells={**found[i].cells, place.column.key: cell})
    return found, notes


def _comparable(places: Sequence[_Place], groups: Sequence[Group]) -> tuple[list[Column], list[list[str]]]:
    """The columns, with times of different machines unranked; notes on each dataset."""
    columns = []
    mixed: dict[str, list[str]] = {p.population.dataset: [] for p in places if p.population}
    for place in places:
        column = place.column
        if place.population and place.timed and len(place.population.machines(groups)) > 1:
            column = replace(column, best=None)
            mixed[place.population.dataset] = [
                "latencies come from different hardware and are not comparable: none is marked best"
            ]
        columns.append(column)
    return columns, list(mixed.values())


def _marked(rows: list[Row], columns: Sequence[Column]) -> list[Row]:
    """The rows with the best and second of each ranked column marked; cells that read the same share a mark."""
    marks: dict[int, dict[str, Mark]] = defaultdict(dict)
    for column in columns:
        values = {
            i: round(value * (100 if column.percent else 1), column.digits)
            for i, row in enumerate(rows)
            if row.kind == "measured" and (value := row.cell(column).value) is not None
        }
        if column.best is None or len(values) < 2:
            continue
        order = sorted(set(values.values()), reverse=column.best == "high")
        best = dict(zip(order, (Mark.BEST, Mark.SECOND), strict=False))
        for i, value in values.items():
            if value in best:
                marks[i][column.key] = best[value]
    marked = list(rows)
    for i, own in marks.items():
        cells = rows[i].cells
        marked[i] = replace(rows[i], cells={**cells, **{k: cells[k].marked(mark) for k, mark in own.items()}})
    return marked
