"""Which groups of runs and published results become rows, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ial_bench.engine.record import RunRecord
from ial_bench.errors import ConfigError
from ial_bench.report.groups import Group
from ial_bench.report.layout import AS_GIVEN, Layout, RowChoice
from ial_bench.report.model import Column, Row, RowKind
from ial_bench.report.published import PublishedRow
from ial_bench.report.stale import STALE, Code
from ial_bench.report.trust import CONTRADICTED, Trust

_KINDS: tuple[RowKind, ...] = ("measured", "stale", "contradicted", "oracle", "published")


@dataclass(frozen=True)
class Entry:
    """What becomes a row.

    Attributes:
        title: of the row.
        heading: that it stands under.
        place: of what it was asked for by.
        group: of a measured row or an oracle.
        published: a paper's results of one method, one a dataset, of a published row.
        stale: whether the method's code is known to be another now.
        contradicted: whether a number of its runs does not follow from their answers.
    """

    title: str
    heading: str
    place: int
    group: Group | None = None
    published: tuple[PublishedRow, ...] = ()
    stale: bool = False
    contradicted: bool = False

    @property
    def kind(self) -> RowKind:
        """The kind of the row."""
        if self.group is None:
            return "published"
        if self.contradicted:
            return "contradicted"
        return "oracle" if self.group.oracle else "stale" if self.stale else "measured"


def chosen(
    groups: Sequence[Group], published: Sequence[PublishedRow], layout: Layout, left_out: Mapping[str, str]
) -> list[Entry]:
    """What becomes rows.

    Args:
        groups: of runs.
        published: rows to choose from.
        layout: says what is asked for.
        left_out: datasets whose published rows may not stand beside these runs, and why.

    Raises:
        ConfigError: nothing is there for a row that was asked for, or it may not be shown.
    """
    by_paper: dict[tuple[str, str], list[PublishedRow]] = {}
    for p in published if layout.published else ():
        if p.dataset not in left_out:
            by_paper.setdefault((p.key, p.method), []).append(p)
    papers = [tuple(rows) for rows in by_paper.values()]
    if not layout.rows:
        own = [_entry(g, layout, None, 0, alone=True) for g in groups]
        return own + [Entry(p[0].method, "", 0, None, p) for p in papers]
    entries: list[Entry] = []
    taken: set[int] = set()  # a group has one row, the first that it was asked for by
    for place, choice in enumerate(layout.rows):
        fitting = [g for g in groups if choice.fits(g.runs[0])]
        cited = [p for p in papers if choice.fits_published(p[0])]
        if choice.method and not fitting:
            raise ConfigError(f"no finished run for the row {choice.said}", "`bench list runs` shows what was run")
        if choice.published and layout.published and not cited:
            for p in filter(choice.fits_published, published):
                fix = f"leave it out, or show whole runs on {p.dataset} as it is published"
                raise ConfigError(f"the row {choice.said} of {p.dataset} is left out: {left_out[p.dataset]}", fix)
            names = ", ".join(dict.fromkeys(p[0].method for p in papers)) or "none"
            raise ConfigError(f"no such published row: {choice.said}", f"published on these datasets: {names}")
        left = [g for g in fitting if id(g) not in taken]
        taken |= {id(g) for g in left}
        entries += [_entry(g, layout, choice, place, alone=len(fitting) == 1) for g in left]
        entries += [Entry(choice.title or p[0].method, choice.group, place, None, p) for p in cited]
    if not any(choice.published for choice in layout.rows):
        entries += [Entry(p[0].method, "", len(layout.rows), None, p) for p in papers]
    return entries


def told_stale(entries: Sequence[Entry], code: Code) -> list[Entry]:
    """The same, those called stale whose method has other code now."""
    return [
        replace(e, title=f"{e.title} ({STALE})", stale=True) if e.group and any(map(code.changed, e.group.runs)) else e
        for e in entries
    ]


def told_contradicted(entries: Sequence[Entry], trust: Trust) -> list[Entry]:
    """The same, those called contradicted whose numbers do not follow from their answers."""
    return [
        replace(e, title=f"{e.title} ({CONTRADICTED})", contradicted=True)
        if e.group and any(run.run_id in trust.contradicted for run in e.group.runs)
        else e
        for e in entries
    ]


def possible(layout: Layout, records: Sequence[RunRecord], published: Sequence[PublishedRow]) -> Layout:
    """The layout without the rows for which nothing is there, as for one of several tables.

    Args:
        layout: of all tables.
        records: of this table.
        published: rows of this table.
    """
    done = [r for r in records if r.status == "done" and r.metrics]
    rows = tuple(row for row in layout.rows if any(map(row.fits, done)) or any(map(row.fits_published, published)))
    named = any(row.published for row in layout.rows)
    kept = layout.published and (not named or any(row.published for row in rows))
    return layout.model_copy(update={"rows": rows, "published": kept})


def _entry(group: Group, layout: Layout, choice: RowChoice | None, place: int, alone: bool) -> Entry:
    """A measured row; a title of one's own that stands for several groups keeps what tells them apart."""
    plain = group.runs[0].method.title
    title = plain if layout.settings_as_columns else group.title
    if choice is None:
        return Entry(title, "", place, group)
    if choice.title:
        title = choice.title if alone else choice.title + title.removeprefix(plain)
    return Entry(title, choice.group, place, group)


def ordered(
    rows: Sequence[tuple[Entry, Row]], columns: Sequence[Column], layout: Layout, by: Column | None
) -> list[tuple[Entry, Row]]:
    """Kinds one after another, within them headings in their order, within them as given or best first.

    Args:
        rows: to order.
        columns: of the table.
        layout: says how.
        by: the column that decides.
    """
    given = layout.sort == AS_GIVEN or (layout.sort is None and bool(layout.rows))
    headings = list(dict.fromkeys(e.heading for e, _ in rows))

    def key(pair: tuple[Entry, Row]) -> tuple[int, int, int, bool, float, str, str]:
        entry, row = pair
        stand = (_KINDS.index(row.kind), headings.index(entry.heading), entry.place if given else 0)
        if row.kind == "published" and (given or layout.sort is None):
            return *stand, False, 0.0, "", ""  # as the paper has them
        value = None if by is None else row.cell(by).value
        upwards = by is not None and by.best == "low"
        texts = " ".join(row.cell(c).text for c in columns if c.text)
        return *stand, value is None, (value or 0.0) * (1 if upwards else -1), row.title, texts

    return sorted(rows, key=key)
