"""What a table holds, whatever it is written as."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Literal, NamedTuple

RowKind = Literal["measured", "stale", "contradicted", "oracle", "published"]


class Mark(Enum):
    """Place of a cell in its column."""

    NONE = ""
    BEST = "best"
    SECOND = "second"


class Cell(NamedTuple):
    """One field of the table.

    Attributes:
        value: in the column's unit; None where there is none.
        ci95: 95 % interval over places; for several seeds, the mean of the seeds' intervals.
        spread: standard deviation across seeds, None for a single run or a method without randomness.
        mark: best or second of its column.
        tied: not separable from the best of its column.
        text: what a column of texts shows instead of a value.
    """

    value: float | None = None
    ci95: tuple[float, float] | None = None
    spread: float | None = None
    mark: Mark = Mark.NONE
    tied: bool = False
    text: str = ""

    def marked(self, mark: Mark) -> Cell:
        """The same with another mark."""
        return self._replace(mark=mark)


EMPTY = Cell()


@dataclass(frozen=True)
class Row:
    """One method with one configuration, or one published result.

    Attributes:
        kind: measured rows are ranked; stale and contradicted ones, oracles and published rows are not.
        title: the method's title, with what tells it from its other rows.
        seeds: number of runs behind it, 0 for published rows.
        cells: by the key of their column; a column may be missing.
        cite: citation key of a published row.
        group: heading that it stands under, beside the one of its kind.
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
        title: heading of one's own instead of the name and its unit.
    """

    name: str
    percent: bool = False
    digits: int = 1
    best: Literal["high", "low"] | None = None
    text: bool = False
    group: str = ""
    spread_of: str = ""
    title: str = ""

    @cached_property
    def key(self) -> str:
        """Its name, unlike those of all other columns of the table."""
        return f"{self.group} {self.name}" if self.group else self.name

    @property
    def unit(self) -> str:
        """The unit that its name does not tell."""
        return "%" if self.percent and not self.spread_of and not self.title else ""


@dataclass(frozen=True)
class Table:
    """A leaderboard.

    Attributes:
        dataset: its name, or the names of several that stand side by side.
        columns: after the method.
        rows: measured ones, then stale, contradicted, oracles, published.
        notes: what a reader must know beside it.
    """

    dataset: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())
