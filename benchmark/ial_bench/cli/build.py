"""`bench data build`: a dataset from photos and a street map."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ial_bench.cli import options

_KINDS_SHOWN = 8


def numbers_of(text: str) -> tuple[float, ...]:
    """Numbers from ``90,270``.

    Raises:
        ConfigError: not of that form.
    """
    from ial_bench.errors import ConfigError

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
    out: Annotated[Path | None, typer.Option(help="Dataset folder to write. [default: NAME in the data home]")] = None,
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
    val_fraction: Annotated[float, typer.Option(help="Share of train photos, by place, that becomes val.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Seed of the splits.")] = 0,
    title: Annotated[str, typer.Option(help="Title for people.")] = "",
    licence: Annotated[str, typer.Option(help="Terms of the photos, in words.")] = "",
    contents: options.Contents = True,
    force: Annotated[bool, typer.Option("--force", help="Replace a dataset that is there.")] = False,
    data_home: options.DataHome = None,
    cache: options.Cache = None,
) -> None:
    """Build a dataset from geotagged photos and a street map.

    Streets are cut at their crossings into sub-streets, the addresses; each place gets the one it is on. The folder has
    a report with a map.

    Example: bench data build --name my-city --photos photos.csv --streets city.osm.pbf
    """
    from ial_bench.cli.console import ConsoleReporter
    from ial_bench.errors import ConfigError
    from ial_bench.folders import cache_home
    from ial_bench.folders import data_home as home
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
            photos=photos, out=out or home(data_home) / name, name=name, streets=streets, osm_place=osm_place,
            images=images, street_keys=StreetKeys(name_key, street_neighbourhood_key, pair), streets_crs=streets_crs,
            language=language, street_words=street_words, neighbourhoods=neighbourhoods,
            neighbourhood_key=neighbourhood_key, neighbourhood=neighbourhood, tolerance_m=tolerance,
            min_length_m=min_length, min_places=min_places, beside_m=beside, max_distance_m=max_distance, tie_m=tie,
            keep_ambiguous=ambiguous == "nearest", geocoder=geocoder, geocoder_interval_s=geocoder_interval,
            geocoder_cache=cache_home(cache) if geocoder else None, same_place_m=same_place,
            split=SplitRule(split, query_fraction, gap, numbers_of(query_headings), query_since, split_list,
                            val_fraction, seed),
            title=title, licence=licence, force=force, contents=contents,
        ),
        ConsoleReporter(),
    )  # fmt: skip
    counts = ", ".join(f"{n:,} {part}" for part, n in built.counts.items() if n)
    typer.echo(f"{name}: {counts} photos of {len(built.places):,} places; {len(built.addresses):,} addresses")
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
    shown = name if out is None else str(out) if "/" in str(out) else f"./{out}"
    typer.echo(f"next: bench data verify {shown}; bench run --methods all --dataset {shown}")
