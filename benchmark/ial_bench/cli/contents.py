"""`bench data contents`: what the photos of a dataset hold, by digest."""

from __future__ import annotations

from typing import Annotated

import typer

from ial_bench.cli import options
from ial_bench.machine import usable_cores

_SHOWN = 10  # photos of other content


def contents(
    dataset: Annotated[str, typer.Argument(help="Name of a dataset, or the path of its folder.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace digests where photos have other content now.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that read. [default: two a core]")] = None,
    data_home: options.DataHome = None,
) -> None:
    """Take the content digests of a dataset's photos, or compare them.

    With them a photo that was replaced is refused, also by one of its size, and runs and features are those of these
    photos. Where a dataset has them they are compared. Exit 1 if a photo has other content.

    Example: bench data contents my-city
    """
    from ial_bench.cli.console import ConsoleReporter, print_rows
    from ial_bench.datasets.known import open_dataset
    from ial_bench.datasets.verify import take_contents

    data = open_dataset(dataset, data_home)
    threads = workers or 2 * usable_cores()
    with ConsoleReporter().track(len(data), f"read {data.name}", "photos") as advance:
        found = take_contents(data, overwrite=overwrite, workers=threads, advance=advance)
    if len(found.changed):
        first = data.texts_of("path", found.changed[:_SHOWN])
        print_rows(["photos of other content, the first ones"], [[path] for path in first])
    if found.written:
        typer.echo(f"{data.name}: {len(data):,} content digests taken, together {found.contents.digest[:16]}")
        typer.echo("  runs and features from before are not known to be of these photos: `bench run` makes them anew")
    elif len(found.changed):
        typer.echo(
            f"{data.name}: {len(found.changed):,} of {len(data):,} photos have other content than before; restore "
            "them, or give --overwrite if the new ones are meant"
        )
        raise typer.Exit(1)
    else:
        typer.echo(f"{data.name}: all {len(data):,} photos have the content that they had")
