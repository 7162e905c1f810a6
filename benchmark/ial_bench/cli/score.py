"""`bench score`: metrics anew from stored predictions."""

from __future__ import annotations

from typing import Annotated

import typer

from ial_bench.cli import options


def score(
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="Name of a dataset, or the path of its folder.")],
    methods: Annotated[str, typer.Option("--methods", "-m", help="Comma-separated names, or all.")] = "all",
    ks: Annotated[str, typer.Option("--ks", help="The k of SSA-k and SA-k.")] = "1,5,10",
    results: options.Results = None,
    data_home: options.DataHome = None,
    as_json: options.AsJson = False,
) -> None:
    """Recompute the metrics of finished runs from their stored predictions, without torch, and update the records.

    Example: bench score --dataset cambridge --ks 1,3,5,10
    """
    from ial_bench.cli.console import print_json, print_rows
    from ial_bench.datasets.locate import open_dataset
    from ial_bench.engine.record import records
    from ial_bench.engine.rescore import rescore
    from ial_bench.errors import ConfigError, DataError
    from ial_bench.homes import results_home

    try:
        wanted_ks = sorted({int(k) for k in ks.split(",")})
    except ValueError:
        raise ConfigError(f"--ks {ks!r} is not a list of whole numbers", "for instance --ks 1,5,10") from None
    if not wanted_ks or wanted_ks[0] < 1:
        raise ConfigError(f"--ks {ks!r}: k starts at 1", "for instance --ks 1,5,10")
    data = open_dataset(dataset, data_home)
    names = None if methods == "all" else {m.strip() for m in methods.split(",")}
    home = results_home(results)
    scored, problems = [], 0
    for path, record in records(home, data.name):
        if isinstance(record, DataError):
            typer.echo(f"not scored: {record}", err=True)
            problems += 1
        elif record.status == "done" and (names is None or record.method.name in names):
            try:
                scored.append(rescore(path, record, data, wanted_ks))
            except DataError as error:
                typer.echo(f"not scored: {error}", err=True)
                problems += 1
    if not scored and not problems:
        raise DataError(f"no finished runs on {data.name!r} in {home}", f"`bench run --dataset {dataset}` makes some")
    if as_json:
        print_json([r.model_dump(mode="json") for r in scored])
    else:
        shown = [f"SSA-{k}" for k in wanted_ks] + [f"SA-{k}" for k in wanted_ks] + ["MRR"]
        rows = [
            [r.method.name, str(r.seed), *(f"{100 * r.metrics.accuracy[m].value:.2f}" for m in shown)]
            for r in scored
            if r.metrics
        ]
        print_rows(["method", "seed", *shown], rows)
    if problems:
        raise typer.Exit(1)
