"""`bench report`: a folder of pages that opens in a browser, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ial_bench.cli import options


def report(
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder to write: new, or of an earlier report. [default: ./report]"),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Name. [default: every dataset with results]")
    ] = None,
    thumbnails: Annotated[
        str, typer.Option(help="Photos shown a dataset, spread evenly over its queries: a number, all or none.")
    ] = "5000",
    limit: Annotated[int | None, typer.Option(help="Show runs with this limit.")] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Then serve it on this machine alone; thumbnails are made when looked at.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of --serve. [default: any free one]")] = 0,
    results: options.Results = None,
    data_home: options.DataHome = None,
) -> None:
    """Write pages to look at results with.

    Leaderboards, a page a run, a browser of the queries with photos and answers side by side, a map, comparisons. The
    folder opens by a click on index.html and asks nothing of a network.

    Example: bench report --out report --dataset synth-city
    """
    from ial_bench.cli.console import ConsoleReporter
    from ial_bench.engine.records import datasets_with_results
    from ial_bench.errors import DataError, unknown_name
    from ial_bench.folders import results_home
    from ial_bench.report.site.build import Options, build

    home = results_home(results)
    known = datasets_with_results(home)
    if not known:
        raise DataError(f"no results in {home}", "`bench run` makes some; --results names another folder")
    if dataset is not None and dataset not in known:
        raise unknown_name("dataset with results", dataset, known, f"results in {home}: {', '.join(known)}")
    most = 0 if serve and thumbnails == "5000" else _number(thumbnails)
    folder = out or Path("report")
    reporter = ConsoleReporter()
    chosen = Options(home, data_home, limit, most)
    sources, problems = build(folder, [dataset] if dataset else known, chosen, reporter)
    for problem in problems:
        typer.echo(problem, err=True)
    typer.echo(f"wrote {folder / 'index.html'}", err=True)
    if serve:
        from ial_bench.report.site.serve import serve_report

        serve_report(folder, sources, port, lambda url: typer.echo(f"{url} (ctrl-c ends it)"), reporter.log)
    if problems:
        raise typer.Exit(1)


def _number(text: str) -> int | None:
    """How many; None for all.

    Raises:
        ConfigError: neither a number nor a word for one.
    """
    from ial_bench.errors import ConfigError

    if text in {"all", "none"}:
        return None if text == "all" else 0
    if not text.isdigit() or not text.isascii():
        raise ConfigError(f"--thumbnails {text!r} is no number", "a number, all or none")
    return int(text)
