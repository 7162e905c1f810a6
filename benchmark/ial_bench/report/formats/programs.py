"""Tables for programs: fractions not percent, intervals and spread as numbers of their own."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from ial_bench.escape import escape_csv
from ial_bench.report.formats.shared import Style
from ial_bench.report.table import Cell, Column, Table


def as_csv(tables: Sequence[Table], _: Style) -> str:
    """One line a row. Tables share a header where their columns are the same."""
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
    columns = [c for c in table.columns if c.spread_of not in shown]  # it stands beside its metric anyhow
    fields = [field for c in columns for field in _fields(c)]
    writer.writerow(["dataset", "kind", "group", "method", "seeds", "cite", *(escape_csv(name) for name, _ in fields)])
    for row in table.rows:
        values: list[Any] = []
        for c in columns:
            values += _values(row.cell(c), c)
        texts = [escape_csv(t) for t in (table.dataset, row.kind, row.group, row.title)]
        writer.writerow([*texts, row.seeds, escape_csv(row.cite), *("" if v is None else v for v in values)])
    return out.getvalue()


def _fields(column: Column) -> list[tuple[str, str]]:
    if not column.percent or column.spread_of:
        return [(column.key, "")]
    return [(column.key, ""), *((f"{column.key} {what}", what) for what in ("low", "high", "seed sd"))]


def _values(cell: Cell, column: Column) -> list[Any]:
    if column.text:
        return [escape_csv(cell.text)]
    if not column.percent or column.spread_of:
        return [cell.value]
    return [cell.value, *(cell.ci95 or (None, None)), cell.spread]


def as_json(tables: Sequence[Table], _: Style) -> str:
    """A list of tables; texts as they are in the records."""
    return json.dumps([_object(t) for t in tables], indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _object(table: Table) -> dict[str, Any]:
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
    return {"dataset": table.dataset, "columns": columns, "rows": rows, "notes": list(table.notes)}


def _cell(cell: Cell, column: Column) -> Any:
    if column.text:
        return cell.text
    return {
        "value": cell.value, "ci95": cell.ci95, "seed_sd": cell.spread, "mark": cell.mark.value,
        "not_separable_from_best": cell.tied,
    }  # fmt: skip
