"""What a report on one dataset is made of: records, groups of runs, their truth, and the dataset where it is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.names import open_dataset
from ial_bench.datasets.photos import Photos
from ial_bench.engine.ground_truth import GroundTruth, ground_truth_key
from ial_bench.engine.record import DatasetRecord, RunRecord
from ial_bench.engine.records import records
from ial_bench.engine.selection import Selection
from ial_bench.errors import BenchError, DataError, UnknownNameError
from ial_bench.report.answers import Answers
from ial_bench.report.groups import Group, groups_of, one_population
from ial_bench.report.model import Table
from ial_bench.report.site.board import Board
from ial_bench.report.site.texts import file_name, short
from ial_bench.report.stale import installed_code


@dataclass(frozen=True)
class Run:
    """One run whose answers the report shows.

    Attributes:
        number: of its files of data.
        record: what was stored.
        label: its group's title, with what tells it from the other runs.
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
    """All that the report says of one dataset.

    Args:
        results: folder of results.
        name: of a folder in it.
        home: the data home.
        limit: show runs limited to so many photos a split.
    """
    good, problems = _records(results, name)
    code = installed_code()
    board = Board.of(good, name, limit, results, code)
    population, _ = one_population([r for r in good if r.status == "done" and r.metrics], limit, code)
    groups = _in_order(groups_of(population), board.table)
    runs = _runs(groups)
    notes: list[str] = []
    dataset = answers = queries = None
    if runs:
        about = max((run.record.dataset for run in runs), key=lambda told: told.contents_digest is not None)
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
    """Those on a run's photos, with the truth as it is stored; where that is missing or incomplete, the dataset's.

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


def _records(results: Path, name: str) -> tuple[list[RunRecord], list[str]]:
    """The dataset's records, and what is said of those that cannot be read."""
    found = [record for _, record in records(results, name)]
    return (
        [record for record in found if not isinstance(record, DataError)],
        [f"not read: {error}" for error in found if isinstance(error, DataError)],
    )


def _in_order(groups: Sequence[Group], table: Table) -> list[Group]:
    """As the leaderboard has them."""
    place = {run: i for i, row in enumerate(table.rows) for run in row.runs}
    return sorted(groups, key=lambda g: (place.get(g.runs[0].run_id, len(place)), g.runs[0].run_id))


def labels(groups: Sequence[Group]) -> list[str]:
    """A short title of each group, unlike those of the others as far as titles and encoders differ."""
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
