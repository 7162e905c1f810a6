"""Where the wrong answers of methods lie, and which addresses they take for which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ial_bench.geo.points import haversine_m
from ial_bench.metrics.confusion import WORDS, Confused, Miss, Nearness, most_confused
from ial_bench.metrics.intervals import Estimate, Ints, clustered_means
from ial_bench.report.answers import Answers
from ial_bench.report.groups import Group
from ial_bench.report.selection import Selected
from ial_bench.report.table import Table, analysis
from ial_bench.topk import NO_ANSWER

_NEXT = "next sub-street: the same main street with a cross street in common; farther along: as SA-k counts streets"


@dataclass(frozen=True)
class FirstAnswers:
    """First answers of all seeds of a method, one seed behind the other.

    Attributes:
        answered: [s * n] rows of the addresses, `NO_ANSWER` for none.
        truth: [s * n] rows of the addresses.
        places: [s * n].
        misses: [s * n], see `Miss`.
        seeds: s.
    """

    answered: Ints
    truth: Ints
    places: Ints
    misses: Ints
    seeds: int

    @classmethod
    def of(cls, answers: Answers, group: Group) -> FirstAnswers:
        """Those of a group's runs.

        Raises:
            DataError: predictions cannot be read.
        """
        truth, n = answers.truth, len(group.runs)
        first = np.concatenate([answers.top(run).indices[:, 0] for run in group.runs])
        answered = np.where(first == NO_ANSWER, NO_ANSWER, truth.candidate_rows[first])
        rows = np.tile(truth.address_rows, n)
        return cls(
            answered, rows, np.tile(truth.places, n), Nearness.of(truth.addresses).misses(answered, rows), n
        )  # fmt: skip

    @property
    def errors(self) -> float:
        """Wrong answers a seed."""
        return float(np.count_nonzero(self.misses != Miss.RIGHT) / self.seeds)

    def shares(self) -> list[Estimate]:
        """Of the wrong answers the share of each kind of `WORDS`, with intervals over places; none if all are right."""
        wrong = self.misses != Miss.RIGHT
        if not wrong.any():
            return []
        kinds = np.stack([self.misses[wrong] == miss for miss in WORDS], axis=1).astype(np.float64)
        return clustered_means(kinds, self.places[wrong])

    def confused(self, most: int) -> list[Confused]:
        """The pairs that were confused most often."""
        return most_confused(self.answered, self.truth, self.places, self.seeds, most)


def sheets(selected: Selected, most: int) -> list[Table]:
    """The kinds of errors of all methods, then a table of confused pairs for each.

    Args:
        selected: the runs.
        most: pairs a method.

    Raises:
        DataError: ground truth or predictions cannot be read.
    """
    answers = selected.answers
    found = [FirstAnswers.of(answers, group) for group in selected.groups]
    shares = [f.shares() for f in found]
    rows = tuple(
        (words, *(s[i] if s else None for s in shares))
        for i, (miss, words) in enumerate(WORDS.items())
        if miss != Miss.NONE or any(s and s[i].value for s in shares)
    )
    errors = tuple(_count(f.errors) for f in found)
    notes = [_NEXT]
    if any(f.seeds > 1 for f in found):
        notes.append("of several seeds all answers count; errors and queries are means over seeds")
    kinds = analysis(
        f"{selected.dataset}: where wrong answers lie, % of them",
        ("answered", *selected.titles),
        (*rows, ("wrong answers", *errors)),
        (*notes, *selected.notes),
        {"dataset": selected.dataset},
    )
    return [kinds, *(_pairs(answers, f, t, most) for f, t in zip(found, selected.titles, strict=True) if most)]


def _count(mean: float) -> int | float:
    """A mean over seeds as a whole number where it is one."""
    return int(mean) if mean == int(mean) else round(mean, 1)


def _pairs(answers: Answers, found: FirstAnswers, title: str, most: int) -> Table:
    truth = answers.truth
    where = np.full((len(truth.addresses), 2), np.nan)
    where[truth.candidate_rows] = truth.candidate_positions
    nearness = Nearness.of(truth.addresses)
    rows = []
    for pair in found.confused(most):
        metres = float(haversine_m(where[pair.truth], where[pair.answered]))
        miss = Miss(int(nearness.misses(np.array([pair.answered]), np.array([pair.truth]))[0]))
        rows.append((
            truth.addresses[pair.truth].text, truth.addresses[pair.answered].text, _count(pair.queries), pair.places,
            Estimate(pair.share, None), WORDS[miss], None if np.isnan(metres) else round(metres),
        ))  # fmt: skip
    return analysis(
        f"{title}: most confused",
        ("truth", "answered", "queries", "places", "share of the truth's queries", "answer lies", "metres apart"),
        tuple(rows),
    )
