"""Photos of a dataset and the addresses they may be given: what a method works with.

No pyarrow here: plugins import these names, and listing plugins is to stay fast.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from ial_bench import images
from ial_bench.addresses import Address
from ial_bench.errors import DataError, ImageError
from ial_bench.files import safe_relative
from ial_bench.geo.points import Points
from ial_bench.image_batch import ImageBatch
from ial_bench.json_files import digest

if TYPE_CHECKING:
    from ial_bench.datasets.contents import Contents
    from ial_bench.datasets.shards import Shards
    from ial_bench.geo.lines import StreetLines

SPLITS = ("train", "val", "database", "query")
"""In table order. `val` is cut from the released train split; `database` holds reference photos that are not
for training, where a dataset has such; `query` is the test split."""


class Candidates:
    """The addresses a query may be given: those of the train and database splits, sorted by canonical text.

    Attributes:
        addresses: the parsed addresses; a candidate's index is its place here.
        positions: float64 [n, 2], the mean position of each address's train and database photos.
        database: labelled reference photos that are not for training, empty where a dataset has none.
    """

    def __init__(self, addresses: list[Address], positions: Points, database: Photos) -> None:
        self.addresses = addresses
        self.positions = positions
        self.database = database

    def __len__(self) -> int:
        return len(self.addresses)

    @cached_property
    def texts(self) -> list[str]:
        """Canonical texts."""
        return [a.text for a in self.addresses]

    @property
    def streets(self) -> StreetLines | None:
        """Where the streets run, by candidate index; -1 for those that are no candidate's. None: not known."""
        return self.database.streets

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical texts in order."""
        return digest(self.texts)


class _Columns(Protocol):
    """What photos read of their dataset, which is a `Dataset`."""

    @property
    def name(self) -> str: ...
    @property
    def images_folder(self) -> Path: ...
    @property
    def shards(self) -> Shards | None: ...
    @property
    def contents(self) -> Contents | None: ...
    @property
    def candidates(self) -> Candidates: ...
    @property
    def candidate_of_address(self) -> npt.NDArray[np.int32]: ...
    @property
    def candidate_streets(self) -> StreetLines | None: ...
    @property
    def place_codes(self) -> npt.NDArray[np.int64]: ...
    def numbers(self, column: str) -> npt.NDArray[Any]: ...
    def texts(self, column: str) -> Any: ...
    def texts_of(self, column: str, rows: npt.NDArray[np.int64]) -> list[str]: ...
    def hash_rows(self, columns: tuple[str, ...], rows: npt.NDArray[np.int64] | None) -> str: ...


class Photos:
    """Some rows of a dataset: a split, or a part of one. What a method trains on.

    Labels and positions are here, so queries are never handed to a method as `Photos`. The dataset behind the
    rows is private for the same reason: it holds the other splits.

    Args:
        dataset: a `Dataset`, where the rows are.
        rows: int64 [n], row numbers.
    """

    def __init__(self, dataset: _Columns, rows: npt.NDArray[np.int64]) -> None:
        self._dataset = dataset
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def candidates(self) -> Candidates:
        """The candidate set that `labels` point into."""
        return self._dataset.candidates

    @property
    def streets(self) -> StreetLines | None:
        """The street network that `labels` point into; read from the disk when it is first asked for."""
        return self._dataset.candidate_streets

    @cached_property
    def labels(self) -> npt.NDArray[np.int32]:
        """int32 [n]: candidate index of each photo's address, -1 where it is not a candidate."""
        return self._dataset.candidate_of_address[self.address_rows]

    @cached_property
    def address_rows(self) -> npt.NDArray[np.int32]:
        """int32 [n]: row of each photo's address among all addresses of the dataset."""
        return np.asarray(self._dataset.numbers("address")[self.rows])

    @cached_property
    def positions(self) -> Points:
        """float64 [n, 2]: latitude and longitude in degrees."""
        return np.stack([self._dataset.numbers("lat")[self.rows], self._dataset.numbers("lon")[self.rows]], axis=1)

    @cached_property
    def headings(self) -> npt.NDArray[np.float32]:
        """float32 [n]: degrees clockwise from north, NaN where unknown."""
        return np.asarray(self._dataset.numbers("heading")[self.rows], dtype=np.float32)

    @cached_property
    def places(self) -> npt.NDArray[np.int64]:
        """int64 [n]: a number per place; photos of one place share it."""
        return np.asarray(self._dataset.place_codes[self.rows])

    @property
    def ids(self) -> list[str]:
        """Photo ids."""
        return self._texts("photo_id")

    @property
    def captions(self) -> list[str]:
        """Captions, empty where there is none."""
        return self._texts("caption")

    def address_counts(self) -> npt.NDArray[np.int64]:
        """int64 [n_candidates]: photos of each candidate address."""
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self.candidates)).astype(np.int64)

    def relative_path(self, i: int) -> str:
        """Path of photo i below the images folder."""
        return str(self._dataset.texts("path")[int(self.rows[i])])

    def path(self, i: int) -> Path:
        """The file of photo i. `read_bytes` serves photos in shards, too.

        Raises:
            DataError: its path leads out of the images folder, or it lies in a shard and has no file of its own.
        """
        if self.in_shard(i):
            raise DataError(f"{self.where(i)} is no file of its own", "read it with `Photos.read_bytes`")
        return self._dataset.images_folder / safe_relative(self.relative_path(i))

    def file(self, i: int) -> Path:
        """The file on the disk that holds photo i: its own, or the shard that it lies in.

        Raises:
            DataError: its path leads out of the images folder.
        """
        shards = self._shards_of(i)
        return self.path(i) if shards is None else shards.path(int(self.rows[i]))

    def in_shard(self, i: int) -> bool:
        """Whether photo i lies in a tar shard."""
        return self._shards_of(i) is not None

    def where(self, i: int) -> str:
        """Where photo i lies, in words: its file, or its path and shard.

        Raises:
            DataError: its path leads out of the images folder.
        """
        shards = self._shards_of(i)
        return str(self.path(i)) if shards is None else shards.where(int(self.rows[i]), self.relative_path(i))

    def file_bytes(self, i: int) -> int:
        """Size of photo i's file when the dataset was made."""
        return int(self._dataset.numbers("bytes")[self.rows[i]])

    def stored_bytes(self, i: int) -> int:
        """Size of photo i as it lies on the disk now, or as ``shards.parquet`` has it.

        Raises:
            DataError: its path leads out of the images folder.
            OSError: its file is missing.
        """
        shards = self._shards_of(i)
        return self.path(i).stat().st_size if shards is None else int(shards.size[self.rows[i]])

    def image(self, i: int) -> images.RGB:
        """Photo i, decoded: uint8 [height, width, 3].

        Raises:
            ImageError: missing, damaged or changed since the dataset was made.
        """
        return images.decode(self.read_bytes(i), self.where(i))

    def read_bytes(self, i: int) -> bytes:
        """Photo i as it was when the dataset was made, wherever it lies.

        Raises:
            DataError: its path leads out of the images folder, or the shards or content digests are of other photos.
            ImageError: missing, or changed since the dataset was made.
        """
        data, contents = self.as_stored(i), self._dataset.contents
        if contents is not None and not contents.holds(int(self.rows[i]), data):
            raise ImageError(
                f"{self.where(i)} has other content than when the dataset was made",
                "restore the photo; if the new one is meant, "
                f"`bench data contents {self._dataset.name} --overwrite`, and runs are made anew",
            )
        return data

    def as_stored(self, i: int) -> bytes:
        """Photo i as it lies on the disk now, if it has the size that it had; its content is not compared.

        Raises:
            DataError: as in `read_bytes`.
            ImageError: missing, or of another size.
        """
        shards = self._shards_of(i)
        if shards is None:
            data = images.read_bytes(self.path(i))
        else:
            data = shards.read(int(self.rows[i]), self.relative_path(i))
        images.check_size(data, self.file_bytes(i), self.where(i))
        return data

    def part(self, which: slice | npt.NDArray[np.int64]) -> Photos:
        """Some of these photos."""
        return Photos(self._dataset, self.rows[which])

    def __add__(self, other: Photos) -> Photos:
        if other._dataset is not self._dataset:
            raise ValueError("photos of two datasets cannot be joined")
        return Photos(self._dataset, np.concatenate([self.rows, other.rows]))

    def keys(self) -> npt.NDArray[np.uint64]:
        """uint64 [n]: an opaque number per photo, hashed from its id."""
        blocks = (hashlib.blake2b(i.encode(), digest_size=8).digest() for i in self.ids)
        return np.frombuffer(b"".join(blocks), dtype="<u8")

    def batch(self, part: slice = slice(None), *, oracle: bool = False) -> ImageBatch:
        """These photos as a method is asked about them: without labels, and without positions unless `oracle`."""
        photos = self.part(part)
        return ImageBatch(photos.image, photos.keys(), photos.positions if oracle else None, source=(self, part))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the image files in order: path, size and, where it is known, content of each."""
        files, contents = self._dataset.hash_rows(("path", "bytes"), self.rows), self._dataset.contents
        return files if contents is None else digest([files, contents.digest_of(self.rows)])

    def _shards_of(self, i: int) -> Shards | None:
        """The shards, where photo i lies in one of them."""
        shards = self._dataset.shards
        return shards if shards is not None and shards.holds(int(self.rows[i])) else None

    def _texts(self, column: str) -> list[str]:
        return self._dataset.texts_of(column, self.rows)
