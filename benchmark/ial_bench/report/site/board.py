"""The leaderboard as its page shows it: with every column that can be chosen, and rows that lead to their runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ial_bench.engine.record import RunRecord
from ial_bench.report.formats.shared import DAGGER, Style, interval, number, sections
from ial_bench.report.layout import Layout
from ial_bench.report.model import Column, Row, Table
from ial_bench.report.published import published_rows
from ial_bench.report.quantities import BACKBONE, METRICS, ORIGIN, QUANTITIES, SEEDS, SPREAD, metrics_of
from ial_bench.report.stale import NO_CODE, Code
from ial_bench.report.table import DEFAULT_METRICS, build_table, lay_out


@dataclass(frozen=True)
class Board:
    """A leaderboard.

    Attributes:
        table: with all columns.
        shown: keys of the columns that are shown until others are chosen: the usual ones.
    """

    table: Table
    shown: frozenset[str]

    @classmethod
    def of(
        cls, records: Sequence[RunRecord], dataset: str, limit: int | None, results: Path | None, code: Code = NO_CODE
    ) -> Board:
        """That of the records on one dataset.

        Args:
            records: of it.
            dataset: its name.
            limit: show runs limited to so many photos a split.
            results: the folder of results, whose answers tell which rows are separable; None: not looked at.
            code: that of methods as it is here.
        """
        known = metrics_of(records)
        usual = [m for m in DEFAULT_METRICS if m in known or not known]
        usual_table = build_table(records, dataset, usual, (), limit)
        shown = frozenset(c.key for c in usual_table.columns)
        metrics = (*usual, *(m for m in known if m not in usual))
        varied = (SPREAD,) if any(c.spread_of for c in usual_table.columns) else ()
        columns = (BACKBONE, ORIGIN, *metrics[: len(usual)], *varied, *QUANTITIES, SEEDS, METRICS)
        layout = Layout(columns=columns, metrics=metrics, limit=limit)
        table = lay_out(records, [dataset], layout, published_rows(dataset), results, code)
        if any(row.cells[ORIGIN].text not in {"", "run here"} for row in table.rows):
            shown |= {ORIGIN}
        return cls(table, shown)

    def columns(self) -> list[dict[str, Any]]:
        """What the page needs of each column."""
        return [
            {
                "key": c.key, "title": f"{c.title or c.name} {c.unit}".strip(), "css": _kind(c),
                "sort": "text" if c.text else "number", "low": c.best == "low", "hidden": c.key not in self.shown,
            }
            for c in self.table.columns
        ]  # fmt: skip

    def bodies(self, runs: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
        """Rows by what they are: measured, oracles, published.

        Args:
            runs: by id, what a row shows of its runs: page and seed.
        """
        return [
            {
                "heading": heading,
                "rows": [
                    {
                        "title": row.title, "cite": row.cite, "runs": [runs[i] for i in row.runs if i in runs],
                        "cells": [_cell(row, c) for c in self.table.columns],
                    }
                    for row in rows
                ],
            }
            for heading, rows in sections(self.table)
        ]  # fmt: skip


def _kind(column: Column) -> str:
    return "text" if column.text else "number"


def _cell(row: Row, column: Column) -> dict[str, Any]:
    cell = row.cell(column)
    return {
        "css": _kind(column), "value": cell.value, "text": number(cell, column), "mark": cell.mark.value,
        "tied": DAGGER if cell.tied else "", "interval": interval(cell, column, Style()),
    }  # fmt: skip
