"""What a dataset can show of a difference between two methods, and how many query places it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from ial_bench.errors import ConfigError, DataError
from ial_bench.metrics.comparison import least_p
from ial_bench.metrics.power import (
    MOST_PLACES,
    ROUGH_BELOW,
    Assumed,
    PlaceDifferences,
    Seen,
    correlation_limits,
    fewest_places,
    least_difference,
    places_needed,
    power,
)
from ial_bench.report.selection import Selected
from ial_bench.report.table import Table, Value, analysis, points

_SMALLEST = "smallest difference: the least true one, in points, that so many places show with the power asked"
_OF_THESE = "variance is that of these answers, at whatever difference: other methods have their own"


@dataclass(frozen=True)
class Asked:
    """What a test must show, and how surely.

    Attributes:
        power: wanted, a fraction.
        level: of the test, a fraction.
        comparisons: made together; the smallest p is multiplied by their number (Holm).
        differences: true ones, fractions.
        places: how many to plan with; None: those of the dataset, if there is one.
    """

    power: float
    level: float
    comparisons: int
    differences: tuple[float, ...]
    places: int | None

    def __post_init__(self) -> None:
        """Refuse what no number of places can show.

        Raises:
            ConfigError: the level of a single comparison is below the smallest p there is.
        """
        smallest = least_p(MOST_PLACES)
        if self.each <= smallest:
            asked = f"{_percent(self.level)} over {self.comparisons:,} comparisons is {_percent(self.each)} for each"
            raise ConfigError(
                f"{asked}: no p of the test is below {_percent(smallest)}", "compare fewer methods, or raise --level"
            )

    @property
    def each(self) -> float:
        """The level of the comparison with the smallest p."""
        return self.level / self.comparisons

    @property
    def said(self) -> str:
        """Power, level and correction in words."""
        corrected = f", corrected for {self.comparisons:,} comparisons" if self.comparisons > 1 else ""
        return f"with {_percent(self.power)} power at the {_percent(self.level)} level{corrected}"

    @property
    def facts(self) -> dict[str, float]:
        """For programs: percent."""
        return {"power": 100 * self.power, "level": 100 * self.level, "comparisons": self.comparisons}

    def needed(self, of: PlaceDifferences) -> int | None:
        """Places needed where places are like this."""
        return places_needed(of, self.power, self.each)

    def about(self, of: PlaceDifferences, places: int) -> Iterator[str]:
        """Notes on a number of places."""
        if least_p(places) >= self.each:
            few = fewest_places(self.each)
            yield (
                f"{_places(places)} cannot show anything: p is at least 1 / 2^{places}; below {_percent(self.each)} it "
                f"is from {few} places on that all differ to one side"
            )
        elif not of.single and places * of.differing < ROUGH_BELOW:
            yield (
                f"of {places:,} places fewer than {ROUGH_BELOW} would differ: power is a rough number there, "
                "up to 20 points off"
            )


def of_answers(selected: Selected, metric: str, asked: Asked) -> Table:
    """A table of what the selected methods' answers can show, a row a pair.

    Raises:
        DataError: a single place, or answers that cannot be read.
        UnknownNameError: no such metric.
    """
    answers = selected.answers
    of_query = answers.truth.places
    there = len(set(of_query.tolist()))
    if there < 2:
        raise DataError(
            f"the queries of {selected.dataset!r} are of one place, which tells nothing of how places vary",
            "give --accuracy to plan from assumed accuracies",
        )
    values = [answers.values(g.runs, metric) for g in selected.groups]
    places = asked.places or there
    rows, notes, known = [], [], []
    names = selected.titles
    for a, b in combinations(range(len(values)), 2):
        seen = Seen.of(values[a], values[b], of_query)
        if not seen.alone:
            notes.append(f"{names[a]} and {names[b]} have the same answers: nothing tells how they would differ")
        else:
            known.append(seen.uncertainty)
        least = least_difference(seen, places, asked.power, asked.each, 1.0) if seen.alone else None
        shown = [least] if least else list(asked.differences)
        notes += [note for d in shown or [1.0] if seen.alone for note in asked.about(seen(d), places)]
        rows.append((
            names[a], names[b], places, _rounded(seen.correlation), _rounded(seen.within), points(seen.alone),
            points(least), *(cell for d in asked.differences for cell in _planned(seen, d, asked, places)),
        ))  # fmt: skip
    if known:
        notes.append(f"that variance is known from {there:,} places to ±{max(known):.0%}, and so are places needed")
    wanted = [f"{what} for {_number(100 * d)}" for d in asked.differences for what in ("places", "power %")]
    return analysis(
        f"{selected.dataset}: what {places:,} places show of {metric}, {asked.said}",
        ("A", "B", "places", "correlation", "within", "one alone %", "smallest difference", *wanted),
        tuple(rows),
        tuple(dict.fromkeys([_SMALLEST, _OF_THESE, *notes, *_seeds(selected), *selected.notes])),
        {"dataset": selected.dataset, "metric": metric, **asked.facts},
    )


def of_assumptions(assumed: Assumed, correlation: float | None, metric: str, asked: Asked) -> Table:
    """A table of what methods of assumed accuracies can show, a row a difference.

    Args:
        assumed: the methods.
        correlation: that asked for; None: none was, so that one that cannot be is lowered, which is said.
        metric: what the accuracies are of.
        asked: as far as it goes; places None: only places needed.

    Raises:
        ConfigError: an accuracy outside 0 to 100 %, or a correlation that the accuracies do not allow.
    """
    notes: list[str] = []
    rows: list[tuple[Value, ...]] = []
    n = asked.places
    for d in asked.differences:
        _check(assumed, d, correlation)
        of = assumed(d)
        needed = asked.needed(of)
        if needed is None:
            notes.append(f"more than {MOST_PLACES:,} places are needed for {_number(100 * d)} points")
        else:
            notes += asked.about(of, needed)
        if n is not None:
            notes += asked.about(of, n)
        own = () if n is None else (points(power(of, n, asked.each)),)
        rows.append(("asked for", *_assumptions(assumed, d), needed, _queries(assumed, needed), *own))
    if n is not None:
        least = least_difference(assumed, n, asked.power, asked.each, 1 - assumed.accuracy)
        notes += asked.about(assumed(least or 1 - assumed.accuracy), n)
        if least is None:
            notes.append(f"{_places(n)} can show no difference from {_percent(assumed.accuracy)} up to 100 %")
        else:
            reached = points(power(assumed(least), n, asked.each))
            rows.append(("smallest shown", *_assumptions(assumed, least), n, _queries(assumed, n), reached))
    if any(assumed.correlation_at(d) != assumed.correlation for d in asked.differences):
        notes.append("correlation: as much as the accuracies allow")
    sizes = assumed.sizes
    spread = f", standard deviation {sizes.variance**0.5:.2f}" if sizes.variance else ""
    return analysis(
        f"Places needed to tell two methods apart in {metric}, {asked.said}",
        (
            "row", "A %", "B %", "difference", "correlation", "places", "queries",
            *(() if n is None else (f"power % of {n:,} places",)),
        ),
        tuple(rows),
        (
            f"photos a place: {_number(sizes.mean)}{spread}; correlation of two of them: {_number(assumed.within)}",
            *dict.fromkeys(notes),
        ),
        {
            "metric": metric, **asked.facts, "photos_per_place": sizes.mean, "sd_photos": sizes.variance**0.5,
            "within": assumed.within,
        },
    )  # fmt: skip


def _planned(seen: Seen, difference: float, asked: Asked, places: int) -> tuple[Value, Value]:
    """Places needed for a difference, and the power that those there have."""
    if not seen.alone:
        return None, None
    of = seen(difference)
    return asked.needed(of), points(power(of, places, asked.each))


def _assumptions(assumed: Assumed, difference: float) -> tuple[Value, ...]:
    first = assumed.accuracy
    return points(first), points(first + difference), points(difference), _rounded(assumed.correlation_at(difference))


def _queries(assumed: Assumed, places: int | None) -> int | None:
    return None if places is None else round(places * assumed.sizes.mean)


def _check(assumed: Assumed, difference: float, correlation: float | None) -> None:
    other = assumed.accuracy + difference
    if not 0 <= other <= 1:
        raise ConfigError(
            f"{_number(100 * difference)} points from {_percent(assumed.accuracy)} are {_percent(other)}",
            "accuracies are between 0 and 100 %; a negative --difference looks below --accuracy",
        )
    low, high = correlation_limits(assumed.accuracy, other)
    if correlation is not None and not low - 1e-9 <= correlation <= high + 1e-9:
        raise ConfigError(
            f"methods with {_percent(assumed.accuracy)} and {_percent(other)} right cannot be correlated by "
            f"{_number(correlation)} on the same query",
            f"give a --correlation from {low:.2f} to {high:.2f}",
        )


def _seeds(selected: Selected) -> list[str]:
    several = any(len(g.runs) > 1 for g in selected.groups)
    return ["seeds are averaged query by query: a single seed varies more"] if several else []


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _places(number: int) -> str:
    return "1 place" if number == 1 else f"{number:,} places"


def _percent(fraction: float) -> str:
    return f"{_number(100 * fraction)} %"


def _number(value: float) -> str:
    return f"{value:.4g}"
