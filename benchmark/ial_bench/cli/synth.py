"""`bench data synth` and `bench data show`: making a synthetic city, and looking at any dataset."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from ial_bench.cli import options
from ial_bench.machine import usable_cores


def blocks_of(text: str) -> tuple[int, int]:
    """Rows and columns from ``6x7``.

    Raises:
        ConfigError: not of that form.
    """
    from ial_bench.errors import ConfigError

    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.strip().isdecimal() for p in parts):
        raise ConfigError(f"{text!r} is not a number of blocks", "write rows and columns, such as --blocks 6x7")
    return int(parts[0]), int(parts[1])


def box_of(text: str) -> tuple[float, float, float, float]:
    """South, west, north and east from ``37.77,-122.43,37.79,-122.40``.

    Raises:
        ConfigError: not of that form.
    """
    from ial_bench.errors import ConfigError

    try:
        south, west, north, east = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is no box", "write south,west,north,east in degrees: --bbox 37.77,-122.43,37.79,-122.40"
        ) from error
    return south, west, north, east


def synth(
    preset: Annotated[
        str, typer.Option(help="synth-city, synth-city-large, synth-city-dev-1, -2 or -3; knobs change it.")
    ] = "synth-city",
    seed: Annotated[int | None, typer.Option(help="Seed of the city.")] = None,
    blocks: Annotated[str | None, typer.Option(help="Rows and columns of blocks, such as 6x7.")] = None,
    size: Annotated[int | None, typer.Option(help="Pixels, a multiple of 8 from 16 to 512.")] = None,
    places: Annotated[int | None, typer.Option(help="Train places of each sub-street.")] = None,
    query_places: Annotated[int | None, typer.Option(help="Query places of each sub-street.")] = None,
    headings: Annotated[int | None, typer.Option(help="Photos of each train place, at headings all round.")] = None,
    query_headings: Annotated[int | None, typer.Option(help="Photos of each query place.")] = None,
    lot_variation: Annotated[float | None, typer.Option(help="How much houses of a row differ, 0 to 1.")] = None,
    occluders: Annotated[float | None, typer.Option(help="Cars and people, as a multiple of the usual.")] = None,
    day_shift: Annotated[
        float | None, typer.Option(help="How far the light of queries is from train's; 0: none.")
    ] = None,
    label_noise: Annotated[float | None, typer.Option(help="Share of train places with a neighbour's address.")] = None,
    position_noise: Annotated[
        float | None, typer.Option(help="Error of train positions, metres (sd per axis).")
    ] = None,
    coverage: Annotated[float | None, typer.Option(help="Share of the train places that were visited.")] = None,
    val_fraction: Annotated[float | None, typer.Option(help="Share of train photos, by place, that is val.")] = None,
    crossings: Annotated[str | None, typer.Option(help="exclude photos near crossings, or keep them.")] = None,
    image_format: Annotated[str | None, typer.Option(help="jpeg or png.")] = None,
    streets: Annotated[
        Path | None,
        typer.Option(help="Street map to draw on: .osm, .osm.bz2, .osm.pbf, or .geojson of named lines (extra build)."),
    ] = None,
    bbox: Annotated[
        str | None, typer.Option(help="Part of the map, degrees: south,west,north,east. [default: all of it]")
    ] = None,
    neighbourhoods: options.Neighbourhoods = None,
    neighbourhood_key: options.NeighbourhoodKey = None,
    neighbourhood: Annotated[
        str | None, typer.Option(help="Name where none is known. [default: the file's name]")
    ] = None,
    name_key: options.NameKey = "name",
    streets_crs: options.StreetsCrs = None,
    licence: Annotated[str, typer.Option(help="Terms of what is drawn on a street map, in words.")] = "",
    name: Annotated[
        str | None,
        typer.Option(help="Name to run it by. [default: made of the preset, the knobs and the street map]"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Dataset folder to write. [default: NAME in the data home]")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. [default: all cores]")] = None,
    data_home: options.DataHome = None,
) -> None:
    """Make a synthetic city.

    Streets built from a seed, or those of a map, photographed by a small renderer. Resumes a city that was begun.

    Example: bench data synth --seed 5 --blocks 6x7 --places 8 --name small-town

    Example: bench data synth --streets city.osm.pbf --bbox 37.77,-122.43,37.79,-122.40 --name drawn-city
    """
    from ial_bench.cli.console import ConsoleReporter
    from ial_bench.errors import ConfigError
    from ial_bench.folders import data_home as home
    from ial_bench.synth.options import changed
    from ial_bench.synth.options import preset as preset_of
    from ial_bench.synth.street_map import StreetMap
    from ial_bench.synth.write import check_folder, make_city

    start = preset_of(preset)
    wanted = changed(
        start, seed=seed, blocks=None if blocks is None else blocks_of(blocks), size=size, train_places=places,
        query_places=query_places, train_views=headings, query_views=query_headings, lot_variation=lot_variation,
        occluders=occluders, day_shift=day_shift, label_noise=label_noise, position_noise=position_noise,
        coverage=coverage, val_fraction=val_fraction, crossings=crossings, image_format=image_format,
    )  # fmt: skip
    street_map = None
    if streets is not None:
        street_map = StreetMap(
            streets, None if bbox is None else box_of(bbox), neighbourhoods, neighbourhood_key,
            neighbourhood or "", name_key=name_key, crs=streets_crs, licence=licence,
        )  # fmt: skip
        if blocks is not None:
            raise ConfigError("--blocks is of a city without a map", "leave out --blocks, or --streets")
    elif bbox or neighbourhoods or neighbourhood_key or neighbourhood or streets_crs or licence:
        raise ConfigError(
            "--bbox, --neighbourhoods, --neighbourhood, --streets-crs and --licence belong to a street map",
            "give --streets FILE as well",
        )
    drawn = preset if wanted == start else _name_of(preset, start.to_json(), wanted.to_json())
    called = name or (drawn if streets is None else f"{drawn}-on-{_plain(streets.name.split('.')[0])}")
    folder = out or home(data_home) / called
    report = ConsoleReporter()
    city = None
    if street_map is not None:
        from ial_bench.synth.city import lay_map

        check_folder(folder, wanted, called, street_map.to_json())  # reading a city's streets takes a while
        city = lay_map(wanted, street_map, report.log)
    with report.track(city.n_photos if city else wanted.n_photos, f"synth {called}", "photos") as advance:
        data = make_city(folder, wanted, workers or usable_cores(), advance, called, report.log, city)
    counts = ", ".join(f"{n:,} {split}" for split, n in data.counts().items() if n)
    typer.echo(f"{called}: {counts} photos of {wanted.size} px; {len(data.addresses):,} addresses; in {data.folder}")
    shown = called if out is None else str(out) if "/" in str(out) else f"./{out}"
    typer.echo(f"next: bench data show {shown} --sheet {called}.png; bench run --methods all --dataset {shown}")


def _plain(text: str) -> str:
    """`text` as part of a dataset's name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text)


def _name_of(preset: str, start: dict[str, object], wanted: dict[str, object]) -> str:
    """A name that tells cities of other knobs apart, such as ``synth-city-seed-5-blocks-6x7``."""
    parts = [preset]
    for key, value in wanted.items():
        if start[key] != value:
            shown = "x".join(map(str, value)) if isinstance(value, list) else str(value)
            parts.append(f"{key.replace('_', '-')}-{shown}")
    return "-".join(parts)


def show(
    dataset: Annotated[str, typer.Argument(help="Name of a dataset, or the path of its folder.")],
    sheet: Annotated[Path, typer.Option(help="PNG to write.")],
    rows: Annotated[int, typer.Option(min=1, max=200, help="Sub-streets at most, spread over all.")] = 8,
    columns: Annotated[int, typer.Option(min=1, max=50, help="Photos at most on either side.")] = 6,
    cell: Annotated[int, typer.Option(min=16, max=1024, help="Pixels that a photo is fitted into.")] = 128,
    data_home: options.DataHome = None,
) -> None:
    """Draw a contact sheet: rows are sub-streets, train photos left, queries right.

    Example: bench data show synth-city --sheet sheet.png --rows 8
    """
    import io

    from ial_bench.datasets.contact_sheet import contact_sheet
    from ial_bench.datasets.known import open_dataset
    from ial_bench.errors import ConfigError
    from ial_bench.files import write_bytes

    if sheet.suffix.lower() != ".png":
        raise ConfigError(f"{sheet} is not a PNG", "give a name that ends in .png")
    picture = contact_sheet(open_dataset(dataset, data_home), rows, columns, cell)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    write_bytes(sheet, buffer.getvalue())
    typer.echo(f"{sheet}: {picture.width} x {picture.height} px")
