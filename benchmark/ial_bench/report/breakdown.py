"""Where methods are right and where their errors lie: accuracy by part of the queries, and confused addresses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ial_bench.engine.ground_truth import GroundTruth
from ial_bench.geo.points import haversine_m
from ial_bench.metrics.accuracy import Areas, Partition, PartScores, breakdown, by_edges, by_name, by_sector
from ial_bench.metrics.confusion import WORDS, Confused, Miss, Nearness, most_confused
from ial_bench.metrics.intervals import Estimate, Ints, clustered_means
from ial_bench.report.answers import Answers
from ial_bench.report.groups import Group
from ial_bench.report.selection import Selected
from ial_bench.report.table import Table, Value, analysis
from ial_bench.topk import NO_ANSWER

DISTANCES_M = (5, 10, 25, 50, 100, 200)
_UNKNOWN = "unknown"
_NOTE = "a place may have queries in several parts; each interval is of the part's own places"


def _neighbourhoods(truth: GroundTruth) -> Partition:
    areas = Areas.of(truth.addresses)
    return by_name([areas.neighbourhoods[i] for i in areas.neighbourhood_of[_street_of(areas, truth)]])


def _streets(truth: GroundTruth) -> Partition:
    areas = Areas.of(truth.addresses)
    first = [truth.addresses[i] for i in areas.first_of]
    return by_name([f"{first[i].street}, {first[i].neighbourhood}" for i in _street_of(areas, truth)])


def _street_of(areas: Areas, truth: GroundTruth) -> Ints:
    """[n], the street of each query."""
    return areas.street_of[truth.address_rows]


def _train_photos(truth: GroundTruth) -> Partition:
    """By photos of the true address, each part twice as wide as the one before."""
    photos = np.where(truth.labels >= 0, truth.train_photos[np.maximum(truth.labels, 0)], 0).astype(np.float64)
    most = int(photos.max(initial=1))
    edges = [2**i for i in range(most.bit_length())]
    names = ["0", *(str(e) if e == 1 else f"{e} to {2 * e - 1}" for e in edges)]
    return by_edges(photos, edges, names)


def _train_distance(truth: GroundTruth) -> Partition:
    names = [f"below {DISTANCES_M[0]} m"]
    names += [f"{a} to {b} m" for a, b in pairwise(DISTANCES_M)]
    edges = [*map(float, DISTANCES_M), float("inf")]
    return by_edges(truth.train_m, edges, [*names, f"{DISTANCES_M[-1]} m or more", "no train photo"])


def _headings(truth: GroundTruth) -> Partition:
    return by_sector(truth.headings, _UNKNOWN)


def _joined(truth: GroundTruth) -> Partition:
    """By the photo id up to its first ``/``: in a joined dataset, the dataset that a query comes from."""
    return by_name([photo_id.partition("/")[0] for photo_id in truth.ids])


BY: Mapping[str, Callable[[GroundTruth], Partition]] = {
    "neighbourhood": _neighbourhoods,
    "street": _streets,
    "train-photos": _train_photos,
    "train-distance": _train_distance,
    "heading": _headings,
    "dataset": _joined,
}
"""How queries are split into parts."""

ON_REQUEST = frozenset({"dataset"})
"""Splits that say nothing about most datasets."""

TITLES = {
    "neighbourhood": "neighbourhood",
    "street": "street",
    "train-photos": "train photos of the address",
    "train-distance": "nearest train photo",
    "heading": "heading",
    "dataset": "dataset",
}


def parts(selected: Selected, by: str, metric: str) -> list[PartScores]:
    """The scores of each part: a column for each group.

    Args:
        selected: the runs.
        by: a key of `BY`.
        metric: a mean over queries.

    Raises:
        DataError: ground truth or predictions cannot be read.
        UnknownNameError: no such metric.
    """
    answers = selected.answers
    values = np.stack([answers.values(g.runs, metric) for g in selected.groups], axis=1)
    return breakdown(values, answers.truth.places, BY[by](answers.truth))


def breakdown_table(selected: Selected, by: str, metric: str) -> Table:
    """`parts` as a table.

    Args:
        selected: as for `parts`.
        by: as for `parts`.
        metric: as for `parts`.
    """
    rows: tuple[tuple[Value, ...], ...] = tuple(
        (p.name, p.queries, p.places, *p.estimates) for p in parts(selected, by, metric)
    )
    return analysis(
        f"{selected.dataset}: {metric} % by {TITLES[by]}",
        (TITLES[by], "queries", "places", *selected.titles),
        rows,
        (_NOTE, *selected.seed_notes, *selected.notes),
        {"dataset": selected.dataset, "metric": metric, "by": by},
    )


_NEXT = "next sub-street: the same main street with a cross street in common; farther along: as SA-k counts streets"


@dataclass(frozen=True)
class FirstAnswers:
    """First answers of all seeds of a method, one seed after the other.

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
        """The first answers of a group's runs.

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
        """The share of each kind of `WORDS` among wrong answers, with intervals over places; empty if all are right."""
        wrong = self.misses != Miss.RIGHT
        if not wrong.any():
            return []
        kinds = np.stack([self.misses[wrong] == miss for miss in WORDS], axis=1).astype(np.float64)
        return clustered_means(kinds, self.places[wrong])

    def confused(self, most: int) -> list[Confused]:
        """The pairs that were confused most often."""
        return most_confused(self.answered, self.truth, self.places, self.seeds, most)


def confusion_tables(selected: Selected, most: int) -> list[Table]:
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
