"""Datasets made of others: a part of the train places, or several cities joined. Photos stay where they are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ial_bench.addresses import Address
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.known import own_name
from ial_bench.datasets.places import cut_val
from ial_bench.datasets.shards import moved_index, read_index
from ial_bench.datasets.table import (
    PHOTO_SCHEMA,
    PHOTOS,
    Bounds,
    Description,
    new_dataset,
    write_dataset,
)
from ial_bench.errors import ConfigError
from ial_bench.parquet import read_table


def take_places(data: Dataset, coverage: float, seed: int, name: str, out: Path, force: bool = False) -> Dataset:
    """A dataset of a share of the train and val places; queries and database photos are all kept.

    Places are drawn until they hold the share of the photos, and every address keeps at least one for training, so
    the candidates stay the same. With one seed, less coverage is a subset of more.

    Args:
        data: the whole.
        coverage: share of the photos, above 0 and at most 1.
        seed: which draw.
        name: of the new dataset.
        out: folder to write.
        force: replace a dataset that is there.

    Raises:
        ConfigError: no such share, a name that it cannot have, `out` is a dataset already, or another process writes
            there.
        StorageError: `out` cannot be written to.
    """
    own_name(name)
    if not 0 < coverage <= 1:
        raise ConfigError(f"--coverage {coverage} is not above 0 and at most 1", "give a share such as 0.125")
    with new_dataset(out, force, "bench data subset", name, data.digest, data.images_folder, coverage, seed):
        return _take_places(data, coverage, seed, name, out)


def _take_places(data: Dataset, coverage: float, seed: int, name: str, out: Path) -> Dataset:
    keep = np.ones(len(data), dtype=np.bool_)
    for split in ("train", "val"):
        rows = data.rows(split)
        places = pa.chunked_array([data.texts("place_id").take(pa.array(rows))])
        dropped = cut_val(places, data.numbers("address")[rows], 1 - coverage, seed, f"coverage of {split}")
        keep[rows[dropped]] = False
    photos = _photos(data).filter(pa.array(keep))
    contents = data.contents
    made_by = {
        "importer": "subset", "of": data.name, "of_digest": data.digest, "coverage": coverage, "coverage_seed": seed,
        "photos_left_out": int((~keep).sum()),
    }  # fmt: skip
    description = data.description
    write_dataset(
        out,
        Description(
            name, f"{description.title}, coverage {coverage:g}", str(data.images_folder.resolve()),
            description.bounds, description.licence, made_by, description.backbone,
        ),
        data.addresses, data.verbose_addresses, dict(zip(photos.column_names, photos.columns, strict=True)),
        data.streets, read_index(data.folder).filter(pa.array(keep)) if data.shards else None,
        contents.sums[keep] if contents else None,
    )  # fmt: skip
    return Dataset(out)


def join(datasets: Sequence[Dataset], name: str, out: Path, force: bool = False) -> Dataset:
    """One dataset of several: a query may be given an address of any of them.

    Photo and place ids get the name of their dataset before them, ``NAME/``, so that results stay apart. It has
    content digests where all of them have.

    Args:
        datasets: two or more, of different names.
        name: of the new dataset.
        out: folder to write.
        force: replace a dataset that is there.

    Raises:
        ConfigError: fewer than two, two of one name, an address that is in two of them, a name that the new one cannot
            have, `out` is a dataset already, or another process writes there.
        StorageError: `out` cannot be written to.
    """
    own_name(name)
    names = [data.name for data in datasets]
    if len(set(names)) < max(2, len(names)):
        raise ConfigError(f"cannot join {', '.join(names) or 'nothing'}", "name two or more different datasets")
    with new_dataset(out, force, "bench data join", name, *((d.name, d.digest, d.images_folder) for d in datasets)):
        return _join(datasets, name, out)


def _join(datasets: Sequence[Dataset], name: str, out: Path) -> Dataset:
    names = [data.name for data in datasets]
    addresses, verbose, rows_of = _united(datasets)
    root = Path(os.path.commonpath([data.images_folder.resolve() for data in datasets]))
    tables, indexes = [], []
    sharded = any(data.shards for data in datasets)
    for data, rows in zip(datasets, rows_of, strict=True):
        photos = _photos(data)
        below = data.images_folder.resolve().relative_to(root).as_posix()
        columns = dict(zip(photos.column_names, photos.columns, strict=True))
        columns["photo_id"] = _before(f"{data.name}/", photos["photo_id"])
        columns["place_id"] = _before(f"{data.name}/", photos["place_id"])
        columns["path"] = photos["path"] if below == "." else _before(f"{below}/", photos["path"])
        columns["address"] = pa.chunked_array([pa.array(rows[photos["address"].to_numpy()], pa.int32())])
        tables.append(pa.table(columns, schema=PHOTO_SCHEMA))
        if sharded:
            index = read_index(data.folder) if data.shards else None
            indexes.append(moved_index(index, below, tables[-1]["path"]))
    whole = pa.concat_tables(tables)
    contents = [data.contents.sums for data in datasets if data.contents]
    backbones = {data.description.backbone for data in datasets}
    write_dataset(
        out,
        Description(
            name, " + ".join(data.description.title for data in datasets), str(root),
            Bounds.joined([data.description.bounds for data in datasets]),
            "; ".join(dict.fromkeys(data.description.licence for data in datasets if data.description.licence)),
            {"importer": "join", "of": names, "of_digests": [data.digest for data in datasets]},
            backbones.pop() if len(backbones) == 1 else "",
        ),
        addresses, verbose, dict(zip(whole.column_names, whole.columns, strict=True)),
        shards=pa.concat_tables(indexes) if sharded else None,
        contents=np.concatenate(contents) if len(contents) == len(datasets) else None,
    )  # fmt: skip
    return Dataset(out)


def _photos(data: Dataset) -> pa.Table:
    return read_table(data.folder / PHOTOS, PHOTO_SCHEMA.names)


def _before(prefix: str, texts: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(pa.scalar(prefix), texts, "")


def _united(datasets: Sequence[Dataset]) -> tuple[list[Address], list[str], list[npt.NDArray[np.int32]]]:
    """All addresses sorted by text, their spoken forms, and by dataset, the new row of each old one."""
    whose: dict[tuple[str, str, tuple[str, ...]], str] = {}
    entries: list[tuple[str, Address, str]] = []
    for data in datasets:
        for address, verbose in zip(data.addresses, data.verbose_addresses, strict=True):
            if (other := whose.setdefault(address.key, data.name)) != data.name:
                raise ConfigError(
                    f"{address.text!r} is an address of {other} and of {data.name}: which city would be meant?",
                    "join cities whose addresses differ",
                )
            entries.append((address.text, address, verbose))
    entries.sort(key=lambda entry: entry[0])
    row_of = {address.key: row for row, (_, address, _) in enumerate(entries)}
    rows = [np.array([row_of[a.key] for a in data.addresses], dtype=np.int32) for data in datasets]
    return [address for _, address, _ in entries], [verbose for _, _, verbose in entries], rows
