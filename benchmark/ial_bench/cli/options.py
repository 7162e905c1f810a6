"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ial_bench.registry import Registry

Results = Annotated[
    Path | None,
    typer.Option("--results", help="Folder of run records. [env IAL_BENCH_RESULTS, default ./results]"),
]
Cache = Annotated[
    Path | None,
    typer.Option("--cache", help="Folder of features, half-done runs and fitted methods. [env IAL_BENCH_CACHE]"),
]
Contents = Annotated[
    bool,
    typer.Option(help="Read every photo once for its SHA-256, so that one that is replaced later is noticed."),
]
DataHome = Annotated[Path | None, typer.Option("--data-home", help="Folder of datasets. [env IAL_BENCH_DATA]")]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", help="A Python file with a method of your own; may be repeated."),
]
Presets = Annotated[
    list[str] | None,
    typer.Option("--preset", help="NAME, of every method that has it, or METHOD=NAME; may be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Device = Annotated[str, typer.Option("--device", help="torch device: auto, cpu, cuda, cuda:1, mps.")]
Neighbourhoods = Annotated[
    Path | None,
    typer.Option(help="GeoJSON polygons. [default: the street map's own, else its nearest named place]"),
]
NeighbourhoodKey = Annotated[str | None, typer.Option(help="Property with a polygon's name.")]
NameKey = Annotated[str, typer.Option(help="Property or tag with a street's name, such as name:en or names.primary.")]
StreetsCrs = Annotated[
    str | None, typer.Option(help="Reference system of GeoJSON lines, such as EPSG:26910. [default: degrees]")
]


def registry(plugins: Sequence[Path] | None) -> Registry:
    """The methods there are, with those of plugin files; where some are given, what is to be said goes to stderr."""
    from ial_bench.registry import Registry

    found = Registry(plugins or ())
    if plugins:
        tell_notes(found)
    return found


def tell_notes(found: Registry) -> None:
    """Say who gave way to whom among methods of one name, and what is left out."""
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
