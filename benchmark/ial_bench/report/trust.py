"""How far a row can be believed: run here or taken from a pack, and whether its numbers follow from its answers.

Records are files that anybody can edit. What is beside them tells whether somebody did: accuracies are computed anew
from the stored answers and the ground truth, which is cheap; intervals, and whether the ground truth is the dataset's,
are for ``bench score --check``, which has the dataset.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ial_bench.engine.record import RunRecord
from ial_bench.errors import DataError, MismatchError
from ial_bench.report.answers import Outcomes

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
    def of(cls, runs: Iterable[RunRecord], outcomes: Outcomes | None) -> Trust:
        """Hold the accuracies of runs against their answers.

        Args:
            runs: finished ones, of any datasets.
            outcomes: of their answers; None: nothing is looked at, and all is believed.
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


def _contradiction(run: RunRecord, outcomes: Outcomes) -> str | None:
    """The first accuracy of a record that is another one by its answers."""
    truth = outcomes.truth(run)
    if run.metrics is None or not len(truth):
        return None
    if run.dataset.truth_digest not in {None, truth.digest}:
        return "the ground truth beside the results is another one than it was measured against"
    means = outcomes.of(run).means
    for name, told in run.metrics.accuracy.items():
        if name in means and abs(means[name] - told.value) > _TOLERANCE:
            return f"{name} is {100 * told.value:.2f} % in its record and {100 * means[name]:.2f} % by its answers"
    if run.dataset.n_queries != len(truth):
        return f"{run.dataset.n_queries:,} queries in its record and {len(truth):,} in the ground truth"
    return None
