"""Tables for programs: fractions not percent, intervals and spread as numbers of their own."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from ial_bench.escape import escape_csv
from ial_bench.report.table import Cell, Column, Style, Table

_ENDS = ("low", "high")


def as_csv(tables: Sequence[Table], _: Style) -> str:
    """One line a row. Leaderboards of the same columns share a header; a blank line separates analyses."""
    if not all(t.ranking for t in tables):
        return "\n".join(map(_csv, tables))
    lines: list[str] = []
    header = ""
    for table in tables:
        first, *rows = _csv(table).splitlines(keepends=True)
        lines += rows if first == header else [first, *rows]
        header = first
    return "".join(lines)


def _csv(table: Table) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    shown = {c.key for c in table.columns}
    columns = [c for c in table.columns if not c.spread_of or c.spread_of not in shown]  # its metric has it
    fields = [f"{c.key} {what}" if what else c.key for c in columns for what in _fields(c, table.ranking)]
    stub = ["dataset", "kind", "group", "method", "seeds", "cite"] if table.ranking else []
    writer.writerow([*stub, *map(escape_csv, fields)])
    for row in table.rows:
        values = [v for c in columns for v in _values(row.cell(c), c, table.ranking)]
        texts = [escape_csv(t) for t in (table.title, row.kind, row.group, row.title)]
        stub = [*texts, str(row.seeds), escape_csv(row.cite)] if table.ranking else []
        writer.writerow([*stub, *("" if v is None else v for v in values)])
    return out.getvalue()


def _fields(column: Column, ranking: bool) -> tuple[str, ...]:
    """What a column has fields for: "" is its value."""
    if column.part == "interval":
        return _ENDS
    if not column.percent or column.spread_of or column.part == "value":
        return ("",)
    return ("", *_ENDS, "seed sd") if ranking else ("", *_ENDS)


def _values(cell: Cell, column: Column, ranking: bool) -> list[Any]:
    if column.text:
        return [escape_csv(cell.text) if cell.value is None else cell.value]
    of = {"": cell.value, **dict(zip(_ENDS, cell.ci95 or (None, None), strict=True)), "seed sd": cell.spread}
    return [of[what] for what in _fields(column, ranking)]


def as_json(tables: Sequence[Table], _: Style) -> str:
    """A list of tables; texts as they are in the records."""
    # Without queries the area under a curve is not a number; Python's JSON writes it as NaN.
    strict = all(t.ranking for t in tables)
    return json.dumps([_object(t) for t in tables], indent=2, ensure_ascii=False, allow_nan=not strict) + "\n"


def _object(table: Table) -> dict[str, Any]:
    if not table.ranking:
        cells = [{c.key: _plain(row.cells.get(c.key), c) for c in table.columns} for row in table.rows]
        return {"title": table.title, **table.facts, "rows": cells, "notes": list(table.notes)}
    columns = [
        {
            "key": c.key, "name": c.name, "title": c.title, "group": c.group, "fraction": c.percent, "best": c.best,
            "text": c.text,
        }
        for c in table.columns
    ]  # fmt: skip
    rows = [
        {
            "kind": row.kind, "group": row.group, "method": row.title, "seeds": row.seeds, "cite": row.cite,
            "runs": list(row.runs), "cells": {c.key: _cell(row.cell(c), c) for c in table.columns},
        }
        for row in table.rows
    ]  # fmt: skip
    return {"dataset": table.title, "columns": columns, "rows": rows, "notes": list(table.notes)}


def _cell(cell: Cell, column: Column) -> Any:
    if column.text:
        return cell.text
    return {
        "value": cell.value, "ci95": cell.ci95, "seed_sd": cell.spread, "mark": cell.mark.value,
        "not_separable_from_best": cell.tied,
    }  # fmt: skip


def _plain(cell: Cell | None, column: Column) -> Any:
    """The value of a cell of an analysis, a fraction with its interval."""
    if cell is None:
        return None
    if column.text and cell.value is None:
        return cell.text
    if column.part == "interval":
        return cell.ci95
    share = column.percent and not cell.counted and column.part == "both"
    return {"value": cell.value, "ci95": cell.ci95} if share else cell.value
