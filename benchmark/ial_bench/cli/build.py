"""`bench data build` and `bench data synth`: datasets made from a street map, of real photos or of drawn ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from ial_bench import folders
from ial_bench.cli import options
from ial_bench.cli.console import ConsoleReporter, as_typed, counted
from ial_bench.errors import ConfigError
from ial_bench.machine import usable_cores

_KINDS_SHOWN = 8


def numbers_of(text: str) -> tuple[float, ...]:
    """Numbers from ``90,270``.

    Raises:
        ConfigError: not of that form.
    """
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ConfigError(f"{text!r} is no list of headings", "write degrees, such as 90,270") from error


def build(
    photos: Annotated[
        Path,
        typer.Option(
            help="CSV (path, lat, lon; if known heading, place_id, date, sequence, photo_id), GeoJSON points, or a "
            "folder of photos with GPS in their EXIF."
        ),
    ],
    name: Annotated[str, typer.Option(help="Name to run the dataset by.")],
    streets: Annotated[
        Path | None,
        typer.Option(help="Street map: .osm (.bz2, .gz, .pbf), or .geojson or .geojsonl of named lines."),
    ] = None,
    osm_place: Annotated[
        str | None, typer.Option(help="A city's name instead, fetched from OpenStreetMap (extra osmnx).")
    ] = None,
    out: options.Out = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder that the photos' paths lie below. [default: that of --photos]")
    ] = None,
    neighbourhoods: options.Neighbourhoods = None,
    neighbourhood_key: options.NeighbourhoodKey = None,
    neighbourhood: Annotated[
        str | None, typer.Option(help="Name where none is known. [default: the title, or the name]")
    ] = None,
    name_key: options.NameKey = "name",
    street_neighbourhood_key: Annotated[
        str | None, typer.Option(help="Property with a street's neighbourhood. [default: nhood and the like]")
    ] = None,
    node_keys: Annotated[
        str | None,
        typer.Option(help="Properties with a line's first and last node. [default: f_node,t_node and the like]"),
    ] = None,
    streets_crs: options.StreetsCrs = None,
    language: Annotated[str, typer.Option(help="Of street names, for their abbreviations: en, de, fr.")] = "en",
    street_words: Annotated[
        Path | None, typer.Option(help="TOML of more abbreviations, or of another language.")
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Metres within which lines without node ids meet.")] = 1.0,
    min_length: Annotated[
        float, typer.Option(help="Metres that a sub-street has at least: 5 places 10 m apart.")
    ] = 50.0,
    min_places: Annotated[int, typer.Option(help="Places that a sub-street has at least, as in the paper.")] = 5,
    beside: Annotated[
        float, typer.Option(help="Metres between lines of one name that are carriageways of one street.")
    ] = 30.0,
    max_distance: Annotated[
        float, typer.Option(help="Metres from a place to its street: half a boulevard and the error of positions.")
    ] = 25.0,
    tie: Annotated[
        float, typer.Option(help="Metres by which two streets' distances differ at most to be equally near.")
    ] = 5.0,
    ambiguous: Annotated[
        str,
        typer.Option(help="Places between two streets that neither heading nor sequence settles: nearest, or drop."),
    ] = "nearest",
    geocoder: Annotated[
        str | None,
        typer.Option(
            help="Reverse geocoder that tells each place's street: NAME:DOMAIN, such as "
            "nominatim:http://localhost:8080 (extra geo). [default: the nearest street]"
        ),
    ] = None,
    geocoder_interval: Annotated[float, typer.Option(help="Least seconds between two requests.")] = 1.0,
    same_place: Annotated[
        float, typer.Option(help="Metres within which photos without place_id are of one place.")
    ] = 3.0,
    split: Annotated[str, typer.Option(help="What parts queries from train: place, heading, date or list.")] = "place",
    query_fraction: Annotated[float, typer.Option(help="By place: share of photos that are queries.")] = 0.25,
    gap: Annotated[
        float, typer.Option(help="By place: metres between train and query places; nearer train places are left out.")
    ] = 0.0,
    query_headings: Annotated[str, typer.Option(help="By heading: degrees; photos within 30 of one are queries.")] = "",
    query_since: Annotated[str, typer.Option(help="By date: photos of this day or later are queries.")] = "",
    split_list: Annotated[Path | None, typer.Option(help="By list: CSV of photo_id (or path) and split.")] = None,
    val_fraction: options.ValFraction = 0.1,
    seed: Annotated[int, typer.Option(help="Seed of the splits.")] = 0,
    title: options.Title = "",
    licence: options.Licence = "",
    contents: options.Contents = True,
    force: options.Force = False,
    data_home: options.DataHome = None,
    cache: options.Cache = None,
) -> None:
    """Build a dataset from geotagged photos and a street map.

    Streets are cut at their crossings into sub-streets, the addresses; each place gets the one it is on. The folder has
    a report with a map.

    Example: bench data build --name my-city --photos photos.csv --streets city.osm.pbf
    """
    from ial_bench.geo.regions import whereabouts
    from ial_bench.partition.dataset import SET_ASIDE, build_dataset
    from ial_bench.partition.geojson import StreetKeys
    from ial_bench.partition.options import BuildOptions
    from ial_bench.partition.report import HTML, MARKDOWN
    from ial_bench.partition.splits import SplitRule

    if ambiguous not in {"nearest", "drop"}:
        raise ConfigError(f"--ambiguous {ambiguous} is unknown", "choose nearest or drop")
    pair = tuple(part.strip() for part in node_keys.split(",")) if node_keys else None
    if pair is not None and len(pair) != 2:
        raise ConfigError(f"--node-keys {node_keys} are not two", "write them as f_node,t_node")
    built = build_dataset(
        BuildOptions(
            photos=photos, out=out or folders.data_home(data_home) / name, name=name, streets=streets,
            osm_place=osm_place, images=images, street_keys=StreetKeys(name_key, street_neighbourhood_key, pair),
            streets_crs=streets_crs, language=language, street_words=street_words, neighbourhoods=neighbourhoods,
            neighbourhood_key=neighbourhood_key, neighbourhood=neighbourhood, tolerance_m=tolerance,
            min_length_m=min_length, min_places=min_places, beside_m=beside, max_distance_m=max_distance, tie_m=tie,
            keep_ambiguous=ambiguous == "nearest", geocoder=geocoder, geocoder_interval_s=geocoder_interval,
            geocoder_cache=folders.cache_home(cache) if geocoder else None, same_place_m=same_place,
            split=SplitRule(split, query_fraction, gap, numbers_of(query_headings), query_since, split_list,
                            val_fraction, seed),
            title=title, licence=licence, force=force, contents=contents,
        ),
        ConsoleReporter(),
    )  # fmt: skip
    typer.echo(
        f"{name}: {counted(built.counts)} photos of {len(built.places):,} places; {len(built.addresses):,} addresses"
    )
    typer.echo(f"  where on Earth: {whereabouts(built.photos.positions)}")
    how = ", ".join(f"{n:,} {reason}" for reason, n in built.match.counts().most_common())
    typer.echo(f"  places: {how}")
    aside = len(built.photos.set_aside)
    typer.echo(f"  {aside:,} photos set aside" + (f", see {built.folder / SET_ASIDE}" if aside else ""))
    left_out = built.source.skipped.most_common()
    if left_out:
        kinds = ", ".join(f"{n:,} {reason}" for reason, n in left_out[:_KINDS_SHOWN])
        more = f", and others, see {built.folder / MARKDOWN}" if len(left_out) > _KINDS_SHOWN else ""
        typer.echo(f"  not used of the street map: {kinds}{more}")
    for note in built.notes:
        typer.echo(f"  note: {note}")
    typer.echo(f"  report with a map: {built.folder / HTML}")
    shown = as_typed(name, out)
    typer.echo(f"next: bench data verify {shown}; bench run --methods all --dataset {shown}")


def blocks_of(text: str) -> tuple[int, int]:
    """Rows and columns from ``6x7``.

    Raises:
        ConfigError: not of that form.
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.strip().isdecimal() for p in parts):
        raise ConfigError(f"{text!r} is not a number of blocks", "write rows and columns, such as --blocks 6x7")
    return int(parts[0]), int(parts[1])


def box_of(text: str) -> tuple[float, float, float, float]:
    """South, west, north and east from ``37.77,-122.43,37.79,-122.40``.

    Raises:
        ConfigError: not of that form.
    """
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
    out: options.Out = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. [default: all cores]")] = None,
    data_home: options.DataHome = None,
) -> None:
    """Make a synthetic city.

    Streets built from a seed, or those of a map, photographed by a small renderer. Resumes a city that was begun.

    Example: bench data synth --seed 5 --blocks 6x7 --places 8 --name small-town

    Example: bench data synth --streets city.osm.pbf --bbox 37.77,-122.43,37.79,-122.40 --name drawn-city
    """
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
    folder = out or folders.data_home(data_home) / called
    report = ConsoleReporter()
    city = None
    if street_map is not None:
        from ial_bench.synth.city import lay_map

        check_folder(folder, wanted, called, street_map.to_json())  # reading a city's streets takes a while
        city = lay_map(wanted, street_map, report.log)
    with report.track(city.n_photos if city else wanted.n_photos, f"synth {called}", "photos") as advance:
        data = make_city(folder, wanted, workers or usable_cores(), advance, called, report.log, city)
    made = f"{counted(data.counts())} photos of {wanted.size} px; {len(data.addresses):,} addresses"
    typer.echo(f"{called}: {made}; in {data.folder}")
    shown = as_typed(called, out)
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
