"""`bench compare` and `bench analyse`: whether methods differ, where they are right, and what confidence is worth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ial_bench import folders
from ial_bench.cli import options
from ial_bench.cli.console import escaped, print_json, print_rows
from ial_bench.errors import ConfigError, UnknownNameError, unknown_name

if TYPE_CHECKING:
    from ial_bench.report.selection import Selected
    from ial_bench.report.table import Table

app = typer.Typer(
    rich_markup_mode=None,
    help="Look into stored answers: accuracy by part, confusion, calibration. Reads results alone.",
    no_args_is_help=True,
)

_ALL = "all"
_FORMATS = ("table", "md", "latex", "csv", "json", "html")

Format = Annotated[
    str, typer.Option("--format", help="table, md, latex, csv, json or html. Fractions in csv and json.")
]
Bins = Annotated[int, typer.Option(min=1, help="Bins of the reliability curve, of equal mass.")]


def compare(
    methods: Annotated[
        list[str] | None, typer.Argument(help="Two methods or more: names, or ids of runs.", show_default=False)
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", "-d", help="Names, comma-separated. [default: the only dataset with results]"),
    ] = None,
    metric: options.Metric = "SSA-1",
    all_pairs: Annotated[bool, typer.Option("--all-pairs", help="Compare all methods with results.")] = False,
    limit: Annotated[int | None, typer.Option(help="Compare runs with this limit.")] = None,
    results: options.Results = None,
    as_json: options.AsJson = False,
    form: Format = "table",
) -> None:
    """Compare methods on the same queries.

    Differences with 95 % intervals over places, queries that one alone has right, and p-values of sign flips of whole
    places with Holm's correction over all pairs shown. Of several seeds, each query counts by its mean over them. Of
    several datasets each has its rows, and the mean over them, each counting alike, has its own test.

    Example: bench compare addressclip retrieval --dataset pitts-ial,sf-ial-base --metric SSA-1
    """
    from ial_bench.report.comparison import compared, comparison_table

    if all_pairs == bool(methods) or (methods and len(methods) < 2):
        raise ConfigError("name two methods or more, or give --all-pairs", "bench compare addressclip retrieval")
    if as_json and form not in {"table", "json"}:
        raise ConfigError(f"--json and --format {form} ask for two forms", "leave one of both out")
    names = [None] if dataset is None else options.listed(dataset)
    found, notes = compared(folders.results_home(results), names, methods or [], metric, limit)
    if as_json or form == "json":
        print_json({**found[0].as_json(), "notes": notes} if len(found) == 1 else {
            "datasets": [f.as_json() for f in found[:-1]], "mean": found[-1].as_json(), "notes": notes
        })  # fmt: skip
        return
    show_sheets([comparison_table(found, notes)], form)


@app.command("breakdown")
def breakdown(
    methods: options.Answering = None,
    by: Annotated[
        str, typer.Option(help="neighbourhood, street, train-photos, train-distance, heading, dataset, or all.")
    ] = _ALL,
    metric: options.Metric = "SSA-1",
    dataset: options.AnsweredDataset = None,
    limit: options.Limit = None,
    results: options.Results = None,
    form: Format = "table",
) -> None:
    """Accuracy by part of the queries, methods side by side.

    Parts are neighbourhoods, streets, photos that train has of the true address, metres to the nearest train photo, and
    headings. Each value has a 95 % interval over the part's places.

    Example: bench analyse breakdown addressclip retrieval --by train-photos
    """
    from ial_bench.report import breakdown as report

    if by not in {_ALL, *report.BY}:
        raise unknown_name("part", by, [*report.BY, _ALL], f"there are {', '.join(report.BY)}, and {_ALL}")
    selected = _selected(results, dataset, methods, limit, metric)
    wanted = [name for name in report.BY if name == by or (by == _ALL and name not in report.ON_REQUEST)]
    show_sheets([report.breakdown_table(selected, name, metric) for name in wanted], form)


@app.command("confusion")
def confusion(
    methods: options.Answering = None,
    pairs: Annotated[int, typer.Option(min=0, help="Most confused pairs to show of each method.")] = 10,
    dataset: options.AnsweredDataset = None,
    limit: options.Limit = None,
    results: options.Results = None,
    form: Format = "table",
) -> None:
    """Where wrong answers lie: on the next piece of the street, on the street, in the neighbourhood, elsewhere.

    Then the pairs of addresses that were confused most often.

    Example: bench analyse confusion addressclip --pairs 20
    """
    from ial_bench.report.breakdown import confusion_tables

    show_sheets(confusion_tables(_selected(results, dataset, methods, limit), pairs), form)


@app.command("calibration")
def calibration(
    methods: options.Answering = None,
    bins: Bins = 15,
    dataset: options.AnsweredDataset = None,
    limit: options.Limit = None,
    plugin: options.Plugins = None,
    results: options.Results = None,
    form: Format = "table",
) -> None:
    """What confidence is worth: expected calibration error, and risk against coverage.

    ECE is given of methods whose scores are logits, for the softmax of the first answer; risk and its area (AURC) of
    all, for they need an order alone. JSON holds the curves; `bench plot reliability` draws them.

    Example: bench analyse calibration addressclip linear-probe
    """
    from ial_bench.report.calibration import calibration_table

    selected = _selected(results, dataset, methods, limit)
    show_sheets([calibration_table(selected, logit_methods(selected, plugin), bins)], form)


@app.command("seeds")
def seeds(
    methods: options.Answering = None,
    metric: options.Metric = "SSA-1",
    dataset: options.AnsweredDataset = None,
    limit: options.Limit = None,
    results: options.Results = None,
    form: Format = "table",
) -> None:
    """How much of a method's uncertainty is of places, and how much of seeds.

    The interval of one run says what other places would have shown of the same weights; the one with seeds what other
    places and other seeds would have shown.

    Example: bench analyse seeds addressclip fusion
    """
    from ial_bench.report.comparison import seeds_table

    show_sheets([seeds_table(_selected(results, dataset, methods, limit, metric), metric)], form)


def logit_methods(selected: Selected, plugins: Sequence[Path] | None) -> set[str]:
    """The selected methods whose scores are logits, of those whose records do not say what scores are.

    A method that is not installed counts as none.
    """
    from ial_bench.registry import Registry

    registry = Registry(plugins or ())
    found = set()
    for name in sorted({g.method for g in selected.groups if any(r.method.scores is None for r in g.runs)}):
        try:
            if registry.get(name).info.scores == "logits":
                found.add(name)
        except UnknownNameError:
            typer.echo(f"note: {name} is not installed: its scores are taken for no probabilities", err=True)
    return found


def _selected(
    results: Path | None, dataset: str | None, methods: list[str] | None, limit: int | None, metric: str = "SSA-1"
) -> Selected:
    from ial_bench.report.selection import Selected

    return Selected.among(folders.results_home(results), dataset, methods or [], limit, metric)


def show_sheets(sheets: Sequence[Table], form: str) -> None:
    """Tables on stdout in a format, notes of drawn ones on stderr.

    Raises:
        UnknownNameError: no such format.
    """
    from ial_bench.report.formats import text_of

    options.check_known("format", form, _FORMATS)
    if form != "table":
        text = text_of(sheets, form)
        typer.echo(escaped(text) if form == "json" else text, nl=False)
    else:
        for i, sheet in enumerate(sheets):
            if i:
                typer.echo("")
            print_rows(sheet.heads, sheet.texts, title=sheet.title)
        for note in dict.fromkeys(n for s in sheets for n in s.notes):
            typer.echo(f"note: {note}", err=True)
