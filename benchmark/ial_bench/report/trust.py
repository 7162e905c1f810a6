"""How far a row can be believed: run here or taken from a pack, and whether its numbers follow from its answers.

Records are files that anybody can edit. What is beside them tells whether somebody did: accuracies are computed anew
from the stored answers and the ground truth, which is cheap; intervals, and whether the ground truth is the dataset's,
are for ``bench score --check``, which has the dataset.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from ial_bench.engine.record import RunRecord
from ial_bench.engine.score import outcomes, told_ks
from ial_bench.errors import DataError, MismatchError
from ial_bench.report.answers import Answers

Origin = Literal["run here", "from a pack", "as told"]
CONTRADICTED = "contradicted"
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Trust:
    """What was found of runs.

    Attributes:
        contradicted: by run id, a number that does not follow from the run's answers.
        unread: by run id, why its answers could not be looked at.
    """

    contradicted: Mapping[str, str] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, runs: Iterable[RunRecord], results: Path | None) -> Trust:
        """Hold the accuracies of runs against their answers.

        Args:
            runs: finished ones, of any datasets.
            results: the folder of results; None: nothing is looked at, and all is believed.
        """
        if results is None:
            return cls()
        contradicted, unread = {}, {}
        truths: dict[tuple[str, str, int | None], Answers | DataError] = {}
        for run in runs:
            key = (run.dataset.name, run.dataset.digest, run.dataset.limit)
            try:
                if key not in truths:
                    truths[key] = _read(results, run)
                if isinstance(truth := truths[key], DataError):
                    raise truth
                if found := _contradiction(run, truth):
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
    """What a reader is told of rows, by their titles: numbers that are not true, and runs from elsewhere."""
    notes = []
    for title, runs in groups:
        for run in runs:
            if run.run_id in trust.contradicted:
                mend = f"`bench score --dataset {run.dataset.name}` scores it again, where the dataset is"
                notes.append(f"{CONTRADICTED}: {title}, run {run.run_id}: {trust.contradicted[run.run_id]}; {mend}")
    told = [title for title, runs in groups if any(r.run_id in trust.unread for r in runs)]
    if told:
        notes.append(f"taken as told, for their answers are not beside the records: {', '.join(dict.fromkeys(told))}")
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


def _read(results: Path, run: RunRecord) -> Answers | DataError:
    """What lies beside the results of a dataset, or why it cannot be read: it is tried once, and not for each run."""
    try:
        return Answers.of(results, run)
    except DataError as error:
        return error


def _contradiction(run: RunRecord, answers: Answers) -> str | None:
    """The first accuracy of a record that is another one by its answers."""
    if run.metrics is None:
        return None
    told = {name: interval.value for name, interval in run.metrics.accuracy.items()}
    if not len(answers.truth):
        return None
    if run.dataset.truth_digest not in {None, answers.truth.digest}:
        return "the ground truth beside the results is another one than it was measured against"
    names, values, _ = outcomes(answers.top(run), answers.truth, told_ks(run.metrics))
    means = dict(zip(names, np.asarray(values.mean(axis=0)).tolist(), strict=True))
    for name, value in told.items():
        if name in means and abs(means[name] - value) > _TOLERANCE:
            return f"{name} is {100 * value:.2f} % in its record and {100 * means[name]:.2f} % by its answers"
    if run.dataset.n_queries != len(answers.truth):
        return f"{run.dataset.n_queries:,} queries in its record and {len(answers.truth):,} in the ground truth"
    return None
