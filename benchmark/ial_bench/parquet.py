"""Parquet files: written completely or not at all, and read only if their size in memory is plausible.

A repeated value is stored once, so that a few kilobytes may unpack to gigabytes. The size of numbers follows from the
file's metadata. Texts are read dictionary-encoded, and written out only where their mean length is plausible; pyarrow
cannot do so with texts in lists.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ial_bench.files import atomic_path, check_regular

MOST_BYTES = 4 << 30
"""Largest table in memory, where its size is not known beforehand."""
MOST_TEXT = 1024
"""Largest mean length of a column's texts, in bytes."""
_VALUE = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "BYTE_ARRAY": 4}  # bytes in memory, where it is not 8
_SLACK = 1 << 20

Source = Path | bytes


class RowsError(ValueError):
    """A table with another number of rows, or of values in a row, than it should have."""


def read_table(
    source: Source, columns: list[str] | None = None, *, rows: int | None = None, most: int = MOST_BYTES
) -> pa.Table:
    """Read a table that is no larger than it should be.

    Args:
        source: the file, or its bytes.
        columns: to read; None: all.
        rows: that it must have; None: any number.
        most: bytes in memory.

    Raises:
        RowsError: it has another number of rows.
        ValueError: it is larger.
        pa.ArrowException: it is damaged.
        OSError: it cannot be read.
    """
    with open_table(source, rows=rows, most=most) as file:
        return read_columns(file, columns)


def open_table(
    source: Source, *, rows: int | None = None, most: int = MOST_BYTES, mapped: bool = False
) -> pq.ParquetFile:
    """Open a table after a check of its size; `read_columns` reads from it.

    Args:
        source: as for `read_table`.
        rows: as for `read_table`.
        most: as for `read_table`.
        mapped: read through a map of the file, which several columns and processes share.

    Raises:
        RowsError: as `read_table`.
        ValueError: as `read_table`.
        pa.ArrowException: as `read_table`.
        OSError: as `read_table`.
    """
    meta = pq.read_metadata(_opened(source))
    groups = [meta.row_group(g) for g in range(meta.num_row_groups)]
    if sum(group.num_rows for group in groups) != meta.num_rows or any(group.num_rows < 0 for group in groups):
        raise ValueError("its counts of rows contradict each other")
    if rows is not None and meta.num_rows != rows:
        raise RowsError(f"{meta.num_rows:,} rows instead of {rows:,}")
    size = sum(
        max(_VALUE.get(chunk.physical_type, 8) * max(chunk.num_values, group.num_rows), chunk.total_uncompressed_size)
        for group in groups
        for chunk in (group.column(c) for c in range(meta.num_columns))
    )
    if size > most:
        raise ValueError(f"too large: {size / 1e6:,.0f} MB in memory, where {most / 1e6:,.0f} are the most")
    columns = [meta.schema.column(c) for c in range(meta.num_columns)]
    texts = [c.path for c in columns if c.physical_type == "BYTE_ARRAY" and c.max_repetition_level == 0]
    # pre_buffer is for stores that answer slowly: local files gain nothing, and two threads that read a mapped one at
    # once lose each other's buffers (pyarrow 26).
    return pq.ParquetFile(_opened(source), metadata=meta, memory_map=mapped, pre_buffer=False, read_dictionary=texts)


def schema_of(file: pq.ParquetFile) -> pa.Schema:
    """The columns of a table that `open_table` opened, as `read_columns` gives them."""
    return pa.schema([field.with_type(_plain(field.type)) for field in file.schema_arrow])


def read_columns(file: pq.ParquetFile, columns: list[str] | None = None) -> pa.Table:
    """Columns of a table that `open_table` opened.

    Raises:
        ValueError: its texts are longer than texts should be.
        pa.ArrowException: it is damaged.
        OSError: it cannot be read.
    """
    table = file.read(columns)
    for field, column in zip(table.schema, table.columns, strict=True):
        size = sum(_bytes_of(chunk) for chunk in column.chunks)
        if size > MOST_TEXT * len(column) + _SLACK:
            raise ValueError(f"too large: texts of {size / 1e6:,.0f} MB in {field.name}")
    schema = pa.schema([field.with_type(_plain(field.type)) for field in table.schema])
    plain = [c if c.type == field.type else c.cast(field.type) for c, field in zip(table.columns, schema, strict=True)]
    return pa.Table.from_arrays(plain, schema=schema)


def write_table(target: Path, table: pa.Table, **options: Any) -> None:
    """Write a table, whole or not at all; `options` are those of `pyarrow.parquet.write_table`.

    Raises:
        StorageError: the disk is full or cannot be written to.
    """
    with atomic_path(target) as temporary:
        pq.write_table(table, temporary, compression="zstd", **options)


def _opened(source: Source) -> Path | pa.BufferReader:
    if isinstance(source, bytes):
        return pa.BufferReader(source)
    check_regular(source)
    return source


def _plain(kind: pa.DataType) -> pa.DataType:
    """The value type of dictionary-encoded texts; other types as they are."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _bytes_of(chunk: pa.Array) -> int:
    """Bytes of a chunk of dictionary-encoded texts when they are written out; 0 for other columns."""
    if not pa.types.is_dictionary(chunk.type):
        return 0
    return int(pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices)).as_py() or 0)
