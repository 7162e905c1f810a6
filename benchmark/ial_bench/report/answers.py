"""Stored answers of runs, with their truth: what comparisons, breakdowns and tables read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ial_bench.engine.ground_truth import GroundTruth, ground_truth_key
from ial_bench.engine.predictions import read_predictions
from ial_bench.engine.record import RunRecord
from ial_bench.engine.scoring import DEFAULT_KS, outcomes, told_ks
from ial_bench.errors import DataError, unknown_name
from ial_bench.files import sha256_file
from ial_bench.report.groups import Group
from ial_bench.topk import TopK

_AGAIN = "run it again with --rerun"


@dataclass(frozen=True)
class Answers:
    """Where answers lie, and the truth of their queries.

    Attributes:
        folder: the dataset's folder of results.
        truth: of all the runs' queries.
    """

    folder: Path
    truth: GroundTruth

    @classmethod
    def of(cls, results: Path, record: RunRecord) -> Answers:
        """Those on the same photos as `record`.

        Raises:
            DataError: the ground truth is missing or damaged.
        """
        folder = results / record.dataset.name
        return cls(folder, GroundTruth.read(folder, ground_truth_key(record.dataset), record.dataset.n_queries))

    def top(self, record: RunRecord) -> TopK:
        """A run's answers, in the order of the truth.

        Raises:
            DataError: missing, changed, or to other queries.
        """
        if record.predictions is None:
            raise DataError(f"run {record.run_id} of {record.method.name} names no predictions", _AGAIN)
        file = self.folder / record.method.name / Path(record.predictions.path).name
        if file.is_file() and sha256_file(file) != record.predictions.sha256:
            raise DataError(f"{file} was changed since it was written", _AGAIN)
        ids, top = read_predictions(file, len(self.truth), record.predictions.k)
        if ids != self.truth.ids:
            raise DataError(f"{file} answers other queries than its ground truth has", _AGAIN)
        return top

    def values(self, runs: Sequence[RunRecord], metric: str) -> npt.NDArray[np.float64]:
        """[n]: what each query is worth under a metric that is a mean over queries; the mean over seeds.

        Raises:
            UnknownNameError: no such metric, or the stored answers are too short for it.
            DataError: as of `top`.
        """
        ks = sorted({*DEFAULT_KS, *_k_of(metric)})
        columns = []
        for run in runs:
            names, values, _ = outcomes(self.top(run), self.truth, ks)
            if metric not in names:
                raise unknown_name("metric", metric, names, f"there are {', '.join(names)}")
            columns.append(values[:, names.index(metric)])
        return np.asarray(np.mean(columns, axis=0))


@dataclass(frozen=True)
class Outcome:
    """What a run's answers come to.

    Attributes:
        means: of each metric that is a mean over queries.
        values: [n], what each query is worth under the metric that rows are compared by; None where it is no such
            metric, or the stored answers are too short for it.
    """

    means: Mapping[str, float]
    values: npt.NDArray[np.float64] | None


class Outcomes:
    """What the answers of runs come to: each run's are read once, however many ask, and forgotten but for that.

    Args:
        results: folder of results.
        metric: that rows are compared by; None: they are not.
    """

    def __init__(self, results: Path, metric: str | None) -> None:
        self._results, self._metric = results, metric
        self._answers: dict[tuple[str, str, int | None], Answers | DataError] = {}
        self._known: dict[tuple[str, str, str], Outcome | DataError] = {}

    def truth(self, run: RunRecord) -> GroundTruth:
        """What the run's answers are measured against.

        Raises:
            DataError: as of `Answers.of`.
        """
        return self._beside(run).truth

    def of(self, run: RunRecord) -> Outcome:
        """What the run's answers come to.

        Raises:
            DataError: as of `Answers.of` and `Answers.top`.
        """
        key = (run.dataset.name, run.method.name, run.run_id)
        return _kept(self._known, key, lambda: self._read(run))

    def _beside(self, run: RunRecord) -> Answers:
        key = (run.dataset.name, run.dataset.digest, run.dataset.limit)
        return _kept(self._answers, key, lambda: Answers.of(self._results, run))

    def _read(self, run: RunRecord) -> Outcome:
        answers = self._beside(run)
        told = [] if run.metrics is None else told_ks(run.metrics)
        wanted = () if self._metric is None else _k_of(self._metric)
        names, values, _ = outcomes(answers.top(run), answers.truth, sorted({*DEFAULT_KS, *told, *wanted}))
        means = dict(zip(names, values.mean(axis=0).tolist(), strict=True))
        compared = values[:, names.index(self._metric)].copy() if self._metric in names else None
        return Outcome(means, compared)


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def _kept(known: dict[_Key, _Value | DataError], key: _Key, read: Callable[[], _Value]) -> _Value:
    """What is known under a key, or why it cannot be: it is tried once."""
    if key not in known:
        try:
            known[key] = read()
        except DataError as error:
            known[key] = error
    found = known[key]
    if isinstance(found, DataError):
        raise found
    return found


def select_group(groups: Sequence[Group], text: str) -> Group:
    """The group that a method's name or a run's id stands for.

    Raises:
        UnknownNameError: none.
        DataError: a method with several configurations.
    """
    for group in groups:
        if any(text == run.run_id for run in group.runs):
            return group
    named = [group for group in groups if group.method == text]
    if len(named) == 1:
        return named[0]
    if named:
        listed = "; ".join(f"{g.runs[0].run_id}: {g.title}, {g.backbone}" for g in named)
        raise DataError(f"{text} was run with {len(named)} configurations", f"name a run instead: {listed}")
    names = sorted({group.method for group in groups})
    raise unknown_name("method with finished runs", text, names, f"there are {', '.join(names)}")


def _k_of(metric: str) -> tuple[int, ...]:
    _, _, number = metric.rpartition("-")
    return (int(number),) if number.isdigit() and int(number) > 0 else ()
