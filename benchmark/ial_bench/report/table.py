"""What a table holds, whatever format it is written in, and how its cells read.

Leaderboards and the tables of analyses are both a `Table`. In a leaderboard each row has a title and a kind; the rows
of an analysis have cells alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from itertools import groupby
from typing import Any, Literal, NamedTuple, TypeAlias

from ial_bench.metrics.intervals import Estimate

METHOD = "method"
DAGGER = "†"
RowKind = Literal["measured", "stale", "contradicted", "oracle", "published"]
_KINDS = {
    "measured": "", "stale": "by earlier code (not ranked)",
    "contradicted": "contradicted by their answers (not ranked)", "oracle": "oracles (not ranked)",
    "published": "published (not ranked)",
}  # fmt: skip


class Mark(Enum):
    """The rank of a cell in its column."""

    NONE = ""
    BEST = "best"
    SECOND = "second"


class Cell(NamedTuple):
    """One field of the table.

    Attributes:
        value: in the column's unit; None for an empty cell.
        ci95: 95 % interval over places; for several seeds, the mean of the seeds' intervals.
        spread: standard deviation across seeds, None for a single run or a method without randomness.
        mark: best or second of its column.
        tied: not separable from the best of its column.
        text: what a column of texts shows instead of a value.
        counted: the value is a number in its own right, not in the column's unit.
    """

    value: float | None = None
    ci95: tuple[float, float] | None = None
    spread: float | None = None
    mark: Mark = Mark.NONE
    tied: bool = False
    text: str = ""
    counted: bool = False

    def marked(self, mark: Mark) -> Cell:
        """The same cell with another mark."""
        return self._replace(mark=mark)


EMPTY = Cell()


@dataclass(frozen=True)
class Row:
    """One method with one configuration, one published result, or one line of an analysis.

    Attributes:
        kind: measured rows are ranked; stale and contradicted ones, oracles and published rows are not.
        title: the method's title, with its differences from the method's other rows; empty in an analysis.
        seeds: number of runs behind it, 0 for published rows.
        cells: by the key of their column; a column may be missing.
        cite: citation key of a published row.
        group: heading above it, instead of the one of its kind.
        runs: ids of the runs behind it.
    """

    kind: RowKind
    title: str
    seeds: int
    cells: dict[str, Cell]
    cite: str = ""
    group: str = ""
    runs: tuple[str, ...] = ()

    def cell(self, column: Column) -> Cell:
        """The cell in a column."""
        return self.cells.get(column.key, EMPTY)


@dataclass(frozen=True)
class Column:
    """A column: its name, unit and direction.

    Attributes:
        name: what it is, within its group.
        percent: whether values are fractions shown as percent.
        digits: decimals shown.
        best: which end is best; None is not ranked.
        text: whether cells are texts.
        group: heading above several columns: the dataset, where several stand side by side.
        spread_of: key of the column whose spread across seeds it shows, in percentage points.
        title: heading instead of the name and its unit.
        part: what it shows of its cells: values with their intervals, or one of both alone.
        shown: writes a number, percent of a fraction; None: with `digits` decimals.
    """

    name: str
    percent: bool = False
    digits: int = 1
    best: Literal["high", "low"] | None = None
    text: bool = False
    group: str = ""
    spread_of: str = ""
    title: str = ""
    part: Literal["both", "value", "interval"] = "both"
    shown: Callable[[float], str] | None = None

    @cached_property
    def key(self) -> str:
        """A name that no other column of the table has."""
        return f"{self.group} {self.name}" if self.group else self.name

    @property
    def unit(self) -> str:
        """The unit, where the name does not have it."""
        return "%" if self.percent and not self.spread_of and not self.title else ""


@dataclass(frozen=True)
class Table:
    """A leaderboard, or a table of an analysis.

    Attributes:
        title: above it; of a leaderboard the name of its dataset, or the names of several that stand side by side.
        columns: after the method.
        rows: of a leaderboard measured ones, then stale, contradicted, oracles, published.
        notes: what a reader must know beside it.
        facts: what else JSON holds of an analysis.
        ranking: whether it is a leaderboard, whose rows have titles and kinds.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())
    facts: Mapping[str, Any] = field(default_factory=dict)
    ranking: bool = True

    @property
    def heads(self) -> list[str]:
        """The headings of an analysis, as people read them."""
        return [" ".join(filter(None, (c.title or c.name, c.unit))) for c in self.columns]

    @property
    def texts(self) -> list[list[str]]:
        """The cells of an analysis, as people read them."""
        return [[with_interval(row.cell(c), c) for c in self.columns] for row in self.rows]


Value: TypeAlias = str | int | float | Estimate | None


def analysis(
    title: str,
    names: Sequence[str],
    rows: Sequence[Sequence[Value]],
    notes: Sequence[str] = (),
    facts: Mapping[str, Any] | None = None,
) -> Table:
    """A table of an analysis.

    A column with an `Estimate` holds fractions, shown in percent; one with any text is a column of texts.

    Args:
        title: above it.
        names: of the columns.
        rows: a value for each column. A number beside estimates is a count.
        notes: below it.
        facts: what else JSON holds.
    """
    columns = tuple(
        Column(
            name if name not in names[:i] else f"{name} ({i + 1})",
            title=name,
            text=any(isinstance(row[i], str) for row in rows),
            percent=any(isinstance(row[i], Estimate) for row in rows),
        )
        for i, name in enumerate(names)
    )
    cells = [{c.key: _cell(v) for c, v in zip(columns, row, strict=True) if v is not None} for row in rows]
    lines = tuple(Row("measured", "", 0, own) for own in cells)
    return Table(title, columns, lines, tuple(notes), facts or {}, ranking=False)


def _cell(value: str | float | Estimate) -> Cell:
    if isinstance(value, Estimate):
        return Cell(value.value, value.ci95)
    return Cell(text=value) if isinstance(value, str) else Cell(value, text=by_size(value), counted=True)


def points(fraction: float | None) -> float | None:
    """A fraction in percentage points, for columns that hold these in every format."""
    return None if fraction is None else round(100 * fraction, 2)


def by_size(value: float) -> str:
    """A number with decimals that suit its size; a whole number has none."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.1f}" if abs(value) > 1 else f"{value:.3f}"


@dataclass(frozen=True)
class Style:
    """How tables are written, where a format leaves a choice.

    Attributes:
        intervals: whether intervals are shown; CSV and JSON always have them.
        siunitx: in LaTeX, numbers in columns of the siunitx package.
    """

    intervals: bool = True
    siunitx: bool = False


PLAIN = Style()


def number(cell: Cell, column: Column) -> str:
    """The value as shown: percent or unit, fixed decimals; the text of a column of texts; empty where there is none."""
    if column.text:
        return cell.text
    if column.part == "interval":
        return _ends(cell, column)
    if cell.value is None:
        return ""
    return by_size(cell.value) if cell.counted else _fixed(cell.value, column)


def interval(cell: Cell, column: Column, style: Style = PLAIN) -> str:
    """The interval as shown beside the value, in brackets."""
    return _ends(cell, column) if style.intervals and column.part == "both" else ""


def with_interval(cell: Cell, column: Column) -> str:
    """The value and its interval, in one text."""
    extent = interval(cell, column)
    return number(cell, column) + (f" {extent}" if extent else "")


def _ends(cell: Cell, column: Column) -> str:
    if cell.ci95 is None:
        return ""
    low, high = cell.ci95
    return f"[{_fixed(low, column)}, {_fixed(high, column)}]"


def _fixed(value: float, column: Column) -> str:
    value = value * 100 if column.percent else value
    return f"{value:.{column.digits}f}" if column.shown is None else column.shown(value)


def spans(columns: Sequence[Column]) -> list[tuple[str, int]]:
    """The headings above columns, with the number of columns below each; empty if there are none."""
    found = [(group, len(list(below))) for group, below in groupby(columns, key=lambda c: c.group)]
    return found if any(group for group, _ in found) else []


def sections(table: Table) -> Iterator[tuple[str, list[Row]]]:
    """The rows that belong together, with the heading above them: their own, or that of their kind."""
    for (kind, group), rows in groupby(table.rows, key=lambda r: (r.kind, r.group)):
        yield group or _KINDS[kind], list(rows)
