"""`bench compare`: whether methods differ, beyond what another sample of places would change."""

from __future__ import annotations

from typing import Annotated

import typer

from ial_bench.cli import options
from ial_bench.cli.analyse import Format, show_sheets


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
    form: Format = "table",
) -> None:
    """Compare methods on the same queries.

    Differences with 95 % intervals over places, queries that one alone has right, and p-values of sign flips of whole
    places with Holm's correction over all pairs shown. Of several seeds, each query counts by its mean over them. Of
    several datasets each has its rows, and the mean over them, each counting alike, has its own test.

    Example: bench compare addressclip retrieval --dataset pitts-ial,sf-ial-base --metric SSA-1
    """
    from ial_bench.cli.console import print_json
    from ial_bench.errors import ConfigError
    from ial_bench.folders import results_home
    from ial_bench.report.comparison import compared, comparison_table

    if all_pairs == bool(methods) or (methods and len(methods) < 2):
        raise ConfigError("name two methods or more, or give --all-pairs", "bench compare addressclip retrieval")
    if as_json and form not in {"table", "json"}:
        raise ConfigError(f"--json and --format {form} ask for two forms", "leave one of both out")
    names = [None] if dataset is None else list(dict.fromkeys(n.strip() for n in dataset.split(",") if n.strip()))
    found, notes = compared(results_home(results), names, methods or [], metric, limit)
    if as_json or form == "json":
        print_json({**found[0].as_json(), "notes": notes} if len(found) == 1 else {
            "datasets": [f.as_json() for f in found[:-1]], "mean": found[-1].as_json(), "notes": notes
        })  # fmt: skip
        return
    show_sheets([comparison_table(found, notes)], form)
