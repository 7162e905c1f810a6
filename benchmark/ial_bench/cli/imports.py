"""`bench data import`: data in a known layout becomes a dataset folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ial_bench import folders
from ial_bench.cli import options
from ial_bench.cli.console import ConsoleReporter, as_typed, counted
from ial_bench.errors import ConfigError

app = typer.Typer(
    rich_markup_mode=None, help="Turn data in a known layout into a dataset folder.", no_args_is_help=True
)

Annotations = Annotated[Path, typer.Option(help="Folder of *_train.json, *_database.json, *_queries.json.")]
Images = Annotated[Path, typer.Option(help="Folder that the photos' paths lie below; they stay there.")]
KnownName = Annotated[
    str | None,
    typer.Option(
        "--name",
        help="Name to run it by; a release of other than the published counts needs one. [default: as published]",
    ),
]
Coords = Annotated[
    Path | None,
    typer.Option(help="CSV of positions: filename,utm_easting,utm_northing or filename,lat,lon."),
]


@dataclass(frozen=True)
class Records:
    """Which records become photos, and of which split."""

    val_fraction: options.ValFraction = 0.1
    seed: Annotated[int, typer.Option(help="Seed of the val split.")] = 0
    train_on_database: Annotated[
        bool,
        typer.Option(
            "--train-on-database", help="Train on the database file's photos, too: they become train and val."
        ),
    ] = False
    max_bad: Annotated[str, typer.Option(help="Share of records that may be unusable.")] = "1%"


@dataclass(frozen=True)
class Writing:
    """How the dataset is written."""

    contents: options.Contents = True
    force: options.Force = False
    data_home: options.DataHome = None


def share(text: str) -> float:
    """A share from ``1%`` or ``0.01``.

    Raises:
        ConfigError: neither.
    """
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ConfigError(f"{text!r} is not a share between 0 and 100%", "write 1% or 0.01")
    return value


@app.command("released")
@options.grouped
def import_released(
    *,
    annotations: Annotations,
    images: Images,
    name: Annotated[str, typer.Option(help="Name to run the dataset by.")],
    out: options.Out = None,
    coords: Coords = None,
    utm_zone: Annotated[str | None, typer.Option(help="Zone of UTM positions, such as 17N.")] = None,
    place_rule: Annotated[
        str | None,
        typer.Option(
            help="sf-xl, pitts, stem-view, path-view, file, or a regex with (?P<place>...). [default: detected]"
        ),
    ] = None,
    records: Records,
    title: options.Title = "",
    licence: options.Licence = "",
    writing: Writing,
) -> None:
    """Import annotation in the layout of the field's release.

    Records that cannot be used are listed in a report, with the reason.

    Example: bench data import released --name my-city --annotations ann --images photos
    --coords coords.csv --utm-zone 31N
    """
    _import(
        None, annotations, images, name, out, records, writing,
        coords=coords, utm_zone=utm_zone, place_rule=place_rule, title=title, licence=licence,
    )  # fmt: skip


@app.command("pitts-ial")
@options.grouped
def import_pitts_ial(
    *,
    annotations: Annotations,
    images: Annotated[Path, typer.Option(help="Folder of Pitts-250k: 000, 001, ..., queries_real; it stays there.")],
    mats: Annotated[
        Path | None, typer.Option(help="Folder of pitts250k_train.mat, pitts250k_val.mat, pitts250k_test.mat.")
    ] = None,
    coords: Coords = None,
    name: KnownName = None,
    out: options.Out = None,
    records: Records,
    writing: Writing,
) -> None:
    """Import Pitts-IAL: the released annotation on the photos of Pitts-250k.

    Positions come from the .mat files of Pitts-250k or from a CSV. A release of other than the published counts needs
    a --name of its own. `bench show pitts-ial` says where to get the parts.

    Example: bench data import pitts-ial --annotations ann --images pitts250k --mats pitts250k/datasets
    """
    if mats is None and coords is None:
        raise ConfigError(
            "Pitts-250k's file names tell no positions",
            "give --mats DIR (the folder of pitts250k_train.mat and so on) or --coords CSV",
        )
    _import("pitts-ial", annotations, images, name, out, records, writing, coords=coords, mats=mats)


def _add_sf_ial(known: str, title: str) -> None:
    """Add the command that imports a release on the photos of SF-XL."""

    @options.grouped
    def import_sf_ial(
        *,
        annotations: Annotations,
        images: Images,
        coords: Coords = None,
        name: KnownName = None,
        out: options.Out = None,
        records: Records,
        writing: Writing,
    ) -> None:
        _import(known, annotations, images, name, out, records, writing, coords=coords)

    about = f"""Import {title}: the released annotation on the processed photos of SF-XL.

    Positions, headings and panoramas are read from the file names. A release of other than the published counts needs
    a --name of its own. `bench show {known}` says where to get the parts.

    Example: bench data import {known} --annotations ann --images sf-xl/processed
    """
    app.command(known, help=about)(import_sf_ial)


_add_sf_ial("sf-ial-base", "SF-IAL-Base")
_add_sf_ial("sf-ial-large", "SF-IAL-Large")


def _import(
    known: str | None, annotations: Path, images: Path, name: str | None, out: Path | None, records: Records,
    writing: Writing, **own: Any,
) -> None:  # fmt: skip
    """Import, and show what came of it.

    Args:
        known: the published dataset that it should be, which gives the name where there is none.
        annotations: folder of the JSON files.
        images: folder of the photos.
        name: of the dataset.
        out: its folder, as the user gave it.
        records: which records to use.
        writing: how to write it.
        own: options that only some imports have.
    """
    from ial_bench.datasets.importing.released import ReleasedOptions
    from ial_bench.datasets.importing.released import import_released as run_import
    from ial_bench.datasets.importing.report import REPORT, kinds
    from ial_bench.datasets.known import dataset_cards

    name = str(known if name is None else name)
    wanted = ReleasedOptions(
        annotations, images, name, out or folders.data_home(writing.data_home) / name, contents=writing.contents,
        force=writing.force, **{**vars(records), "max_bad": share(records.max_bad)}, **own,
    )  # fmt: skip
    if known is not None:
        wanted = wanted.published_as(dataset_cards()[known])
    summary = run_import(wanted, ConsoleReporter())
    typer.echo(f"{name}: {counted(summary.counts)} photos")
    typer.echo(f"  {summary.n_addresses:,} addresses, of which {summary.n_candidates:,} are candidates")
    typer.echo(
        f"  {summary.n_places:,} places; the place of a photo is {summary.rule.meaning} (rule {summary.rule.name})"
    )
    typer.echo(f"  {len(summary.bad):,} records not used" + (f", see {summary.folder / REPORT}" if summary.bad else ""))
    for line in kinds(summary.bad):
        typer.echo(f"    {line}")
    typer.echo(f"  where on Earth: {summary.where}")
    for line in summary.layout:
        typer.echo(f"  keys of {line}")
    for line, met in summary.expected:
        typer.echo(f"  {'as published' if met else 'DIFFERS'}: {line}")
    for note in summary.notes:
        typer.echo(f"  note: {note}")
    shown = as_typed(name, out)
    typer.echo(f"next: bench data verify {shown}; bench run --methods all --dataset {shown}")
