"""`bench power`: how many query places tell two methods apart, and which difference those at hand can show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ial_bench import folders
from ial_bench.cli import options
from ial_bench.cli.analyse import show_sheets
from ial_bench.errors import ConfigError, DataError

if TYPE_CHECKING:
    from ial_bench.metrics.power import Assumed, Sizes
    from ial_bench.report.selection import Selected

_CORRELATION, _WITHIN, _PHOTOS = 0.5, 0.4, 3.0
_LEAST_LEVEL, _MOST_LEVEL, _MOST_POWER = 0.01, 50.0, 99.99  # percent
_LEAST_DIFFERENCE = 0.01  # points
_MOST_PHOTOS, _MOST_SPREAD = 1e6, 1e3


def power(
    methods: Annotated[
        list[str] | None,
        typer.Argument(help="Methods or ids of runs, all pairs. [default: all but oracles]", show_default=False),
    ] = None,
    named: Annotated[str | None, typer.Option("--methods", "-m", help="The same, comma-separated.")] = None,
    dataset: options.AnsweredDataset = None,
    metric: options.Metric = "SSA-1",
    difference: Annotated[
        str | None, typer.Option(help="True differences to plan for, in percentage points, comma-separated.")
    ] = None,
    places: Annotated[
        int | None, typer.Option(min=2, max=10**9, help="Query places to look at. [default: those of the dataset]")
    ] = None,
    wanted: Annotated[float, typer.Option("--power", help="Chance to see the difference, in percent.")] = 80.0,
    level: Annotated[float, typer.Option(help="Level of the two-sided test, in percent.")] = 5.0,
    comparisons: Annotated[
        int | None, typer.Option(min=1, help="Pairs that are compared together. [default: the pairs shown]")
    ] = None,
    accuracy: Annotated[
        float | None, typer.Option(help="Assume this accuracy of one method, in percent; the other's differs.")
    ] = None,
    correlation: Annotated[
        float | None,
        typer.Option(help="Assumed, of both being right on the same query. [default: 0.5, or as much as can be]"),
    ] = None,
    within: Annotated[
        float | None, typer.Option(help="Assumed, of the differences on two photos of a place. [default: 0.4]")
    ] = None,
    photos_per_place: Annotated[
        float | None, typer.Option(help="Assumed mean. [default: 3, or that of --dataset]")
    ] = None,
    size_spread: Annotated[
        float | None, typer.Option(help="Standard deviation of photos a place, over their mean. [default: 0]")
    ] = None,
    limit: options.Limit = None,
    results: options.Results = None,
    data_home: options.DataHome = None,
    form: Annotated[
        str, typer.Option("--format", help="table, md, latex, csv, json or html. Percent in all of them.")
    ] = "table",
) -> None:
    """How many query places tell two methods apart, and which difference those at hand can show.

    Of the paired test of `bench compare`, Holm's correction included. The variance is that of stored answers; or, with
    --accuracy, it follows from assumptions, and needs no results.

    Example: bench power addressclip retrieval --dataset my-city --difference 2
    """
    assumptions = {
        "--correlation": correlation, "--within": within, "--photos-per-place": photos_per_place,
        "--size-spread": size_spread, "--data-home": data_home,
    }  # fmt: skip
    answers = {"METHODS": methods, "--methods": named, "--limit": limit, "--results": results}
    for option, given in (assumptions if accuracy is None else answers).items():
        if given is not None and given != []:
            why = "is for assumed accuracies" if accuracy is None else "is for stored answers, --accuracy assumes them"
            raise ConfigError(f"{option} {why}", "leave one of both out")
    _between("--level", level, _LEAST_LEVEL, _MOST_LEVEL)
    _between("--power", wanted, level + 1, _MOST_POWER)
    for option, value in {"--level": level, "--accuracy": accuracy}.items():
        if value is not None and 0 < value < 1:
            typer.echo(f"note: {option} {value:g} is read as {value:g} %", err=True)
    differences = _differences(difference)

    from ial_bench.report.power import Asked, of_answers, of_assumptions

    def asked(pairs: int, there: int | None) -> Asked:
        return Asked(wanted / 100, level / 100, comparisons or pairs, differences, places or there)

    if accuracy is None:
        selected = _selected([*(methods or []), *options.listed(named)], dataset, metric, limit, results)
        count = len(selected.groups)
        sheet = of_answers(selected, metric, asked(count * (count - 1) // 2, None))
    else:
        assumed, there = _assumed(accuracy, correlation, within, photos_per_place, size_spread, dataset, data_home)
        if not differences and not (places or there):
            raise ConfigError(
                "nothing is asked for: how many places for which difference, or what so many places show",
                "--difference 2, --places 100 or --dataset NAME",
            )
        sheet = of_assumptions(assumed, correlation, metric, asked(1, there))
    show_sheets([sheet], form)


def _selected(names: list[str], dataset: str | None, metric: str, limit: int | None, results: Path | None) -> Selected:
    """The runs to pair: those named, else all but oracles.

    Raises:
        ConfigError: a single one is named.
        DataError: fewer than two have results.
    """
    from dataclasses import replace

    from ial_bench.report.selection import Selected

    if len(names) == 1:
        raise ConfigError("name two methods or more, or none for all", "bench power addressclip retrieval")
    found = Selected.among(folders.results_home(results), dataset, names, limit, metric)
    if not names:
        found = replace(found, groups=tuple(g for g in found.groups if not g.oracle))
    if len(found.groups) < 2:
        raise DataError(
            f"{len(found.groups)} method with results on {found.dataset!r}: no pair",
            "run another one, or give --accuracy to plan from assumed accuracies",
        )
    return found


def _assumed(
    accuracy: float, correlation: float | None, within: float | None, photos: float | None, spread: float | None,
    dataset: str | None, data_home: Path | None,
) -> tuple[Assumed, int | None]:  # fmt: skip
    """What is assumed, and how many query places the dataset has, if one is named.

    Raises:
        ConfigError: a number that cannot be.
        UnknownNameError: no such dataset at hand.
    """
    from ial_bench.metrics.power import Assumed

    _between("--accuracy", accuracy, 0, 100)
    within = _WITHIN if within is None else within
    correlation = _CORRELATION if correlation is None else correlation
    _between("--within", within, 0, 1)
    _between("--correlation", correlation, -1, 1)
    sizes, there = _sizes(photos, spread) if dataset is None else _sizes_of(dataset, data_home, photos, spread)
    return Assumed(accuracy / 100, correlation, within, sizes), there


def _sizes(photos: float | None, spread: float | None) -> tuple[Sizes, None]:
    from ial_bench.metrics.power import Sizes

    mean = _PHOTOS if photos is None else photos
    spread = 0.0 if spread is None else spread
    _between("--photos-per-place", mean, 1, _MOST_PHOTOS)
    _between("--size-spread", spread, 0, _MOST_SPREAD)
    if mean == 1 and spread:
        raise ConfigError("places of one photo on average all have one", "leave --size-spread out")
    part = mean % 1  # a fractional mean implies at least this variance
    return Sizes(mean, max((mean * spread) ** 2, part * (1 - part))), None


def _sizes_of(dataset: str, data_home: Path | None, photos: float | None, spread: float | None) -> tuple[Sizes, int]:
    from ial_bench.datasets.known import open_dataset
    from ial_bench.metrics.power import Sizes

    if photos is not None or spread is not None:
        raise ConfigError("--dataset has its own photos a place", "leave --photos-per-place and --size-spread out")
    places = open_dataset(dataset, data_home).split("query").places
    if not len(places):
        raise DataError(f"dataset {dataset!r} has no queries", "give --photos-per-place instead")
    return Sizes.of(places), len(set(places.tolist()))


def _differences(text: str | None) -> tuple[float, ...]:
    """Fractions from percentage points between commas.

    Raises:
        ConfigError: one is no number, or too small or large for a difference.
    """
    found = []
    for part in options.listed(text):
        try:
            points = float(part)
        except ValueError:
            raise ConfigError(f"--difference: {part!r} is no number", "--difference 1,2,5") from None
        if not _LEAST_DIFFERENCE <= abs(points) <= 100:
            raise ConfigError(
                f"--difference {part} is not from {_LEAST_DIFFERENCE} to 100 points, or that below zero",
                "--difference 1,2,5",
            )
        found.append(points / 100)
    return tuple(dict.fromkeys(found))


def _between(option: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # written so that NaN fails, too
        raise ConfigError(
            f"{option} {value:g} is not from {low:g} to {high:g}", "`bench power --help` tells what it is"
        )
