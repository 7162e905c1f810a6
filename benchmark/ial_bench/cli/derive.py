"""`bench data subset` and `bench data join`: datasets made of others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ial_bench.cli import options

if TYPE_CHECKING:
    from ial_bench.datasets.dataset import Dataset

Name = Annotated[str | None, typer.Option(help="Name to run the new dataset by. [default: made of the options]")]
Out = Annotated[Path | None, typer.Option(help="Dataset folder to write. [default: NAME in the data home]")]
Force = Annotated[bool, typer.Option("--force", help="Replace a dataset that is there.")]


def subset(
    dataset: Annotated[str, typer.Argument(help="Name of a dataset, or the path of its folder.")],
    coverage: Annotated[float, typer.Option(help="Share of train and val photos to keep, by whole places.")],
    seed: Annotated[int, typer.Option(help="Which places.")] = 0,
    name: Name = None,
    out: Out = None,
    force: Force = False,
    data_home: options.DataHome = None,
) -> None:
    """Keep a share of the train places, for coverage studies.

    Queries and candidates stay the same; every address keeps a place. Photos are shared with the whole.

    Example: bench data subset pitts-ial --coverage 0.125 --seed 0
    """
    from ial_bench.datasets.derive import take_places
    from ial_bench.datasets.known import open_dataset
    from ial_bench.folders import data_home as home

    data = open_dataset(dataset, data_home)
    name = name or f"{data.name}-coverage-{coverage:g}-seed-{seed}"
    _told(take_places(data, coverage, seed, name, out or home(data_home) / name, force), out)


def join(
    datasets: Annotated[list[str], typer.Argument(help="Two or more datasets: names, or paths of their folders.")],
    name: Name = None,
    out: Out = None,
    force: Force = False,
    data_home: options.DataHome = None,
) -> None:
    """Join datasets of several cities: a query may be given an address of any of them.

    Photo and place ids begin with the name of their dataset. Photos stay where they are.

    Example: bench data join pitts-ial sf-ial-base
    """
    from ial_bench.datasets.derive import join as join_datasets
    from ial_bench.datasets.known import open_dataset
    from ial_bench.folders import data_home as home

    parts = [open_dataset(dataset, data_home) for dataset in datasets]
    name = name or "+".join(data.name for data in parts)
    joined = join_datasets(parts, name, out or home(data_home) / name, force)
    _told(joined, out)
    without = [shown for shown, data in zip(datasets, parts, strict=True) if data.contents is None]
    if without and len(without) < len(parts):
        typer.echo(f"note: no content digests, for {', '.join(without)} has none: `bench data contents` gives them")


def _told(data: Dataset, out: Path | None) -> None:
    counts = ", ".join(f"{n:,} {split}" for split, n in data.counts().items() if n)
    typer.echo(f"{data.name}: {counts} photos; {len(data.candidates):,} candidates")
    shown = data.name if out is None else str(out) if "/" in str(out) else f"./{out}"
    typer.echo(f"next: bench run --methods all --dataset {shown}")
