"""Options that several commands share, and groups of options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from ial_bench.errors import unknown_name

if TYPE_CHECKING:
    from ial_bench.registry import Registry

# Where things lie.
Results = Annotated[
    Path | None,
    typer.Option("--results", help="Folder of run records. [env IAL_BENCH_RESULTS, default ./results]"),
]
Cache = Annotated[
    Path | None,
    typer.Option("--cache", help="Folder of features, half-done runs and fitted methods. [env IAL_BENCH_CACHE]"),
]
DataHome = Annotated[Path | None, typer.Option("--data-home", help="Folder of datasets. [env IAL_BENCH_DATA]")]

# Methods and their settings.
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", help="A Python file with a method of your own; may be repeated."),
]
Presets = Annotated[
    list[str] | None,
    typer.Option("--preset", help="NAME, of every method that has it, or METHOD=NAME; may be repeated."),
]
MethodNames = Annotated[str, typer.Option("--methods", "-m", help="Comma-separated names, or all.")]
Device = Annotated[str, typer.Option("--device", help="torch device: auto, cpu, cuda, cuda:1, mps.")]

# Datasets: one that is there, and one to write.
Dataset = Annotated[str, typer.Argument(help="Name of a dataset, or the path of its folder.")]
DatasetOption = Annotated[str, typer.Option("--dataset", "-d", help="Name of a dataset, or the path of its folder.")]
Out = Annotated[Path | None, typer.Option(help="Dataset folder to write. [default: NAME in the data home]")]
Force = Annotated[bool, typer.Option("--force", help="Replace a dataset that is there.")]
Contents = Annotated[
    bool,
    typer.Option(help="Read every photo once for its SHA-256, so that one that is replaced later is noticed."),
]
ValFraction = Annotated[float, typer.Option(help="Share of train photos, by place, that becomes val.")]
Title = Annotated[str, typer.Option(help="Title for people.")]
Licence = Annotated[str, typer.Option(help="Terms of the photos, in words.")]
Neighbourhoods = Annotated[
    Path | None,
    typer.Option(help="GeoJSON polygons. [default: the street map's own, else its nearest named place]"),
]
NeighbourhoodKey = Annotated[str | None, typer.Option(help="Property with a polygon's name.")]
NameKey = Annotated[str, typer.Option(help="Property or tag with a street's name, such as name:en or names.primary.")]
StreetsCrs = Annotated[
    str | None, typer.Option(help="Reference system of GeoJSON lines, such as EPSG:26910. [default: degrees]")
]

# Stored answers: whose, on what, and how they are shown.
Answering = Annotated[
    list[str] | None, typer.Argument(help="Names of methods, or ids of runs. [default: all]", show_default=False)
]
AnsweredDataset = Annotated[
    str | None, typer.Option("--dataset", "-d", help="Name. [default: the only dataset with results]")
]
Limit = Annotated[int | None, typer.Option(help="Look at runs with this limit.")]
Metric = Annotated[str, typer.Option(help="A mean over queries: SSA-k, SA-k, MRR, within_50, ...")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command for typer in which a parameter that is a dataclass stands for a group of options.

    Each field of the dataclass is an option: its type is annotated as an option's, and its default is the option's.
    """
    groups: dict[str, type[Any]] = {}
    options: list[Parameter] = []
    hints = get_type_hints(command, include_extras=True)
    for name, parameter in signature(command).parameters.items():
        kind = hints[name]
        if is_dataclass(kind) and isinstance(kind, type):
            groups[name] = kind
            of_field = get_type_hints(kind, include_extras=True)
            options += [_option(f.name, of_field[f.name], f.default) for f in fields(kind)]
        else:
            options.append(_option(name, hints[name], parameter.default))

    @wraps(command)
    def spread(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{f.name: given.pop(f.name) for f in fields(kind)})
        command(**given)

    spread.__signature__ = Signature(options)  # type: ignore[attr-defined]
    spread.__annotations__ = {o.name: o.annotation for o in options}
    return spread


def _option(name: str, annotation: Any, default: Any) -> Parameter:
    return Parameter(
        name, Parameter.KEYWORD_ONLY, default=Parameter.empty if default is MISSING else default, annotation=annotation
    )


def listed(text: str | None) -> list[str]:
    """Names between commas, each once."""
    return list(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))


def check_known(what: str, name: str | None, known: Sequence[str]) -> None:
    """Refuse a value that an option cannot have; None means that it was not given.

    Raises:
        UnknownNameError: it is not among `known`.
    """
    if name is not None and name not in known:
        raise unknown_name(what, name, known, f"there are {', '.join(known)}")


def registry(plugins: Sequence[Path] | None) -> Registry:
    """The installed methods and those of plugin files; where files are given, notes on them go to stderr."""
    from ial_bench.registry import Registry

    found = Registry(plugins or ())
    if plugins:
        tell_notes(found)
    return found


def tell_notes(found: Registry) -> None:
    """Say which of several methods of one name is used, and what is left out."""
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
