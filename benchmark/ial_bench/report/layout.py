"""What a table is to show, from options or a small TOML file kept with the paper, and which rows that makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ial_bench.engine.record import RunRecord
from ial_bench.errors import ConfigError
from ial_bench.files import read_toml
from ial_bench.report.answers import CONTRADICTED, Trust
from ial_bench.report.columns import BACKBONE, LATENCY, METRICS, SPREAD
from ial_bench.report.groups import PRESET, Group, backbone_text
from ial_bench.report.published import PublishedRow
from ial_bench.report.selection import finished
from ial_bench.report.stale import STALE, Code
from ial_bench.report.table import Column, Row, RowKind
from ial_bench.settings import shown

AS_GIVEN = "given"
"""The order of rows in which they were named."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RowChoice(_Part):
    """A row, or all rows that fit.

    Attributes:
        method: name of a method with runs.
        published: a method as a paper calls it, for a published row.
        cite: citation key of the paper, where two report a method of that name.
        preset: only the configurations nearest to this preset; ``""`` for the defaults.
        backbone: only those with this encoder.
        settings: only those with these settings.
        title: instead of the method's.
        group: heading above this row and those after it with the same one.
    """

    method: str = ""
    published: str = ""
    cite: str = ""
    preset: str | None = None
    backbone: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    title: str = ""
    group: str = ""

    @model_validator(mode="after")
    def _names_one(self) -> RowChoice:
        if bool(self.method) == bool(self.published):
            raise ValueError("a row names either a method or a published one")
        return self

    def fits(self, run: RunRecord) -> bool:
        """Whether a run belongs to this row."""
        own = run.method
        return (
            own.name == self.method
            and (self.preset is None or self.preset == (own.preset or ""))
            and (self.backbone is None or self.backbone in {own.backbone, backbone_text(own.backbone)})
            and all(key in own.config and _same(own.config[key], value) for key, value in self.settings.items())
        )

    def fits_published(self, row: PublishedRow) -> bool:
        """Whether a published row belongs to this row."""
        return row.method == self.published and self.cite in {"", row.key}

    @property
    def said(self) -> str:
        """The choice in words, for messages."""
        settings = [f"{key}={shown(value)}" for key, value in self.settings.items()]
        facts = [f"{PRESET} {self.preset}"] if self.preset else []
        return ", ".join([self.method or f"{self.published} (published)", *facts, *settings])


class Layout(_Part):
    """What a table is to show.

    Attributes:
        datasets: in their order; none: every one with results.
        metrics: accuracies; None: SSA-1, SSA-5, SA-1 and SA-5, as far as the records have them.
        columns: all columns in their order, as words of `report.columns`, among which ``metrics`` stands for all
            metrics; None: backbone, metrics, spread across seeds, latency, storage and parameters, or of several
            datasets side by side backbone and metrics.
        headings: instead of the usual ones, by column or dataset.
        rows: in their order; none: all.
        sort: a column, or ``given`` for the order of `rows`; None: by the first metric, or as given where rows are.
        published: whether published rows follow; where `rows` names some, only those.
        limit: show runs with this limit of photos a split.
        side_by_side: one table of all datasets, instead of one each; None: one each.
        settings_as_columns: settings in which rows of one method differ get columns instead of a place in the title.
        digits: decimals of accuracies in percent.
        separable: whether rows that are not separable from the best are marked; for queries of ten thousand places
            that takes half a minute.
        intervals: whether intervals are shown.
        siunitx: align by the LaTeX package of that name.
    """

    datasets: tuple[str, ...] = ()
    metrics: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None
    headings: dict[str, str] = Field(default_factory=dict)
    rows: tuple[RowChoice, ...] = ()
    sort: str | None = None
    published: bool = True
    limit: int | None = None
    side_by_side: bool | None = None
    settings_as_columns: bool = False
    digits: int = Field(1, ge=0, le=6)
    separable: bool = True
    intervals: bool = True
    siunitx: bool = False

    @classmethod
    def read(cls, path: Path) -> Layout:
        """The layout of a file. Several datasets stand side by side unless it says otherwise.

        Raises:
            DataError: missing or not TOML.
            ConfigError: it has a key that does not exist, or a value that it may not have.
        """
        found = cls.of(read_toml(path), str(path))
        several = found.side_by_side is None and len(found.datasets) > 1
        return found.model_copy(update={"side_by_side": True}) if several else found

    @classmethod
    def of(cls, values: dict[str, Any], where: str) -> Layout:
        """The layout of these values.

        Raises:
            ConfigError: one does not exist, or is not as it may be; `where` it stands.
        """
        try:
            found = cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(p) for p in first["loc"]) or "the whole"
            known = f"a layout has {', '.join(cls.model_fields)}; a row {', '.join(RowChoice.model_fields)}"
            raise ConfigError(f"{where}: {key}: {first['msg']}", known) from error
        if found.columns is not None and found.metrics is not None and METRICS not in found.columns:
            problem = f"{where}: the metrics have no place among the columns"
            raise ConfigError(problem, f"write `{METRICS}` into the columns, where the metrics are to stand")
        return found

    def cites(self, row: PublishedRow) -> bool:
        """Whether a published row is to be shown: any, unless some are named, then only those."""
        named = [choice for choice in self.rows if choice.published]
        return self.published and (not named or any(choice.fits_published(row) for choice in named))

    def words(self, metrics: tuple[str, ...], several: bool, varied: bool) -> tuple[str, ...]:
        """The columns of a table.

        Args:
            metrics: those to show.
            several: datasets stand side by side.
            varied: some method was run with several seeds.
        """
        if self.columns is None:
            first = (metrics[0], SPREAD) if varied and metrics and not several else metrics[:1]
            costs = () if several else (LATENCY, "storage", "parameters")
            return (BACKBONE, *first, *metrics[1:], *costs)
        listed = [w for word in self.columns for w in (metrics if word == METRICS else (word,))]
        return tuple(dict.fromkeys(listed))


def _same(value: Any, asked: Any) -> bool:
    """Whether a setting is the one asked for, which may be text as after ``--set``."""
    return bool(value == asked) or (isinstance(asked, str) and shown(value) == asked)


_KINDS: tuple[RowKind, ...] = ("measured", "stale", "contradicted", "oracle", "published")


@dataclass(frozen=True)
class Entry:
    """A future row: a group of runs, or published results.

    Attributes:
        title: of the row.
        heading: above it.
        place: of the row choice that it comes from.
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
    """The entries that become rows.

    Args:
        groups: of runs.
        published: rows to choose from.
        layout: says what is asked for.
        left_out: datasets whose published rows may not be shown with these runs, and why.

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


def mark_stale(entries: Sequence[Entry], code: Code) -> list[Entry]:
    """The same, with those marked as stale whose method has other code now."""
    return [
        replace(e, title=f"{e.title} ({STALE})", stale=True) if e.group and any(map(code.changed, e.group.runs)) else e
        for e in entries
    ]


def mark_contradicted(entries: Sequence[Entry], trust: Trust) -> list[Entry]:
    """The same, with those marked as contradicted whose numbers do not follow from their answers."""
    return [
        replace(e, title=f"{e.title} ({CONTRADICTED})", contradicted=True)
        if e.group and any(run.run_id in trust.contradicted for run in e.group.runs)
        else e
        for e in entries
    ]


def possible(layout: Layout, records: Sequence[RunRecord], published: Sequence[PublishedRow]) -> Layout:
    """The layout without the rows for which there is nothing, as for one of several tables.

    Args:
        layout: of all tables.
        records: of this table.
        published: rows of this table.
    """
    done = finished(records)
    rows = tuple(row for row in layout.rows if any(map(row.fits, done)) or any(map(row.fits_published, published)))
    named = any(row.published for row in layout.rows)
    kept = layout.published and (not named or any(row.published for row in rows))
    return layout.model_copy(update={"rows": rows, "published": kept})


def _entry(group: Group, layout: Layout, choice: RowChoice | None, place: int, alone: bool) -> Entry:
    """A measured row. A layout's title that covers several groups keeps what distinguishes them."""
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
    """Rows sorted by kind, then by heading in the given order, then as given or best first.

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
