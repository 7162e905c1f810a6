"""What a reader must know beside a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ial_bench.encoders.encoder import FLOAT32
from ial_bench.encoders.spec import RANDOM_INIT
from ial_bench.engine.record import RunRecord
from ial_bench.report.columns import LATENCY, accuracy
from ial_bench.report.groups import Group, but_for_precision, encoder_of
from ial_bench.report.published import PublishedRow
from ial_bench.report.selection import Population, timed_on
from ial_bench.report.table import Column, Row


def notes_of(population: Population, groups: Sequence[Group], words: Sequence[str], intervals: bool) -> list[str]:
    """Notes on one dataset's runs.

    Args:
        population: the dataset's runs.
        groups: those that have rows.
        words: of the columns shown.
        intervals: whether they are shown.
    """
    runs = [r for g in groups for r in population.of(g)]
    if not runs:
        return list(population.notes)
    d = runs[0].dataset
    notes = [f"{d.n_queries:,} queries from {d.n_places:,} places, {d.n_candidates:,} candidate addresses"]
    if intervals:
        notes.append("in brackets: 95 % interval over places")
    if d.n_queries_without_candidate:
        notes.append(
            f"{d.n_queries_without_candidate:,} queries have an address that is no candidate and count as wrong"
        )
    if LATENCY in words:
        notes += about_latency(population, groups, runs[0].k)
    if any(r.method.oracle for r in runs):
        notes.append("oracles know the query's true position; they are not ranked")
    encoders = [encoder_of(r.method.backbone) for r in runs if r.method.backbone]
    if any(e and e.random_init for e in encoders):
        notes.append(
            f"{RANDOM_INIT}: the encoder's weights are untrained; accuracies say nothing about the trained model"
        )
    return [*notes, *about_precision(groups), *about_encoders(runs), *population.notes]


def about_latency(population: Population, groups: Sequence[Group], k: int) -> list[str]:
    """The machine that most rows were timed on, and the rows timed on others."""
    rows: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for group in groups:
        for run in population.timed(group):
            if machine := timed_on(run):
                hardware = run.provenance.hardware
                names[machine] = hardware.get("gpu") or f"{hardware.get('cpu')}, {hardware.get('cores')} cores"
                rows.setdefault(machine, []).append(group.title)
    if not rows:
        return []
    most = population.hardware if population.hardware in rows else next(iter(rows))
    others = [f"{', '.join(dict.fromkeys(rows[m]))} on {names[m]}" for m in rows if m != most]
    return ["; ".join([f"latency: one decoded photo to its top-{k}, on {names[most]}", *others])]


def about_precision(groups: Sequence[Group]) -> list[str]:
    """How a lower precision of encoding changes SSA-1, where there is a run in float32 too."""
    notes = []
    for group in groups:
        dtype = group.runs[0].dtype
        if dtype == FLOAT32:
            continue
        same = (g for g in groups if g.runs[0].dtype == FLOAT32 and but_for_precision(g) == but_for_precision(group))
        twin = next(same, None)
        what = f"{group.runs[0].method.title}: photos encoded in {dtype}"
        if twin is None:
            notes.append(f"{what}; what that changes is not known, for there is no run in {FLOAT32}")
        elif (own := _mean_ssa1(group)) is not None and (full := _mean_ssa1(twin)) is not None:
            change = 100 * (own - full)
            notes.append(f"{what}; SSA-1 {change:+.1f} points against {FLOAT32}")
    return notes


def about_encoders(runs: Sequence[RunRecord]) -> list[str]:
    """Assumptions that had to be made about encoders."""
    return list(dict.fromkeys(note for r in runs if r.method.encoder for note in r.method.encoder.notes))


def _mean_ssa1(group: Group) -> float | None:
    """Mean over seeds; None where runs were scored with other k."""
    values = [measured.value for r in group.runs if (measured := accuracy(r, "SSA-1")) is not None]
    return sum(values) / len(values) if values else None


def about_seeds(rows: Sequence[Row], columns: Sequence[Column]) -> list[str]:
    """How a row joins several seeds."""
    if all(row.seeds < 2 for row in rows):
        return []
    notes = ["rows of several seeds show means; their intervals are means of the seeds' intervals"]
    if any(c.spread_of for c in columns):
        notes.append("seed sd: standard deviation across seeds in percentage points, empty for a single run")
    return notes


def not_cited(dataset: str, left_out: Mapping[str, str], asked: Iterable[PublishedRow]) -> list[str]:
    """Why published rows of a dataset are missing although asked for.

    Args:
        dataset: its name.
        left_out: datasets whose published rows are left out, and why.
        asked: published rows that were asked for, of any dataset.
    """
    gone = dataset in left_out and any(row.dataset == dataset for row in asked)
    return [f"published numbers are left out: {left_out[dataset]}"] if gone else []


def not_shown(population: Population) -> list[str]:
    """A line for each method whose latest run was skipped or failed and that has no row."""
    shown = {r.method.name for r in population.done}
    latest: dict[str, RunRecord] = {}
    for r in population.others:
        if r.method.name not in shown:
            earlier = latest.get(r.method.name)
            if earlier is None or r.provenance.finished >= earlier.provenance.finished:
                latest[r.method.name] = r
    return [_ended(latest[name]) for name in sorted(latest)]


def skips(runs: Iterable[RunRecord]) -> list[str]:
    """A line for each way in which methods were skipped, in the words of `not_shown`."""
    return list(dict.fromkeys(_ended(r) for r in runs))


def _ended(run: RunRecord) -> str:
    name = run.method.name
    return f"{name} was skipped: {run.reason}" if run.status == "skipped" else f"{name} failed: {run.reason}"


def joined(notes: Sequence[Sequence[str]], datasets: Sequence[str]) -> list[str]:
    """Notes on several datasets: one that holds for all once, the others after the names of their datasets."""
    every = list(dict.fromkeys(note for own in notes for note in own))
    found = []
    for note in every:
        of = [name for own, name in zip(notes, datasets, strict=True) if note in own]
        found.append(note if len(of) == len(datasets) else f"{', '.join(of)}: {note}")
    return found
