"""`bench data`: what is done to a dataset: verify, show, caption, take a part of it, join, export."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ial_bench import folders
from ial_bench.cli import build, imports, options
from ial_bench.cli.console import ConsoleReporter, as_typed, counted, print_json, print_rows
from ial_bench.errors import ConfigError
from ial_bench.machine import usable_cores

if TYPE_CHECKING:
    from ial_bench.captions.captioners import CaptionLength
    from ial_bench.datasets.dataset import Dataset
    from ial_bench.datasets.photos import Photos

_SHOWN = 10  # photos of other content
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}

Name = Annotated[str | None, typer.Option(help="Name to run the new dataset by. [default: made of the options]")]

app = typer.Typer(rich_markup_mode=None, help="Import and verify datasets.", no_args_is_help=True)
app.add_typer(imports.app, name="import")
app.command("build")(build.build)
app.command("synth")(build.synth)


@app.command("show")
def show(
    dataset: options.Dataset,
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
    from ial_bench.files import write_bytes

    if sheet.suffix.lower() != ".png":
        raise ConfigError(f"{sheet} is not a PNG", "give a name that ends in .png")
    picture = contact_sheet(open_dataset(dataset, data_home), rows, columns, cell)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    write_bytes(sheet, buffer.getvalue())
    typer.echo(f"{sheet}: {picture.width} x {picture.height} px")


@app.command("caption")
def caption(
    dataset: options.Dataset,
    captioner: Annotated[
        str,
        typer.Option(
            help="blip-large, blip-base, blip:FOLDER, coca:MODEL/PRETRAINED_OR_FILE or a .jsonl or .csv file."
        ),
    ] = "blip-large",
    splits: Annotated[str, typer.Option(help="Comma-separated: captions are used in training alone.")] = "train,val",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Caption photos that have one, too.")] = False,
    least: Annotated[int, typer.Option(min=1, help="Words at least.")] = 10,
    most: Annotated[int, typer.Option(min=1, help="Words at most.")] = 30,
    batch_size: Annotated[int, typer.Option(min=1, help="Photos at once.")] = 16,
    device: options.Device = "auto",
    data_home: options.DataHome = None,
) -> None:
    """Caption the photos of a dataset.

    Captions begin with "A street view of" and have 10 to 30 words, as in the AddressCLIP paper. They become part of the
    dataset, whose digest changes. An interrupted call goes on where it stopped. Lines of a .jsonl file are
    {"photo_id": ..., "caption": ...}; a .csv file has the columns photo_id and caption.

    Example: bench data caption my-city --captioner blip-large
    """
    from ial_bench.captions.captioners import CaptionLength
    from ial_bench.datasets.known import open_dataset
    from ial_bench.datasets.photos import SPLITS
    from ial_bench.folders import alone

    if least > most:
        raise ConfigError(f"--least {least} is more than --most {most}", "for instance --least 10 --most 30")
    folder = open_dataset(dataset, data_home).folder
    wanted = options.listed(splits)
    for name in wanted:
        options.check_known("split", name, SPLITS)
    with alone(folder):
        _caption(folder, wanted, captioner, overwrite, CaptionLength(least, most), batch_size, device)


@app.command("contents")
def contents(
    dataset: options.Dataset,
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


@app.command("subset")
def subset(
    dataset: options.Dataset,
    coverage: Annotated[float, typer.Option(help="Share of train and val photos to keep, by whole places.")],
    seed: Annotated[int, typer.Option(help="Which places.")] = 0,
    name: Name = None,
    out: options.Out = None,
    force: options.Force = False,
    data_home: options.DataHome = None,
) -> None:
    """Keep a share of the train places, for coverage studies.

    Queries and candidates stay the same; every address keeps a place. Photos are shared with the whole.

    Example: bench data subset pitts-ial --coverage 0.125 --seed 0
    """
    from ial_bench.datasets.derive import take_places
    from ial_bench.datasets.known import open_dataset

    data = open_dataset(dataset, data_home)
    name = name or f"{data.name}-coverage-{coverage:g}-seed-{seed}"
    _tell_made(take_places(data, coverage, seed, name, out or folders.data_home(data_home) / name, force), out)


@app.command("join")
def join(
    datasets: Annotated[list[str], typer.Argument(help="Two or more datasets: names, or paths of their folders.")],
    name: Name = None,
    out: options.Out = None,
    force: options.Force = False,
    data_home: options.DataHome = None,
) -> None:
    """Join datasets of several cities: a query may be given an address of any of them.

    Photo and place ids begin with the name of their dataset. Photos stay where they are.

    Example: bench data join pitts-ial sf-ial-base
    """
    from ial_bench.datasets.derive import join as join_datasets
    from ial_bench.datasets.known import open_dataset

    parts = [open_dataset(dataset, data_home) for dataset in datasets]
    name = name or "+".join(data.name for data in parts)
    joined = join_datasets(parts, name, out or folders.data_home(data_home) / name, force)
    _tell_made(joined, out)
    without = [shown for shown, data in zip(datasets, parts, strict=True) if data.contents is None]
    if without and len(without) < len(parts):
        typer.echo(f"note: no content digests, for {', '.join(without)} has none: `bench data contents` gives them")


@app.command("export")
def export(
    dataset: options.Dataset,
    out: Annotated[Path, typer.Option(help="Dataset folder to write.")],
    webdataset: Annotated[
        bool, typer.Option("--webdataset", help="Photos in tar shards, WebDataset's layout.")
    ] = False,
    shard_size: Annotated[str, typer.Option(help="Most bytes of a shard, such as 500MB.")] = "1GB",
    force: options.Force = False,
    data_home: options.DataHome = None,
) -> None:
    """Write a dataset with its photos in tar shards.

    Runs, features and the digest stay those of the dataset. An interrupted export goes on where it stopped.

    Example: bench data export sf-ial-large --webdataset --out sf-shards
    """
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
    typer.echo(f"next: bench data verify {as_typed(data.name, out)}")


@app.command("verify")
def verify(
    dataset: options.Dataset,
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not read the photos; only look that they are there.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that decode. [default: all cores]")] = None,
    data_home: options.DataHome = None,
    as_json: options.AsJson = False,
) -> None:
    """Check a dataset.

    Photos present and decodable, no doubles, positions, places, addresses, the name. Exit 1 if it is not sound.

    Example: bench data verify cambridge --quick
    """
    from dataclasses import asdict

    from ial_bench.datasets.known import open_dataset
    from ial_bench.datasets.verify import verify as check

    data = open_dataset(dataset, data_home)
    with ConsoleReporter().track(len(data), f"verify {data.name}", "photos") as advance:
        found = check(data, quick=quick, workers=workers or usable_cores(), advance=advance)
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


def _caption(
    folder: Path, splits: list[str], captioner: str, overwrite: bool, length: CaptionLength, batch_size: int,
    device: str,
) -> None:  # fmt: skip
    import numpy as np

    from ial_bench.captions.captioning import drop_finished, is_file_spec
    from ial_bench.datasets.dataset import Dataset

    data = Dataset(folder)
    photos = data.split(*splits)
    if not overwrite:
        photos = photos.part(np.flatnonzero([not text for text in photos.captions]))
    if not len(photos):
        drop_finished(data)
        typer.echo(f"{data.name}: no photo of {', '.join(splits)} lacks a caption; --overwrite makes them anew")
        return
    if is_file_spec(captioner):
        _from_file(data, photos, Path(captioner), length)
    else:
        _from_model(data, photos, captioner, length, batch_size, device)


def _from_file(data: Dataset, photos: Photos, file: Path, length: CaptionLength) -> None:
    from ial_bench.captions.captioning import put_captions, read_caption_file
    from ial_bench.datasets.importing.photo_files import keyed_as

    ids = data.texts("photo_id").to_pylist()
    found = keyed_as(read_caption_file(file), ids)
    wanted = set(photos.ids)
    strange = found.keys() - set(ids)
    known = {i: text for i, text in found.items() if i in wanted or i in strange}
    done = put_captions(data, known, file.name, length)
    typer.echo(f"{data.name}: {done.written:,} captions from {file}, {done.short:,} of fewer than {length.least} words")
    if without := len(wanted) - done.written:
        typer.echo(f"  {without:,} photos have none in the file")


def _from_model(
    data: Dataset, photos: Photos, captioner: str, length: CaptionLength, batch_size: int, device: str
) -> None:
    from ial_bench.captions.captioners import open_captioner
    from ial_bench.captions.captioning import caption as write
    from ial_bench.machine import resolve_device

    model = open_captioner(captioner, resolve_device(device), length)
    with ConsoleReporter().track(len(photos), f"caption {data.name}", "photos") as advance:
        done = write(data, photos, model, length, batch_size, advance)
    typer.echo(
        f"{data.name}: {done.written:,} captions by {captioner}, {done.short:,} of fewer than {length.least} words"
    )
    if done.resumed:
        typer.echo(f"  {done.resumed:,} of them from an earlier, interrupted call")


def _tell_made(data: Dataset, out: Path | None) -> None:
    typer.echo(f"{data.name}: {counted(data.counts())} photos; {len(data.candidates):,} candidates")
    typer.echo(f"next: bench run --methods all --dataset {as_typed(data.name, out)}")
