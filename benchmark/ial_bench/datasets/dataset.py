"""A dataset in memory: columns on demand, splits as row numbers. No object per photo: 2 million rows fit."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ial_bench.addresses import Address
from ial_bench.datasets.contents import Contents, differ, read_contents
from ial_bench.datasets.photos import SPLITS, Candidates, Photos
from ial_bench.datasets.shards import SHARDS, Shards
from ial_bench.datasets.streets import read_streets
from ial_bench.datasets.table import ADDRESS_SCHEMA, ADDRESSES, PHOTO_SCHEMA, PHOTOS, Description
from ial_bench.errors import DataError
from ial_bench.geo.lines import StreetLines
from ial_bench.geo.points import centroids
from ial_bench.json_files import digest
from ial_bench.parquet import open_table, read_columns, schema_of

_HASH_ROWS = 1 << 18
_MOST_BYTES = 16 << 30  # of a whole table in memory, where columns are read one by one: tens of millions of photos


class Dataset:
    """A dataset folder, opened. Reads nothing but its description until a column is asked for.

    Raises:
        DataError: not a dataset folder, of a newer schema, or with damaged or missing tables or columns.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.description = Description.read(self.folder)
        self._photos = _open_table(self.folder / PHOTOS, PHOTO_SCHEMA)
        self._address_file = _open_table(self.folder / ADDRESSES, ADDRESS_SCHEMA)
        self._columns: dict[str, Any] = {}
        self._reading = RLock()  # a ParquetFile serves one thread at a time

    def __len__(self) -> int:
        return int(self._photos.metadata.num_rows)

    def __reduce__(self) -> tuple[type[Dataset], tuple[Path]]:
        return Dataset, (self.folder,)  # worker processes open the folder again

    @property
    def name(self) -> str:
        """The name it is reported by."""
        return self.description.name

    @property
    def images_folder(self) -> Path:
        """Where the images lie, or the shards that hold them."""
        return self.folder / self.description.images

    @cached_property
    def shards(self) -> Shards | None:
        """The tar shards that photos lie in; None where each is a file. The digest leaves it out."""
        return Shards(self.folder, self.images_folder, len(self)) if (self.folder / SHARDS).exists() else None

    @cached_property
    def contents(self) -> Contents | None:
        """The content digests of the photos; None where there are none. The digest leaves them out."""
        return read_contents(self.folder, len(self))

    @property
    def contents_digest(self) -> str | None:
        """SHA-256 over the content digests of all photos; None where there are none."""
        return None if self.contents is None else self.contents.digest

    @cached_property
    def addresses(self) -> list[Address]:
        """The addresses of all splits, sorted by canonical text."""
        table = self._read(self._address_file, None)
        return [
            Address(street, neighbourhood, tuple(cross))
            for street, neighbourhood, cross in zip(
                *(table[c].to_pylist() for c in ("street", "neighbourhood", "cross_streets")), strict=True
            )
        ]

    @cached_property
    def verbose_addresses(self) -> list[str]:
        """The spoken form of each address."""
        return self._read(self._address_file, ["verbose"])["verbose"].to_pylist()  # type: ignore[no-any-return]

    @cached_property
    def split_codes(self) -> npt.NDArray[np.int8]:
        """int8 [n]: the split of each row, as its place in `SPLITS`."""
        codes = pc.index_in(self.texts("split"), value_set=pa.array(SPLITS))
        if codes.null_count:
            raise DataError(f"{self.folder / PHOTOS} has a split that is none of {', '.join(SPLITS)}")
        return codes.to_numpy(zero_copy_only=False).astype(np.int8)  # type: ignore[no-any-return]

    def rows(self, *splits: str) -> npt.NDArray[np.int64]:
        """Row numbers of the photos in any of `splits`."""
        wanted = [SPLITS.index(s) for s in splits]
        return np.flatnonzero(np.isin(self.split_codes, wanted))

    def split(self, *splits: str) -> Photos:
        """The photos in any of `splits`."""
        return Photos(self, self.rows(*splits))

    @cached_property
    def _candidate_rows(self) -> npt.NDArray[np.int32]:
        rows = self.numbers("address")
        n_addresses = self._address_file.metadata.num_rows
        if ((rows < 0) | (rows >= n_addresses)).any():
            raise DataError(
                f"{self.folder / PHOTOS} has an address that is none of the {n_addresses} rows of {ADDRESSES}",
                f"`bench data verify {self.folder}` lists such photos; import the dataset again",
            )
        return np.unique(rows[self.rows("train", "database")]).astype(np.int32)

    @cached_property
    def candidates(self) -> Candidates:
        """The addresses of the train and database splits."""
        photos = self.split("train", "database")
        positions = centroids(photos.positions, photos.labels, len(self._candidate_rows))
        return Candidates([self.addresses[i] for i in self._candidate_rows], positions, self.split("database"))

    @cached_property
    def candidate_of_address(self) -> npt.NDArray[np.int32]:
        """int32 [n_addresses]: candidate index of each address, -1 where it is none."""
        index = np.full(self._address_file.metadata.num_rows, -1, dtype=np.int32)
        index[self._candidate_rows] = np.arange(len(self._candidate_rows))
        return index

    @cached_property
    def streets(self) -> StreetLines | None:
        """The street network, of rows of the addresses; None where there is none. The digest leaves it out."""
        return read_streets(self.folder, self._address_file.metadata.num_rows)

    @cached_property
    def candidate_streets(self) -> StreetLines | None:
        """The street network, of candidate indices; -1 for addresses that are no candidates."""
        if self.streets is None:
            return None
        return replace(self.streets, addresses=self.candidate_of_address[self.streets.addresses])

    @cached_property
    def place_codes(self) -> npt.NDArray[np.int64]:
        """int64 [n]: a number per place."""
        encoded = self.texts("place_id").dictionary_encode()
        return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)  # type: ignore[no-any-return]

    @cached_property
    def has_captions(self) -> bool:
        """Whether any train photo has a caption."""
        return any(self.split("train").captions)

    def counts(self) -> dict[str, int]:
        """Photos per split."""
        tally = Counter(self.split_codes.tolist())
        return {name: tally[i] for i, name in enumerate(SPLITS)}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that can change a number: all columns of both tables."""
        columns = tuple(PHOTO_SCHEMA.names)
        addresses = self._read(self._address_file, ADDRESS_SCHEMA.names).to_pydict()
        return digest({"photos": self.hash_rows(columns, None), "addresses": addresses})

    def is_version(self, digest: str, contents_digest: str | None) -> bool:
        """Whether it is the dataset of these digests; contents are compared where both are known."""
        return self.digest == digest and not differ(self.contents_digest, contents_digest)

    def numbers(self, column: str) -> npt.NDArray[Any]:
        """A numeric column, [n]. Kept once read."""
        with self._reading:
            if column not in self._columns:
                self._columns[column] = self._column(column).to_numpy()
        return self._columns[column]  # type: ignore[no-any-return]

    def texts(self, column: str) -> Any:
        """A text column as a pyarrow array. Kept once read."""
        with self._reading:
            if column not in self._columns:
                # large_string: the texts of a column together may pass 2 GB.
                self._columns[column] = pc.cast(self._column(column), pa.large_string()).combine_chunks()
        return self._columns[column]

    def texts_of(self, column: str, rows: npt.NDArray[np.int64]) -> list[str]:
        """A text column's values in `rows`."""
        return self.texts(column).take(pa.array(rows)).to_pylist()  # type: ignore[no-any-return]

    def hash_rows(self, columns: tuple[str, ...], rows: npt.NDArray[np.int64] | None) -> str:
        """SHA-256 over `columns` of `rows` (None: all), independent of how Parquet stores them."""
        total = hashlib.sha256()
        everything = np.arange(len(self)) if rows is None else rows
        for name in columns:
            total.update(name.encode() + b"\0")
            texts = pa.types.is_string(PHOTO_SCHEMA.field(name).type)
            for start in range(0, len(everything), _HASH_ROWS):
                some = everything[start : start + _HASH_ROWS]
                if texts:
                    values = self.texts(name).take(pa.array(some))
                    lengths = pc.binary_length(values).to_numpy(zero_copy_only=False).astype("<i8")
                    total.update(lengths.tobytes())
                    total.update("".join(values.to_pylist()).encode())
                else:
                    total.update(np.ascontiguousarray(self.numbers(name)[some]).tobytes())
        return total.hexdigest()

    def _column(self, name: str) -> pa.ChunkedArray:
        column = self._read(self._photos, [name])[name]
        if column.null_count and not PHOTO_SCHEMA.field(name).nullable:
            raise DataError(f"{self.folder / PHOTOS} has {column.null_count:,} photos without {name}")
        return column

    def _read(self, file: pq.ParquetFile, columns: list[str] | None) -> pa.Table:
        try:
            with self._reading:
                return read_columns(file, columns)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(f"a table in {self.folder} is damaged: {error}", "import the dataset again") from error


def _open_table(path: Path, schema: pa.Schema) -> pq.ParquetFile:
    try:
        file = open_table(path, most=_MOST_BYTES, mapped=True)
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}", "import the dataset again") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}", "import the dataset again") from error
    found = schema_of(file)
    if missing := [n for n in schema.names if n not in found.names]:
        raise DataError(
            f"{path} has no column {' nor '.join(missing)}; it has {', '.join(found.names)}",
            "import the dataset again",
        )
    if wrong := [n for n in schema.names if found.field(n).type != schema.field(n).type]:
        wants = ", ".join(f"{n} is {found.field(n).type}, not {schema.field(n).type}" for n in wrong)
        raise DataError(f"{path} has columns of wrong type: {wants}", "import the dataset again")
    return file
