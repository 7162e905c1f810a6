"""`bench data caption`: captions for the photos of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ial_bench.cli import options

if TYPE_CHECKING:
    from ial_bench.captions.captioners import CaptionLength
    from ial_bench.datasets.dataset import Dataset
    from ial_bench.datasets.photos import Photos


def caption(
    dataset: Annotated[str, typer.Argument(help="Name of a dataset, or the path of its folder.")],
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
    from ial_bench.errors import ConfigError, unknown_name
    from ial_bench.folders import alone

    if least > most:
        raise ConfigError(f"--least {least} is more than --most {most}", "for instance --least 10 --most 30")
    folder = open_dataset(dataset, data_home).folder
    wanted = [name.strip() for name in splits.split(",") if name.strip()]
    for name in wanted:
        if name not in SPLITS:
            raise unknown_name("split", name, SPLITS, f"there are {', '.join(SPLITS)}")
    with alone(folder):
        _caption(folder, wanted, captioner, overwrite, CaptionLength(least, most), batch_size, device)


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
    from ial_bench.cli.console import ConsoleReporter
    from ial_bench.machine import resolve_device

    model = open_captioner(captioner, resolve_device(device), length)
    with ConsoleReporter().track(len(photos), f"caption {data.name}", "photos") as advance:
        done = write(data, photos, model, length, batch_size, advance)
    typer.echo(
        f"{data.name}: {done.written:,} captions by {captioner}, {done.short:,} of fewer than {length.least} words"
    )
    if done.resumed:
        typer.echo(f"  {done.resumed:,} of them from an earlier, interrupted call")
