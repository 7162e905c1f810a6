"""`bench compare`: whether methods differ, beyond what another sample of places would change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ial_bench.cli import options

if TYPE_CHECKING:
    from ial_bench.metrics.comparison import Difference
    from ial_bench.report.comparison import Compared


def compare(
    methods: Annotated[
        list[str] | None, typer.Argument(help="Two methods or more: names, or ids of runs.", show_default=False)
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", "-d", help="Names, comma-separated. [default: the only dataset with results]"),
    ] = None,
    metric: Annotated[str, typer.Option(help="A mean over queries: SSA-k, SA-k, MRR, within_50, ...")] = "SSA-1",
    all_pairs: Annotated[bool, typer.Option("--all-pairs", help="Compare all methods with results.")] = False,
    limit: Annotated[int | None, typer.Option(help="Compare runs with this limit.")] = None,
    results: options.Results = None,
    as_json: options.AsJson = False,
) -> None:
    """Compare methods on the same queries.

    Differences with 95 % intervals over places, queries that one alone has right, and p-values of sign flips of whole
    places with Holm's correction over all pairs shown. Of several seeds, each query counts by its mean over them. Of
    several datasets each has its rows, and the mean over them, each counting alike, has its own test.

    Example: bench compare addressclip retrieval --dataset pitts-ial,sf-ial-base --metric SSA-1
    """
    from ial_bench.cli.console import print_json, print_rows
    from ial_bench.errors import ConfigError
    from ial_bench.folders import results_home
    from ial_bench.report.comparison import compared

    if all_pairs == bool(methods) or (methods and len(methods) < 2):
        raise ConfigError("name two methods or more, or give --all-pairs", "bench compare addressclip retrieval")
    names = [None] if dataset is None else list(dict.fromkeys(n.strip() for n in dataset.split(",") if n.strip()))
    found, notes = compared(results_home(results), names, methods or [], metric, limit)
    if as_json:
        print_json({**found[0].as_json(), "notes": notes} if len(found) == 1 else {
            "datasets": [f.as_json() for f in found[:-1]], "mean": found[-1].as_json(), "notes": notes
        })  # fmt: skip
        return
    heads = ["A", "B", f"A {metric} %", f"B {metric} %", "A - B", "95 %", "A alone", "B alone", "p", "p (Holm)"]
    if len(found) == 1:
        print_rows(heads, [_row(found[0], d) for d in found[0].differences], title=found[0].name)
    else:
        by_pair = zip(*(f.differences for f in found), strict=True)
        rows = [[f.name, *_row(f, d)] for pair in by_pair for f, d in zip(found, pair, strict=True)]
        print_rows(["dataset", *heads], rows)
    for note in notes:
        typer.echo(f"note: {note}", err=True)


def _row(of: Compared, d: Difference) -> list[str]:
    """What is printed of a pair."""
    interval = "" if d.ci95 is None else f"[{100 * d.ci95[0]:+.1f}, {100 * d.ci95[1]:+.1f}]"
    numbers = [f"{100 * of.means[d.first]:.1f}", f"{100 * of.means[d.second]:.1f}", f"{100 * d.value:+.1f}"]
    counts = [f"{n:,.0f}" for n in (d.only_first, d.only_second)]
    titles = [of.groups[d.first].title, of.groups[d.second].title]
    return [*titles, *numbers, interval, *counts, _p(d.p), _p(d.p_holm)]


def _p(p: float | None) -> str:
    """Never 0: it is the smallest that so many draws can show."""
    return "" if p is None else f"{p:.4f}" if p >= 0.0001 else f"{p:.1e}"
