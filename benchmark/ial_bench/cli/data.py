"""`bench data`: importing and verifying datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ial_bench.cli import options, synth

app = typer.Typer(rich_markup_mode=None, help="Import and verify datasets.", no_args_is_help=True)
importers = typer.Typer(
    rich_markup_mode=None, help="Turn data in a known layout into a dataset folder.", no_args_is_help=True
)
app.add_typer(importers, name="import")
app.command("synth")(synth.synth)
app.command("show")(synth.show)


def share(text: str) -> float:
    """A share from ``1%`` or ``0.01``.

    Raises:
        ConfigError: neither.
    """
    from ial_bench.errors import ConfigError

    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ConfigError(f"{text!r} is not a share between 0 and 100%", "write 1% or 0.01")
    return value


@importers.command("released")
def import_released(
    annotations: Annotated[Path, typer.Option(help="Folder of *_train.json, *_database.json, *_queries.json.")],
    images: Annotated[Path, typer.Option(help="Folder that the photos' paths lie below; they stay there.")],
    name: Annotated[str, typer.Option(help="Name to run the dataset by.")],
    out: Annotated[Path | None, typer.Option(help="Dataset folder to write. [default: NAME in the data home]")] = None,
    coords: Annotated[
        Path | None,
        typer.Option(help="CSV of positions: filename,utm_easting,utm_northing or filename,lat,lon."),
    ] = None,
    utm_zone: Annotated[str | None, typer.Option(help="Zone of UTM positions, such as 17N.")] = None,
    place_rule: Annotated[
        str | None,
        typer.Option(
            help="sf-xl, pitts, stem-view, path-view, file, or a regex with (?P<place>...). [default: detected]"
        ),
    ] = None,
    val_fraction: Annotated[float, typer.Option(help="Share of train photos, by place, that becomes val.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Seed of the val split.")] = 0,
    max_bad: Annotated[str, typer.Option(help="Share of records that may be unusable.")] = "1%",
    title: Annotated[str, typer.Option(help="Title for people.")] = "",
    licence: Annotated[str, typer.Option(help="Terms of the photos, in words.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a dataset that is there.")] = False,
    data_home: options.DataHome = None,
) -> None:
    """Import annotation in the layout of the field's release.

    Records that cannot be used are listed in a report, with the reason.

    Example: bench data import released --name pitts-ial --annotations ann --images pitts250k
    --coords coords.csv --utm-zone 17N
    """
    from ial_bench.datasets.released import REPORT, ReleasedOptions
    from ial_bench.datasets.released import import_released as run_import
    from ial_bench.datasets.table import checked_name
    from ial_bench.homes import data_home as home

    checked_name(name)
    summary = run_import(
        ReleasedOptions(
            annotations=annotations, images=images, name=name, out=out or home(data_home) / name, coords=coords,
            utm_zone=utm_zone, place_rule=place_rule, val_fraction=val_fraction, seed=seed, max_bad=share(max_bad),
            title=title, licence=licence, force=force,
        ),
        lambda text: typer.echo(text, err=True),
    )  # fmt: skip
    counts = ", ".join(f"{n:,} {split}" for split, n in summary.counts.items() if n)
    typer.echo(f"{name}: {counts} photos")
    typer.echo(f"  {summary.n_addresses:,} addresses, of which {summary.n_candidates:,} are candidates")
    typer.echo(
        f"  {summary.n_places:,} places; the place of a photo is {summary.rule.meaning} (rule {summary.rule.name})"
    )
    typer.echo(f"  {len(summary.bad):,} records not used" + (f", see {summary.folder / REPORT}" if summary.bad else ""))
    for note in summary.notes:
        typer.echo(f"  note: {note}")
    shown = name if out is None else str(out) if "/" in str(out) else f"./{out}"
    typer.echo(f"next: bench data verify {shown}; bench run --methods all --dataset {shown}")


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

    Photos present and decodable, no doubles, positions, places, addresses. Exit 1 if it is not sound.

    Example: bench data verify cambridge --quick
    """
    import os
    from dataclasses import asdict

    from ial_bench.cli.console import ConsoleReporter, print_json, print_rows
    from ial_bench.datasets.locate import open_dataset
    from ial_bench.datasets.verify import verify as check

    data = open_dataset(dataset, data_home)
    with ConsoleReporter().track(len(data), f"verify {data.name}", "photos") as advance:
        found = check(data, quick=quick, workers=workers or os.cpu_count() or 1, advance=advance)
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
