"""What a report on one dataset is made of: records, the leaderboard, groups of runs, their truth, the dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.known import open_dataset
from ial_bench.datasets.photos import Photos
from ial_bench.engine.ground_truth import GroundTruth, ground_truth_key
from ial_bench.engine.record import DatasetRecord, RunRecord
from ial_bench.engine.selection import Selection
from ial_bench.errors import BenchError, DataError, UnknownNameError
from ial_bench.escape import file_name, short
from ial_bench.report.answers import Answers
from ial_bench.report.columns import BACKBONE, METRICS, ORIGIN, QUANTITIES, SEEDS, SPREAD, metrics_of
from ial_bench.report.groups import Group, groups_of
from ial_bench.report.layout import Layout
from ial_bench.report.leaderboard import DEFAULT_METRICS, build_table, lay_out
from ial_bench.report.published import published_rows
from ial_bench.report.selection import finished, one_population, read_records
from ial_bench.report.stale import NO_CODE, Code, installed_code
from ial_bench.report.table import DAGGER, Column, Row, Table, interval, number, sections


@dataclass(frozen=True)
class Run:
    """One run whose answers the report shows.

    Attributes:
        number: of its files of data.
        record: what was stored.
        label: its group's title, with what distinguishes it from the other runs.
        group: number of its group in `Source.groups`.
    """

    number: int
    record: RunRecord
    label: str
    group: int


@dataclass(frozen=True)
class Source:
    """One dataset's part of a report.

    Attributes:
        name: of the dataset.
        folder: the name of its folder in the report.
        records: all that can be read.
        board: the leaderboard.
        groups: those on the photos that the leaderboard is about, in its order.
        runs: the runs of the groups.
        answers: where the answers lie; None without ground truth.
        queries: the photos of the queries; None where the dataset is not at hand, or is another version.
        dataset: that dataset.
        notes: what a reader must know.
        problems: what could not be read and is left out.
    """

    name: str
    folder: str
    records: tuple[RunRecord, ...]
    board: Board
    groups: tuple[Group, ...]
    runs: tuple[Run, ...]
    answers: Answers | None
    queries: Photos | None
    dataset: Dataset | None
    notes: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def key(self) -> str:
        """Names the photos that the answers are about."""
        return ground_truth_key(self.runs[0].record.dataset) if self.runs else ""


def gather(results: Path, name: str, home: Path | None = None, limit: int | None = None) -> Source:
    """All that the report says about one dataset.

    Args:
        results: folder of results.
        name: of a folder in it.
        home: the data home.
        limit: show runs with this limit of photos a split.
    """
    good, problems = read_records(results, name)
    code = installed_code()
    board = Board.of(good, name, limit, results, code)
    population, _ = one_population(finished(good), limit, code)
    groups = _in_order(groups_of(population), board.table)
    runs = _runs(groups)
    notes: list[str] = []
    dataset = answers = queries = None
    if runs:
        about = max((run.record.dataset for run in runs), key=lambda data: data.contents_digest is not None)
        dataset = _dataset(name, about, home, notes)
        selection = None if dataset is None else Selection.of(dataset, about.limit)
        queries = None if selection is None else selection.queries
        try:
            answers = _answers(results, runs[0].record, dataset, selection) if about.n_queries else None
        except DataError as error:
            problems.append(f"{name}: {error}")
            notes.append("No answers are shown: the ground truth of the queries is not there.")
    return Source(
        name, file_name(name), tuple(good), board, tuple(groups), tuple(runs), answers, queries, dataset, tuple(notes),
        tuple(problems),
    )  # fmt: skip


def _answers(results: Path, record: RunRecord, dataset: Dataset | None, selection: Selection | None) -> Answers:
    """The answers to a run's photos, with the stored truth; where that is missing or incomplete, the dataset's.

    Raises:
        DataError: neither is there.
    """
    try:
        stored = Answers.of(results, record)
        if dataset is None or stored.truth.has_positions:
            return stored
    except DataError:
        if dataset is None:
            raise
    return Answers(results / record.dataset.name, GroundTruth.of(dataset, selection or Selection.of(dataset, None)))


def _in_order(groups: Sequence[Group], table: Table) -> list[Group]:
    """The groups in the order of the leaderboard."""
    place = {run: i for i, row in enumerate(table.rows) for run in row.runs}
    return sorted(groups, key=lambda g: (place.get(g.runs[0].run_id, len(place)), g.runs[0].run_id))


def labels(groups: Sequence[Group]) -> list[str]:
    """A short title of each group, which differs from the others as far as titles and encoders do."""
    titles = [g.title for g in groups]
    return [
        short(g.title if titles.count(g.title) == 1 or not g.backbone else f"{g.title} · {g.backbone}") for g in groups
    ]


def _runs(groups: Sequence[Group]) -> list[Run]:
    runs: list[Run] = []
    for i, (group, title) in enumerate(zip(groups, labels(groups), strict=True)):
        for record in group.runs:
            label = title if len(group.runs) == 1 else f"{title} · seed {record.seed}"
            runs.append(Run(len(runs), record, label, i))
    return runs


def _dataset(name: str, about: DatasetRecord, home: Path | None, notes: list[str]) -> Dataset | None:
    """The dataset that the runs were made on; where it cannot be had, `notes` says why."""
    try:
        dataset = open_dataset(name, home)
        if dataset.is_version(about.digest, about.contents_digest):
            return dataset
        notes.append("No photos and no streets are shown: the dataset at hand is another version than was run on.")
    except UnknownNameError:
        notes.append("No photos and no streets are shown: the dataset is not in the data home.")
    except BenchError as error:
        notes.append(f"No photos and no streets are shown: {error.problem}.")
    return None


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
        """The leaderboard of the records on one dataset.

        Args:
            records: of it.
            dataset: its name.
            limit: show runs with this limit of photos a split.
            results: the folder of results, whose answers show which rows are separable; None: they are not read.
            code: of the methods as they are here.
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
        """What the page needs to know about each column."""
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
        "tied": DAGGER if cell.tied else "", "interval": interval(cell, column),
    }  # fmt: skip
