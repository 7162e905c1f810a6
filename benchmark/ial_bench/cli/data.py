"""`bench data`: importing and verifying datasets."""

from __future__ import annotations

from typing import Annotated

import typer

from ial_bench.cli import build, caption, contents, derive, export, imports, options, synth
from ial_bench.machine import usable_cores

app = typer.Typer(rich_markup_mode=None, help="Import and verify datasets.", no_args_is_help=True)
app.add_typer(imports.app, name="import")
app.command("build")(build.build)
app.command("synth")(synth.synth)
app.command("show")(synth.show)
app.command("caption")(caption.caption)
app.command("contents")(contents.contents)
app.command("subset")(derive.subset)
app.command("join")(derive.join)
app.command("export")(export.export)


@app.command("verify")
def verify(
    dataset: Annotated[str, typer.Argument(help="Name of a dataset, or the path of its folder.")],
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not read the photos; only look that they are there.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that decode. [default: all cores]")] = None,
    data_home: options.DataHome = None,
    as_json: options.AsJson = False,
) -> None:
    """Check a dataset.

    Photos present and decodable, no doubles, positions, places, addresses, the name. Exit 1 if it is not sound.

    Example: bench data verify cambridge --quick
    """
    from dataclasses import asdict

    from ial_bench.cli.console import ConsoleReporter, print_json, print_rows
    from ial_bench.datasets.known import open_dataset
    from ial_bench.datasets.verify import verify as check

    data = open_dataset(dataset, data_home)
    with ConsoleReporter().track(len(data), f"verify {data.name}", "photos") as advance:
        found = check(data, quick=quick, workers=workers or usable_cores(), advance=advance)
    if as_json:
        print_json(asdict(found))
    else:
        counts = ", ".join(f"{n:,} {split}" for split, n in found.counts.items())
        typer.echo(f"{data.name}: {counts} photos; {found.n_addresses:,} addresses, {found.n_places:,} places")
        for note in found.notes:
            typer.echo(f"note: {note}")
        if found.problems:
            print_rows(["problem", "where", "what"], [[p.kind, p.where, p.detail] for p in found.problems])
        done = "all photos decoded" if found.decoded else "photos not decoded (--quick)"
        typer.echo(f"{len(found.problems):,} problems, {done}" if found.problems else f"sound, {done}")
    if found.problems:
        raise typer.Exit(1)
