"""`bench list`: methods, datasets, runs."""

from __future__ import annotations

from pathlib import Path

import typer

from ial_bench.cli import options

app = typer.Typer(rich_markup_mode=None, help="List methods, datasets or runs.", no_args_is_help=True)


@app.command("methods")
def methods(plugin: options.Plugins = None, as_json: options.AsJson = False) -> None:
    """List all methods, those of plugins and broken ones among them.

    Example: bench list methods --plugin my_method.py
    """
    from ial_bench.cli.console import print_json, print_rows
    from ial_bench.registry import Broken, Registry

    registry = Registry(plugin or ())
    rows = []
    for name in registry.names:
        found = registry.look(name)
        broken = isinstance(found, Broken)
        rows.append(
            {
                "name": name,
                "family": "broken" if isinstance(found, Broken) else found.info.family,
                "summary": found.reason if isinstance(found, Broken) else found.info.summary,
                "origin": registry.origin(name),
                "broken": broken,
            }
        )
    if as_json:
        print_json(rows)
    else:
        print_rows(
            ["method", "family", "what it does", "from"],
            [[str(v) for v in list(r.values())[:4]] for r in rows],
        )
    options.tell_notes(registry)


@app.command("datasets")
def datasets(data_home: options.DataHome = None, as_json: options.AsJson = False) -> None:
    """List the datasets that are here, and the known ones that are not.

    Example: bench list datasets
    """
    from ial_bench.cli.console import print_json, print_rows
    from ial_bench.datasets.dataset import Dataset
    from ial_bench.datasets.known import dataset_cards, installed
    from ial_bench.errors import DataError

    rows = []
    for folder in installed(data_home):
        try:
            data = Dataset(folder)
            about = f"{data.description.title}: {len(data):,} photos"
        except DataError as error:
            about = f"cannot be read: {error.problem}"
        rows.append({"name": folder.name, "state": "here", "about": about, "where": str(folder)})
    here = {r["name"] for r in rows}
    rows += [
        {
            "name": card.name,
            "state": "not here",
            "about": f"{card.title}: {card.about}",
            "where": f"`bench show {card.name}`",
        }
        for card in dataset_cards().values()
        if card.name not in here
    ]
    if as_json:
        print_json(rows)
    else:
        print_rows(["dataset", "state", "what it is", "where"], [list(r.values()) for r in rows])


@app.command("runs")
def runs(plugin: options.Plugins = None, results: options.Results = None, as_json: options.AsJson = False) -> None:
    """List all stored runs.

    The column code tells of runs by earlier code of a plugin: superseded, where a later run differs by the code alone;
    stale, where the plugin is installed or given with --plugin and has other code now.

    Example: bench list runs
    """
    from ial_bench.cli.console import print_json, print_rows
    from ial_bench.engine.record import RunRecord
    from ial_bench.engine.records import records
    from ial_bench.errors import DataError
    from ial_bench.folders import results_home
    from ial_bench.report.stale import Code, standings

    found: list[tuple[Path, RunRecord]] = []
    broken = 0
    for path, record in records(results_home(results)):
        if isinstance(record, DataError):
            typer.echo(f"not read: {record}", err=True)
            broken += 1
        else:
            found.append((path, record))
    told = standings([record for _, record in found], Code(options.registry(plugin)))
    rows = []
    for (path, record), standing in zip(found, told, strict=True):
        ssa1 = record.metrics.accuracy.get("SSA-1") if record.metrics else None
        rows.append(
            {
                "dataset": record.dataset.name,
                "method": record.method.name,
                "seed": record.seed,
                "status": record.status,
                "SSA-1": None if ssa1 is None else ssa1.value,
                "code": standing,
                "run_id": record.run_id,
                "path": str(path),
            }
        )
    if as_json:
        print_json(rows)
    else:
        print_rows(
            ["dataset", "method", "seed", "status", "SSA-1", "code", "run"],
            [
                ["" if v is None else f"{v:.4f}" if isinstance(v, float) else str(v) for v in list(r.values())[:7]]
                for r in rows
            ],
        )
    if broken:
        raise typer.Exit(1)
