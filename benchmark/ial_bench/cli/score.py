"""`bench score`: metrics anew from stored predictions."""

from __future__ import annotations

from typing import Annotated

import typer

from ial_bench.cli import options


def score(
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="Name of a dataset, or the path of its folder.")],
    methods: Annotated[str, typer.Option("--methods", "-m", help="Comma-separated names, or all.")] = "all",
    ks: Annotated[
        str | None, typer.Option("--ks", help="The k of SSA-k and SA-k. [default: 1,5,10, as far as stored]")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; name what records tell otherwise, and exit with 1.")
    ] = False,
    results: options.Results = None,
    data_home: options.DataHome = None,
    as_json: options.AsJson = False,
) -> None:
    """Score stored predictions again.

    Recomputes the metrics of finished runs and updates their records, without torch. With --check, records stay as
    they are, and every number that does not follow from answers and dataset is named.

    Example: bench score --dataset cambridge --ks 1,3,5,10
    """
    from ial_bench.cli.console import print_json, print_rows
    from ial_bench.datasets.known import open_dataset
    from ial_bench.engine.records import records
    from ial_bench.engine.scoring import DEFAULT_KS, disagreements, rescore
    from ial_bench.errors import ConfigError, DataError, unknown_name
    from ial_bench.files import sweep
    from ial_bench.folders import results_home

    if check and ks is not None:
        raise ConfigError("--check takes the k that records have", "leave --ks out")
    wanted_ks = None if ks is None else _numbers(ks)
    data = open_dataset(dataset, data_home)
    home = results_home(results)
    if not check:
        sweep(home / data.name)
    found = list(records(home, data.name))
    names = sorted({r.method.name for _, r in found if not isinstance(r, DataError) and r.status == "done"})
    chosen = names if methods == "all" else [m.strip() for m in methods.split(",")]
    if names and (unknown := [m for m in chosen if m not in names]):
        raise unknown_name("method with finished runs", unknown[0], names, f"there are {', '.join(names)}")
    scored, problems = [], 0
    for path, record in found:
        if isinstance(record, DataError):
            typer.echo(f"not scored: {record}", err=True)
            problems += 1
        elif record.status == "done" and record.method.name in chosen:
            try:
                for line in disagreements(path, record, data) if check else ():
                    typer.echo(f"{path}: {line}", err=True)
                    problems += 1
                scored.append(record if check else rescore(path, record, data, wanted_ks))
            except DataError as error:
                typer.echo(f"not {'checked' if check else 'scored'}: {error}", err=True)
                problems += 1
    if not scored and not problems:
        raise DataError(f"no finished runs on {data.name!r} in {home}", f"`bench run --dataset {dataset}` makes some")
    if as_json:
        print_json([r.model_dump(mode="json") for r in scored])
    else:
        shown = [*(f"{name}-{k}" for name in ("SSA", "SA") for k in wanted_ks or DEFAULT_KS), "MRR"]
        measured = [(r, r.metrics.accuracy) for r in scored if r.metrics]
        rows = [
            [r.method.name, str(r.seed), *(f"{100 * accuracy[m].value:.2f}" if m in accuracy else "" for m in shown)]
            for r, accuracy in measured
        ]
        print_rows(["method", "seed", *shown], rows)
    if problems:
        raise typer.Exit(1)


def _numbers(text: str) -> list[int]:
    from ial_bench.errors import ConfigError

    try:
        ks = sorted({int(k) for k in text.split(",")})
    except ValueError:
        raise ConfigError(f"--ks {text!r} is not a list of whole numbers", "for instance --ks 1,5,10") from None
    if ks[0] < 1:
        raise ConfigError(f"--ks {text!r}: k starts at 1", "for instance --ks 1,5,10")
    return ks
