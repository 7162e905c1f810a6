"""Tables of an analysis, whatever they are written as."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ial_bench.escape import escape_csv, escape_markdown
from ial_bench.metrics.intervals import Estimate

Value: TypeAlias = str | int | float | Estimate | None
_ENDS = ("", " low", " high")


@dataclass(frozen=True)
class Sheet:
    """A table of named columns.

    Attributes:
        title: above it.
        columns: their names.
        rows: a value for each column. An `Estimate` is a fraction, shown in percent with its interval.
        notes: below it.
        facts: what else programs are told.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def texts(self) -> list[list[str]]:
        """The cells as people read them."""
        return [[_text(v) for v in row] for row in self.rows]

    def markdown(self) -> str:
        """A GitHub table."""
        numeric = [all(not isinstance(row[i], str) for row in self.rows) for i in range(len(self.columns))]
        lines = [
            f"**{escape_markdown(self.title)}**",
            "",
            _line(self.columns),
            "|" + "".join("---:|" if n else "---|" for n in numeric),
            *(_line(row) for row in self.texts),
        ]
        return "\n".join([*lines, "", *(f"- {escape_markdown(n)}" for n in self.notes)]).rstrip("\n") + "\n"

    def csv(self) -> str:
        """Fractions, with the ends of each interval as columns of their own."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        wide = [any(isinstance(row[i], Estimate) for row in self.rows) for i in range(len(self.columns))]
        writer.writerow([
            escape_csv(name + end)
            for name, w in zip(self.columns, wide, strict=True)
            for end in (_ENDS if w else _ENDS[:1])
        ])  # fmt: skip
        for row in self.rows:
            writer.writerow([cell for v, w in zip(row, wide, strict=True) for cell in _cells(v, w)])
        return out.getvalue()

    def as_json(self) -> dict[str, Any]:
        """Fractions, an interval beside its value."""
        rows = [dict(zip(self.columns, map(_object, row), strict=True)) for row in self.rows]
        return {"title": self.title, **self.facts, "rows": rows, "notes": list(self.notes)}


def points(fraction: float | None) -> float | None:
    """A fraction in percentage points, for columns that hold these in every form."""
    return None if fraction is None else round(100 * fraction, 2)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(escape_markdown, cells))} |"


def _text(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, Estimate):
        ends = "" if value.ci95 is None else f" [{100 * value.ci95[0]:.1f}, {100 * value.ci95[1]:.1f}]"
        return f"{100 * value.value:.1f}{ends}"
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) > 1 else f"{value:.3f}"
    return value if isinstance(value, str) else f"{value:,}"


def _cells(value: Value, wide: bool) -> list[Any]:
    if isinstance(value, Estimate):
        return [value.value, *(value.ci95 or ("", ""))]
    plain = escape_csv(value) if isinstance(value, str) else "" if value is None else value
    return [plain, "", ""] if wide else [plain]


def _object(value: Value) -> Any:
    return {"value": value.value, "ci95": value.ci95} if isinstance(value, Estimate) else value
