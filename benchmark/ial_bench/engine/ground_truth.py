"""What answers are measured against, kept beside the results so that these can be read without the dataset.

    ground-truth/KEY.queries.parquet      one row per query, in the order of the predictions
    ground-truth/KEY.addresses.parquet    one row per address of the dataset

in the dataset's folder of results. KEY names the version of the dataset and the limit, so that runs on different photos
never share a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ial_bench.addresses import Address
from ial_bench.errors import AddressError, DataError, MismatchError
from ial_bench.geo.points import Points, haversine_m, unit_vectors
from ial_bench.json_files import digest
from ial_bench.parquet import RowsError, read_table, write_table

if TYPE_CHECKING:
    from ial_bench.datasets.dataset import Dataset
    from ial_bench.engine.record import DatasetRecord
    from ial_bench.engine.selection import Selection

FOLDER = "ground-truth"
_KEY_DIGITS = 16
_MOST_ADDRESS_BYTES = 1 << 28  # of the table of addresses in memory: no city has millions
_FIX = "`bench score --dataset NAME` writes it, where the dataset is"


@dataclass(frozen=True)
class GroundTruth:
    """The truth of a dataset's queries, and what is known of its addresses.

    Attributes:
        ids: [n] photo ids of the queries.
        paths: [n] below the images folder.
        places: int64 [n], a number per place.
        address_rows: int32 [n], index into `addresses`.
        positions: float64 [n, 2], degrees; NaN in results that were passed on without them.
        headings: float32 [n], degrees clockwise from north, NaN where unknown.
        train_m: float64 [n], metres to the nearest train photo; infinite without one.
        addresses: all addresses of the dataset, sorted by canonical text.
        candidate_rows: int32 [c], the address of each candidate.
        candidate_positions: float64 [c, 2], their centroids; NaN as `positions`.
        train_photos: int64 [c], train photos of each candidate.
    """

    ids: list[str]
    paths: list[str]
    places: npt.NDArray[np.int64]
    address_rows: npt.NDArray[np.int32]
    positions: Points
    headings: npt.NDArray[np.float32]
    train_m: npt.NDArray[np.float64]
    addresses: list[Address]
    candidate_rows: npt.NDArray[np.int32]
    candidate_positions: Points
    train_photos: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def labels(self) -> npt.NDArray[np.int32]:
        """int32 [n]: candidate index of each query's address, -1 where it is no candidate."""
        index = np.full(len(self.addresses), -1, dtype=np.int32)
        index[self.candidate_rows] = np.arange(len(self.candidate_rows))
        return index[self.address_rows]

    @cached_property
    def has_positions(self) -> bool:
        """Whether distances are known. Results that are passed on may leave positions out."""
        return not len(self) or bool(np.isfinite(self.positions).any())

    @cached_property
    def candidates(self) -> list[Address]:
        """The address of each candidate."""
        return [self.addresses[i] for i in self.candidate_rows]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what accuracies are measured against: queries, their places and addresses, and the candidates.

        Places count by which queries share one, not by their numbers. Positions and paths are left out.
        """
        _, first, place = np.unique(self.places, return_index=True, return_inverse=True)
        by_appearance = np.argsort(np.argsort(first))[place]
        return digest({
            "queries": self.ids, "places": by_appearance.tolist(), "addresses": [a.text for a in self.addresses],
            "address_of_query": self.address_rows.tolist(), "candidates": self.candidate_rows.tolist(),
        })  # fmt: skip

    @classmethod
    def of(cls, dataset: Dataset, selection: Selection) -> GroundTruth:
        """The truth of the selected queries, from the dataset itself."""
        queries, train, candidates = selection.queries, selection.train, dataset.candidates
        return cls(
            queries.ids, [queries.relative_path(i) for i in range(len(queries))], queries.places, queries.address_rows,
            queries.positions, queries.headings, _metres_to(train.positions, queries.positions), dataset.addresses,
            np.flatnonzero(dataset.candidate_of_address >= 0).astype(np.int32), candidates.positions,
            train.address_counts(),
        )  # fmt: skip

    def write(self, results: Path, key: str, *, again: bool = False) -> None:
        """Store it in the dataset's folder of results, unless it is already there.

        Args:
            results: the dataset's folder of results.
            key: of the photos.
            again: replace what is there.

        Raises:
            StorageError: the folder cannot be written to.
        """
        queries, addresses = _files(results, key)
        if not again and queries.is_file() and addresses.is_file():
            return
        n = len(self.addresses)
        known, centroids, photos = np.zeros(n, bool), np.full((n, 2), np.nan), np.zeros(n, np.int64)
        known[self.candidate_rows] = True
        centroids[self.candidate_rows], photos[self.candidate_rows] = self.candidate_positions, self.train_photos
        write_table(addresses, pa.table({
            "text": [a.text for a in self.addresses], "candidate": known, "lat": centroids[:, 0],
            "lon": centroids[:, 1], "train_photos": photos,
        }))  # fmt: skip
        write_table(queries, pa.table({
            "photo_id": self.ids, "path": self.paths, "place": self.places, "address": self.address_rows,
            "lat": self.positions[:, 0], "lon": self.positions[:, 1], "heading": self.headings,
            "train_m": self.train_m,
        }))  # fmt: skip

    @classmethod
    def read(cls, results: Path, key: str, queries: int | None = None) -> GroundTruth:
        """What `write` stored.

        Args:
            results: the dataset's folder of results.
            key: of the photos.
            queries: expected number, from a record; None: any.

        Raises:
            MismatchError: of another size.
            DataError: missing, damaged, or of another form.
        """
        files = _files(results, key)
        try:
            asked, addresses = read_table(files[0], rows=queries), read_table(files[1], most=_MOST_ADDRESS_BYTES)
            rows = asked["address"].to_numpy()
            parsed = [Address.parse(text) for text in addresses["text"].to_pylist()]
            candidate = np.flatnonzero(addresses["candidate"].to_numpy())
            if len(rows) and not 0 <= rows.min() <= rows.max() < len(parsed):
                raise DataError(f"{files[0]} names addresses that {files[1].name} lacks", _FIX)
            return cls(
                asked["photo_id"].to_pylist(), asked["path"].to_pylist(), asked["place"].to_numpy(), rows,
                np.stack([asked["lat"].to_numpy(), asked["lon"].to_numpy()], axis=1),
                asked["heading"].to_numpy(), asked["train_m"].to_numpy(), parsed, candidate.astype(np.int32),
                np.stack([addresses["lat"].to_numpy(), addresses["lon"].to_numpy()], axis=1)[candidate],
                addresses["train_photos"].to_numpy()[candidate],
            )  # fmt: skip
        except RowsError as error:
            raise MismatchError(f"{files[0]} does not hold the ground truth of its records: {error}", _FIX) from error
        except FileNotFoundError as error:
            raise DataError(f"no ground truth beside the results: {error.filename or files[0]}", _FIX) from error
        except (pa.ArrowException, OSError, KeyError, ValueError, AddressError) as error:
            raise DataError(f"{files[0]} and {files[1].name} do not hold ground truth: {error}", _FIX) from error


def ground_truth_key(dataset: DatasetRecord) -> str:
    """The key of the photos that a record is about."""
    limited = "" if dataset.limit is None else f"-limit{dataset.limit}"
    return dataset.digest[:_KEY_DIGITS] + limited


def _files(results: Path, key: str) -> tuple[Path, Path]:
    return results / FOLDER / f"{key}.queries.parquet", results / FOLDER / f"{key}.addresses.parquet"


def _metres_to(points: Points, queries: Points) -> npt.NDArray[np.float64]:
    """float64 [n]: metres on the great circle from each query to the nearest of `points`."""
    from scipy.spatial import KDTree

    if len(points) == 0 or len(queries) == 0:
        return np.full(len(queries), np.inf)
    tree = KDTree(unit_vectors(points), balanced_tree=False, compact_nodes=False)  # quickly built: few look-ups
    _, nearest = tree.query(unit_vectors(queries))
    return haversine_m(points[nearest], queries)
