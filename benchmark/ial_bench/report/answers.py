"""Stored answers of runs with their truth, and what follows from them.

Comparisons, breakdowns and tables read them. They also say how far a row can be believed: anybody can edit a record, so
its accuracies are computed anew from the stored answers and the ground truth, which is cheap. Intervals, and whether
the ground truth is the dataset's, are checked by ``bench score --check``, which has the dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from ial_bench.engine.ground_truth import GroundTruth, ground_truth_key
from ial_bench.engine.predictions import read_predictions
from ial_bench.engine.record import RunRecord
from ial_bench.engine.scoring import DEFAULT_KS, outcomes, told_ks
from ial_bench.errors import DataError, MismatchError, unknown_name
from ial_bench.files import sha256_file
from ial_bench.topk import TopK

_AGAIN = "run it again with --rerun"


@dataclass(frozen=True)
class Answers:
    """The folder of stored answers, and the truth of their queries.

    Attributes:
        folder: the dataset's folder of results.
        truth: of the queries of all runs.
    """

    folder: Path
    truth: GroundTruth

    @classmethod
    def of(cls, results: Path, record: RunRecord) -> Answers:
        """The answers to the photos that `record` is about.

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
        """[n]: the score of each query under a metric that is a mean over queries; the mean over seeds.

        Raises:
            UnknownNameError: no such metric, or the stored answers are too short for it.
            DataError: as for `top`.
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
    """The scores of a run's answers.

    Attributes:
        means: of each metric that is a mean over queries.
        values: [n], the score of each query under the metric by which rows are compared; None where that is not a mean
            over queries, or the stored answers are too short for it.
    """

    means: Mapping[str, float]
    values: npt.NDArray[np.float64] | None


class Outcomes:
    """The scores of the answers of runs. Each run's answers are read once, and only the scores are kept.

    Args:
        results: folder of results.
        metric: by which rows are compared; None: they are not.
    """

    def __init__(self, results: Path, metric: str | None) -> None:
        self._results, self._metric = results, metric
        self._answers: dict[tuple[str, str, int | None], Answers | DataError] = {}
        self._known: dict[tuple[str, str, str], Outcome | DataError] = {}

    def truth(self, run: RunRecord) -> GroundTruth:
        """What the run's answers are measured against.

        Raises:
            DataError: as for `Answers.of`.
        """
        return self._beside(run).truth

    def of(self, run: RunRecord) -> Outcome:
        """The scores of the run's answers.

        Raises:
            DataError: as for `Answers.of` and `Answers.top`.
        """
        key = (run.dataset.name, run.method.name, run.run_id)
        return _kept(self._known, key, lambda: self._read(run))

    def _beside(self, run: RunRecord) -> Answers:
        key = (run.dataset.name, run.dataset.digest, run.dataset.limit)
        return _kept(self._answers, key, lambda: Answers.of(self._results, run))

    def _read(self, run: RunRecord) -> Outcome:
        answers = self._beside(run)
        own = [] if run.metrics is None else told_ks(run.metrics)
        wanted = () if self._metric is None else _k_of(self._metric)
        names, values, _ = outcomes(answers.top(run), answers.truth, sorted({*DEFAULT_KS, *own, *wanted}))
        means = dict(zip(names, values.mean(axis=0).tolist(), strict=True))
        compared = values[:, names.index(self._metric)].copy() if self._metric in names else None
        return Outcome(means, compared)


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def _kept(known: dict[_Key, _Value | DataError], key: _Key, read: Callable[[], _Value]) -> _Value:
    """What is kept under a key, or the error that reading it raised: it is read once."""
    if key not in known:
        try:
            known[key] = read()
        except DataError as error:
            known[key] = error
    found = known[key]
    if isinstance(found, DataError):
        raise found
    return found


def _k_of(metric: str) -> tuple[int, ...]:
    _, _, number = metric.rpartition("-")
    return (int(number),) if number.isdigit() and int(number) > 0 else ()


Origin = Literal["run here", "from a pack", "as told"]
CONTRADICTED = "contradicted"
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Trust:
    """What was found about runs.

    Attributes:
        contradicted: by run id, a number that its answers contradict.
        unread: by run id, why its answers could not be read.
    """

    contradicted: Mapping[str, str] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, runs: Iterable[RunRecord], outcomes: Outcomes | None) -> Trust:
        """Check the accuracies of runs against their answers.

        Args:
            runs: finished ones, of any datasets.
            outcomes: of their answers; None: nothing is checked, and all is believed.
        """
        if outcomes is None:
            return cls()
        contradicted, unread = {}, {}
        for run in runs:
            try:
                if found := _contradiction(run, outcomes):
                    contradicted[run.run_id] = found
            except MismatchError as error:
                contradicted[run.run_id] = f"what lies beside its record has {error.__cause__}"  # no paths in tables
            except DataError as error:
                unread[run.run_id] = error.problem
        return cls(contradicted, unread)

    def origin(self, run: RunRecord) -> Origin:
        """Where a run's numbers come from."""
        if run.run_id in self.unread or run.run_id in self.contradicted:
            return "as told"
        return "run here" if run.received is None else "from a pack"


def about_trust(trust: Trust, groups: Sequence[tuple[str, Sequence[RunRecord]]]) -> list[str]:
    """Notes on rows, by their titles: numbers that are not true, and runs from elsewhere."""
    notes = []
    for title, runs in groups:
        for run in runs:
            if run.run_id in trust.contradicted:
                mend = f"`bench score --dataset {run.dataset.name}` scores it again, where the dataset is"
                notes.append(f"{CONTRADICTED}: {title}, run {run.run_id}: {trust.contradicted[run.run_id]}; {mend}")
    unread = [title for title, runs in groups if any(r.run_id in trust.unread for r in runs)]
    if unread:
        notes.append(f"taken as told, for their answers are not beside the records: {', '.join(dict.fromkeys(unread))}")
    packed: dict[str, list[str]] = {}
    for title, runs in groups:
        for run in runs:
            if trust.origin(run) == "from a pack" and run.received:
                told_by = run.received.signed_by and f"{run.received.signed_by}, who signed it"
                packed.setdefault(told_by or run.received.contact or "", []).append(title)
    for contact, titles in packed.items():
        by = f" of {contact}" if contact else ""
        notes.append(f"verified when they were taken from a pack{by}: {', '.join(dict.fromkeys(titles))}")
    return notes


def _contradiction(run: RunRecord, outcomes: Outcomes) -> str | None:
    """The first accuracy of a record that its answers contradict."""
    truth = outcomes.truth(run)
    if run.metrics is None or not len(truth):
        return None
    if run.dataset.truth_digest not in {None, truth.digest}:
        return "the ground truth beside the results is another one than it was measured against"
    means = outcomes.of(run).means
    for name, stored in run.metrics.accuracy.items():
        if name in means and abs(means[name] - stored.value) > _TOLERANCE:
            return f"{name} is {100 * stored.value:.2f} % in its record and {100 * means[name]:.2f} % by its answers"
    if run.dataset.n_queries != len(truth):
        return f"{run.dataset.n_queries:,} queries in its record and {len(truth):,} in the ground truth"
    return None


def inseparable_rows(
    rows: Sequence[Sequence[RunRecord]], name: str, outcomes: Outcomes | None
) -> tuple[frozenset[int], str | None]:
    """The rows that are not separable from the row of largest mean, without that row.

    Sign flips of whole places, corrected for all rows and for the choice of the best from the same answers; seeds are
    averaged query by query. It is all rows or none: rows without answers would otherwise pass as separable.

    Args:
        rows: the runs of each, on the same photos.
        name: what the table calls the metric that rows are compared by.
        outcomes: of their answers, under that metric; None: they are not read.

    Returns:
        Positions in `rows`, and a note for the table: what the mark means, or why there is none and how to get it.
    """
    if len(rows) < 2 or outcomes is None:
        return frozenset(), None
    untold = "rows not separable from the best are not marked: "
    import numpy as np

    from ial_bench.metrics.comparison import not_separable
    from ial_bench.metrics.intervals import LEVEL

    dataset = rows[0][0].dataset.name
    try:
        places = outcomes.truth(rows[0][0]).places
    except DataError:
        why = f"no ground truth beside the results; `bench score --dataset {dataset}` writes it, where the dataset is"
        return frozenset(), untold + why
    if len(np.unique(places)) < 2:
        return frozenset(), f"{untold}all queries are of one place"
    columns = []
    for runs in rows:
        try:
            found = [outcomes.of(run).values for run in runs]
        except DataError:
            method = runs[0].method.name
            again = f"`bench run --dataset {dataset} --methods {method} --rerun`"
            return frozenset(), f"{untold}answers of {method} are missing or changed; {again} makes them anew"
        known = [values for values in found if values is not None]
        if len(known) < len(runs):
            return frozenset(), f"{untold}{name} is no mean over queries, or the stored answers are too short for it"
        columns.append(np.mean(known, axis=0))
    values = np.stack(columns, axis=1)
    best = int(values.mean(axis=0).argmax())
    tied = frozenset(not_separable(values, places)) - {best}
    level = f"{100 * (1 - LEVEL):.0f} % level"
    what = (
        f"the best in {name} at the {level} (sign flips of places, corrected for all rows and the choice of the best)"
    )
    return tied, f"†: not separable from {what}" if tied else f"all other rows are separable from {what}"
