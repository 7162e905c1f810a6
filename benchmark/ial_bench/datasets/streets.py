"""The street network of a dataset: polylines, each of an address of the dataset.

    streets.parquet     one row a polyline, sorted by address and points; a dataset may have none

An address is a named street between two cross streets, and its polylines are where that piece of street runs. It
may have several, or none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ial_bench.errors import DataError, SkipMethod
from ial_bench.files import atomic_path
from ial_bench.geo.lines import StreetLines
from ial_bench.geo.points import valid
from ial_bench.parquet import open_table, read_columns

STREETS = "streets.parquet"

STREET_SCHEMA = pa.schema(
    [
        pa.field("address", pa.int32(), nullable=False),  # row of addresses.parquet
        pa.field("lat", pa.list_(pa.float64()), nullable=False),  # WGS84 degrees, two points or more
        pa.field("lon", pa.list_(pa.float64()), nullable=False),  # as many
    ]
)
_MEND = "import the dataset again"


def needed(lines: StreetLines | None) -> StreetLines:
    """The street network of a dataset, for a method that reads it.

    Raises:
        SkipMethod: the dataset has none.
    """
    if lines is None:
        raise SkipMethod(
            f"the dataset has no street network ({STREETS}); drawn cities have one (`bench data synth`), and so have "
            "datasets that are made from a street map"
        )
    return lines


def write_streets(folder: Path, lines: StreetLines) -> None:
    """Write ``streets.parquet`` in a dataset folder, whole or not at all.

    Raises:
        DataError: a line of fewer than two points, an invalid point, an address below 0.
        StorageError: the folder cannot be written to.
    """
    _check(folder / STREETS, lines, None)
    lines = lines.ordered()
    lat, lon = (pa.ListArray.from_arrays(lines.starts.astype(np.int32), c) for c in lines.points.T.copy())
    table = pa.table({"address": lines.addresses, "lat": lat, "lon": lon}, schema=STREET_SCHEMA)
    with atomic_path(folder / STREETS) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_streets(folder: Path, n_addresses: int) -> StreetLines | None:
    """The street network in a dataset folder; None where it has none.

    Args:
        folder: of the dataset.
        n_addresses: rows of its ``addresses.parquet``.

    Raises:
        DataError: the file is damaged, or holds a line of fewer than two points, an invalid point, or an
            address that the dataset does not have.
    """
    path = folder / STREETS
    if not path.exists():
        return None
    try:
        with open_table(path, mapped=True) as file:
            if file.schema_arrow.remove_metadata() != STREET_SCHEMA:
                wanted = ", ".join(f"{f.name}: {f.type}" for f in STREET_SCHEMA)
                raise DataError(f"{path} has not the columns {wanted}", _MEND)
            table = read_columns(file).combine_chunks()
        lat, lon = (_flat(path, table[name]) for name in ("lat", "lon"))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}", _MEND) from error
    if not np.array_equal(lat[0], lon[0]):
        raise DataError(f"{path} has a line with more of one coordinate than of the other", _MEND)
    lines = StreetLines(table["address"].to_numpy(), lat[0], np.stack([lat[1], lon[1]], axis=1))
    _check(path, lines, n_addresses)
    return lines


def _flat(path: Path, column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """(starts [n + 1], all values) of a column of lists."""
    lists = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if lists.null_count or lists.values.null_count:
        raise DataError(f"{path} has a line with a point that is missing", _MEND)
    starts = lists.offsets.to_numpy().astype(np.int64)
    return starts - starts[0], lists.flatten().to_numpy(zero_copy_only=False)


def _check(path: Path, lines: StreetLines, n_addresses: int | None) -> None:
    short = np.flatnonzero(np.diff(lines.starts) < 2)
    if len(short):
        raise DataError(f"{path}: line {short[0]} has fewer than 2 points", _MEND)
    wrong = np.flatnonzero(~valid(lines.points))
    if len(wrong):
        row = int(np.searchsorted(lines.starts, wrong[0], side="right")) - 1
        raise DataError(f"{path}: line {row} has a point that is no latitude and longitude in degrees", _MEND)
    most = np.inf if n_addresses is None else n_addresses
    outside = np.flatnonzero((lines.addresses < 0) | (lines.addresses >= most))
    if len(outside):
        there = "the dataset's" if n_addresses is None else f"the dataset's {n_addresses:,}"
        raise DataError(
            f"{path}: line {outside[0]} is of address {lines.addresses[outside[0]]}, none of {there}", _MEND
        )
