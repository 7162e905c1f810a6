"""Parquet files: written whole or not at all, and read where they are no larger in memory than they should be.

A value that repeats is stored once, so that a few kilobytes may stand for gigabytes. Numbers are counted in the file's
description. Texts are read as their different ones and a number for each row, and written out only where all of them
together are no longer than texts should be; pyarrow cannot do so with texts in lists.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ial_bench.files import atomic_path, check_regular

MOST_BYTES = 4 << 30
"""Of a table in memory, where nothing tells how large it should be."""
MOST_TEXT = 1024
"""Bytes of a text, in the mean over a column."""
_VALUE = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "BYTE_ARRAY": 4}  # bytes in memory, where it is not 8
_SLACK = 1 << 20

Source = Path | bytes


class RowsError(ValueError):
    """A table of another number of rows, or of values in a row, than it should have."""


def read_table(
    source: Source, columns: list[str] | None = None, *, rows: int | None = None, most: int = MOST_BYTES
) -> pa.Table:
    """A table that is no larger than it should be.

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
    """A table whose description has been looked at; `read_columns` reads from it.

    Args:
        source: as for `read_table`.
        rows: as for `read_table`.
        most: as for `read_table`.
        mapped: read through a map of the file, which several columns and processes share.

    Raises:
        RowsError: as of `read_table`.
        ValueError: as of `read_table`.
        pa.ArrowException: as of `read_table`.
        OSError: as of `read_table`.
    """
    told = pq.read_metadata(_opened(source))
    groups = [told.row_group(g) for g in range(told.num_row_groups)]
    if sum(group.num_rows for group in groups) != told.num_rows or any(group.num_rows < 0 for group in groups):
        raise ValueError("its counts of rows contradict each other")
    if rows is not None and told.num_rows != rows:
        raise RowsError(f"{told.num_rows:,} rows instead of {rows:,}")
    size = sum(
        max(_VALUE.get(chunk.physical_type, 8) * max(chunk.num_values, group.num_rows), chunk.total_uncompressed_size)
        for group in groups
        for chunk in (group.column(c) for c in range(told.num_columns))
    )
    if size > most:
        raise ValueError(f"too large: {size / 1e6:,.0f} MB in memory, where {most / 1e6:,.0f} are the most")
    columns = [told.schema.column(c) for c in range(told.num_columns)]
    texts = [c.path for c in columns if c.physical_type == "BYTE_ARRAY" and c.max_repetition_level == 0]
    # pre_buffer is for stores that answer slowly: local files gain nothing, and two threads that read a mapped one at
    # once lose each other's buffers (pyarrow 26).
    return pq.ParquetFile(_opened(source), metadata=told, memory_map=mapped, pre_buffer=False, read_dictionary=texts)


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
    """Write a table, whole or not at all; `options` are as of `pyarrow.parquet.write_table`.

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
    """The type of texts that are read as numbers into a list; other types as they are."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _bytes_of(chunk: pa.Array) -> int:
    """What a part of a column of texts comes to when it is written out; 0 of other columns."""
    if not pa.types.is_dictionary(chunk.type):
        return 0
    return int(pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices)).as_py() or 0)
