"""The dataset folder on disk: what its files hold, and how they are written.

    dataset.toml        name, where the images lie, bounds of the city, how the dataset was made
    addresses.parquet   one row an address, sorted by canonical text
    photos.parquet      one row a photo, sorted by split and photo id
    streets.parquet     the street network, where there is one
    shards.parquet      where photos lie in tar shards, in the order of photos.parquet, where they do
    contents.parquet    SHA-256 of each photo's file, in the order of photos.parquet, where they were taken

``dataset.toml`` is written last: a folder without it is not a dataset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ial_bench.addresses import Address
from ial_bench.datasets.contents import CONTENTS, Sums, write_contents
from ial_bench.datasets.photos import SPLITS
from ial_bench.datasets.shards import SHARD_SCHEMA, SHARDS
from ial_bench.datasets.streets import STREETS, write_streets
from ial_bench.errors import ConfigError, DataError
from ial_bench.files import atomic_path, checked_name, make_folder, read_toml, storage_errors, write_text
from ial_bench.folders import LOCK, UNFINISHED, alone
from ial_bench.geo.lines import StreetLines
from ial_bench.geo.points import rolled, unrolled
from ial_bench.json_files import digest, read_json, write_json
from ial_bench.parquet import read_table

SCHEMA_VERSION = 1
DESCRIPTION, ADDRESSES, PHOTOS = "dataset.toml", "addresses.parquet", "photos.parquet"

ADDRESS_SCHEMA = pa.schema(
    [
        pa.field("text", pa.string(), nullable=False),  # canonical form
        pa.field("verbose", pa.string(), nullable=False),
        pa.field("street", pa.string(), nullable=False),
        pa.field("neighbourhood", pa.string(), nullable=False),
        pa.field("cross_streets", pa.list_(pa.string()), nullable=False),
    ]
)
PHOTO_SCHEMA = pa.schema(
    [
        pa.field("photo_id", pa.string(), nullable=False),  # unique
        pa.field("path", pa.string(), nullable=False),  # below the images folder, POSIX form
        pa.field("bytes", pa.int64(), nullable=False),  # size of the file
        pa.field("split", pa.string(), nullable=False),  # one of SPLITS
        pa.field("place_id", pa.string(), nullable=False),  # photos of one place succeed or fail together
        pa.field("address", pa.int32(), nullable=False),  # row of addresses.parquet
        pa.field("lat", pa.float64(), nullable=False),  # WGS84 degrees
        pa.field("lon", pa.float64(), nullable=False),
        pa.field("heading", pa.float32(), nullable=True),  # degrees clockwise from north
        pa.field("caption", pa.string(), nullable=False),  # empty where there is none
    ]
)
_SIDE_TABLES = (STREETS, SHARDS, CONTENTS)  # which a dataset may lack
_ROW_GROUP = 131_072


@dataclass(frozen=True)
class Bounds:
    """The city's box in WGS84 degrees; one across the antimeridian has its west east of its east, as in GeoJSON."""

    south: float
    west: float
    north: float
    east: float

    @classmethod
    def around(cls, points: npt.NDArray[np.float64]) -> Bounds:
        """A box that holds a city's photos but not a stray one.

        It reaches four times the span of the middle 80 % from the median, and no less than about 2 km, each way.
        """
        low, middle, high = np.percentile(points, [10, 50, 90], axis=0)
        if high[1] - low[1] > 180:
            low, middle, high = np.percentile(unrolled(points), [10, 50, 90], axis=0)
        reach = np.maximum(4 * (high - low), 0.02)
        return cls.of(middle - reach, middle + reach)

    @classmethod
    def of(cls, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> Bounds:
        """The box between two corners [2], whose longitudes may run on over the antimeridian."""
        (south, west), (north, east) = low.tolist(), high.tolist()
        if east - west >= 360:
            west, east = -180.0, 180.0
        (_, west), (_, east) = rolled(np.array([(south, west), (north, east)])).tolist()
        return cls(max(south, -90.0), west, min(north, 90.0), east)

    @classmethod
    def joined(cls, boxes: Sequence[Bounds]) -> Bounds:
        """A box that holds several."""
        turned = any(b.west > b.east for b in boxes)  # count from Greenwich eastward then
        wests = [b.west + 360 if turned and b.west < 0 else b.west for b in boxes]
        easts = [b.east + 360 if b.east < w else b.east for b, w in zip(boxes, wests, strict=True)]
        west, east = boxes[int(np.argmin(wests))].west, boxes[int(np.argmax(easts))].east
        if max(easts) - min(wests) >= 360:
            west, east = -180.0, 180.0
        return cls(min(b.south for b in boxes), west, max(b.north for b in boxes), east)

    def contain(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """[n]: whether each of [n, 2] lies inside; NaN does not."""
        lat, lon = points[:, 0], points[:, 1]
        behind, before = lon >= self.west, lon <= self.east
        across = behind | before if self.west > self.east else behind & before
        return np.asarray((lat >= self.south) & (lat <= self.north) & across)


@dataclass(frozen=True)
class Description:
    """What ``dataset.toml`` says.

    Attributes:
        name: the name it is found and reported by.
        title: the name a person reads.
        images: folder of the images, absolute, or relative to the dataset folder.
        bounds: the city's box.
        licence: terms of the photos, in words.
        made_by: how it was made: importer, its options, counts.
        backbone: encoder to use where the user names none; empty for the harness's default.
    """

    name: str
    title: str
    images: str
    bounds: Bounds
    licence: str = ""
    made_by: Mapping[str, Any] = field(default_factory=dict)
    backbone: str = ""

    def to_toml(self) -> str:
        """The text of ``dataset.toml``."""
        import tomli_w

        return tomli_w.dumps(
            {
                "schema_version": SCHEMA_VERSION,
                "name": self.name,
                "title": self.title,
                "images": self.images,
                "licence": self.licence,
                **({"backbone": self.backbone} if self.backbone else {}),
                "bounds": vars(self.bounds),
                "made_by": dict(self.made_by),
            }
        )

    @classmethod
    def read(cls, folder: Path) -> Description:
        """Read ``dataset.toml`` in `folder`.

        Raises:
            DataError: missing, not TOML, of a newer schema, or without a needed key.
        """
        path = folder / DESCRIPTION
        if not path.is_file():
            raise DataError(f"{folder} is not a dataset: no {DESCRIPTION} in it", "see `bench data --help`")
        data = read_toml(path)
        version = data.get("schema_version")
        if version != SCHEMA_VERSION:
            raise DataError(
                f"{path} has schema_version {version}, this ial-bench reads {SCHEMA_VERSION}",
                "upgrade ial-bench (pip install -U ial-bench) or import the dataset again",
            )
        try:
            bounds = Bounds(**{k: float(data["bounds"][k]) for k in ("south", "west", "north", "east")})
            return cls(
                checked_name(str(data["name"])), str(data.get("title", data["name"])), str(data["images"]), bounds,
                str(data.get("licence", "")), dict(data.get("made_by", {})), str(data.get("backbone", "")),
            )  # fmt: skip
        except ConfigError as error:
            raise DataError(f"{path}: {error.problem}", error.fix) from error
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} lacks a needed key or has a wrong value: {error}", "import it again") from error


def write_dataset(
    folder: Path,
    description: Description,
    addresses: Sequence[Address],
    verbose: Sequence[str],
    photos: Mapping[str, Any],
    streets: StreetLines | None = None,
    shards: pa.Table | None = None,
    contents: Sums | None = None,
) -> None:
    """Write a dataset folder.

    Args:
        folder: created if need be; files of an earlier dataset there are replaced.
        description: becomes ``dataset.toml``.
        addresses: sorted by canonical text.
        verbose: the spoken form of each address.
        photos: columns of `PHOTO_SCHEMA`, in any row order.
        streets: the street network, of rows of `addresses`; None for none.
        shards: columns of `SHARD_SCHEMA`, in the row order of `photos`; None where each photo is a file.
        contents: uint8 [n, 32], SHA-256 of the photos' files, in the row order of `photos`; None where not taken.

    Raises:
        StorageError: the folder cannot be written to.
    """
    clear_dataset(folder)
    address_table = pa.table(
        {
            "text": [a.text for a in addresses],
            "verbose": list(verbose),
            "street": [a.street for a in addresses],
            "neighbourhood": [a.neighbourhood for a in addresses],
            "cross_streets": [list(a.cross_streets) for a in addresses],
        },
        schema=ADDRESS_SCHEMA,
    )
    photo_table = pa.table({name: photos[name] for name in PHOTO_SCHEMA.names}, schema=PHOTO_SCHEMA)
    _write_table(folder / ADDRESSES, address_table)
    with atomic_path(folder / PHOTOS) as temporary:
        order = _write_photos(temporary, photo_table)
    if streets is not None:
        write_streets(folder, streets)
    if shards is not None:
        _write_table(folder / SHARDS, shards.select(SHARD_SCHEMA.names).take(order))
    if contents is not None:
        write_contents(folder, contents[order.to_numpy()])
    write_text(folder / DESCRIPTION, description.to_toml())


def refuse_dataset(out: Path, force: bool) -> None:
    """Refuse to write a dataset where there is one.

    Raises:
        ConfigError: `out` is a dataset already, and `force` is not given.
    """
    if (out / DESCRIPTION).exists() and not force:
        raise ConfigError(f"{out} is already a dataset", "give --force to replace it, or another --out")


@contextmanager
def new_dataset(out: Path, force: bool, made_by: str, *of: object) -> Iterator[None]:
    """Hold `out` while a dataset is made there, so that no other process writes to it.

    Args:
        out: the dataset folder.
        force: replace a dataset that is there.
        made_by: the command.
        of: what the dataset is made of, as texts. The same command may be repeated after a kill, without `force`.

    Raises:
        ConfigError: it is a dataset already, and `force` is not given, or another process writes to it.
        StorageError: the folder cannot be written to.
    """
    mark = {"made_by": made_by, "of": digest([str(part) for part in of])}
    if not (out / LOCK).exists():  # no lock is laid into a dataset; one that was left there is swept
        _refuse_another(out, force, mark)
    with alone(out):
        _refuse_another(out, force, mark)
        write_json(out / UNFINISHED, mark)
        try:
            yield
        except BaseException:
            _drop_mark(out)
            raise
    _drop_mark(out)  # last of all: until it is gone, the same command does not refuse the dataset that is there


def _refuse_another(out: Path, force: bool, mark: Mapping[str, str]) -> None:
    """Refuse a dataset that is there, unless this very command was killed when it had just written it."""
    try:
        begun = read_json(out / UNFINISHED)
    except DataError:
        begun = None
    if begun != mark:
        refuse_dataset(out, force)


def _drop_mark(out: Path) -> None:
    with storage_errors(out):
        (out / UNFINISHED).unlink(missing_ok=True)


def clear_dataset(folder: Path) -> None:
    """Make `folder`; if it is a dataset, it is one no more, until ``dataset.toml`` is written.

    Raises:
        StorageError: the folder cannot be written to.
    """
    make_folder(folder)
    with storage_errors(folder):
        for name in (DESCRIPTION, *_SIDE_TABLES):
            (folder / name).unlink(missing_ok=True)
        for name in (DESCRIPTION, ADDRESSES, PHOTOS, *_SIDE_TABLES):
            for half in folder.glob(f".{name}.*.tmp"):  # left by a killed process
                half.unlink(missing_ok=True)


def _write_table(path: Path, table: pa.Table) -> None:
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _write_photos(path: Path, photos: pa.Table) -> pa.Array:
    """Write `photos`, sorted; no row group has photos of two splits, so that a split can be read alone.

    Returns:
        The rows of `photos` as they are stored.
    """
    rank = pc.fill_null(pc.index_in(photos["split"], value_set=pa.array(SPLITS)), len(SPLITS))
    keys = pa.table({"rank": rank, "photo_id": photos["photo_id"]})
    order = pc.sort_indices(keys, sort_keys=[("rank", "ascending"), ("photo_id", "ascending")])
    ends = np.cumsum(np.bincount(rank.to_numpy(), minlength=len(SPLITS) + 1)).tolist()
    with pq.ParquetWriter(path, PHOTO_SCHEMA, compression="zstd") as writer:
        for start, end in zip([0, *ends], ends, strict=False):
            for first in range(start, end, _ROW_GROUP):
                writer.write_table(photos.take(order.slice(first, min(_ROW_GROUP, end - first))))
    return order


def replace_column(folder: Path, name: str, values: Sequence[Any]) -> None:
    """Replace a column of the photo table, whole or not at all.

    Args:
        folder: of the dataset.
        name: of the column.
        values: in the table's order.

    Raises:
        StorageError: the folder cannot be written to.
    """
    old = read_table(folder / PHOTOS)
    kind = PHOTO_SCHEMA.field(name)
    new = old.set_column(old.schema.get_field_index(name), kind, pa.array(values, kind.type))
    with atomic_path(folder / PHOTOS) as temporary:
        _write_photos(temporary, new)
