"""`bench data export`: a dataset in a form of somebody else's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from ial_bench.cli import options
from ial_bench.errors import ConfigError

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def size_of(text: str) -> int:
    """A number of bytes, such as ``500MB``, ``1GB`` or ``1.5 GiB``.

    Raises:
        ConfigError: no such size, or none at all.
    """
    found = re.fullmatch(r"\s*([0-9]{1,12}(?:\.[0-9]{1,12})?)\s*([kmgt]i?|)b?\s*", text, re.IGNORECASE | re.ASCII)
    size = round(float(found[1]) * _UNITS[found[2].lower()]) if found else 0
    if size < 1:
        raise ConfigError(f"{text!r} is no size of a shard", "give one such as --shard-size 1GB or 500MB")
    return size


def export(
    dataset: Annotated[str, typer.Argument(help="Name of a dataset, or the path of its folder.")],
    out: Annotated[Path, typer.Option(help="Dataset folder to write.")],
    webdataset: Annotated[
        bool, typer.Option("--webdataset", help="Photos in tar shards, WebDataset's layout.")
    ] = False,
    shard_size: Annotated[str, typer.Option(help="Most bytes of a shard, such as 500MB.")] = "1GB",
    force: Annotated[bool, typer.Option("--force", help="Replace a dataset that is there.")] = False,
    data_home: options.DataHome = None,
) -> None:
    """Write a dataset with its photos in tar shards.

    Runs, features and the digest stay those of the dataset. An interrupted export goes on where it stopped.

    Example: bench data export sf-ial-large --webdataset --out sf-shards
    """
    from ial_bench.cli.console import ConsoleReporter
    from ial_bench.datasets.export import export_webdataset
    from ial_bench.datasets.known import open_dataset

    if not webdataset:
        raise ConfigError("no form to export to is named", "give --webdataset")
    size = size_of(shard_size)
    data = open_dataset(dataset, data_home)
    done = export_webdataset(data, out, size, force, ConsoleReporter())
    kept = f", {done.n_kept:,} of them kept" if done.n_kept else ""
    typer.echo(f"{data.name}: {len(data):,} photos in {done.n_shards:,} shards, {done.total_bytes / 1e9:,.3f} GB{kept}")
    for split, (first, last) in done.shards.items():
        typer.echo(f"  {split}: {first}" + (f" to {last}" if last != first else ""))
    typer.echo(f"next: bench data verify {out if '/' in str(out) else f'./{out}'}")
