"""Columns of texts, chunk by chunk: never all of them as Python objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_CHUNK = 1 << 16


def texts(values: Sequence[str] | pa.ChunkedArray) -> pa.ChunkedArray:
    """`values` as a column."""
    return values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([pa.array(list(values), pa.string())])


def chunks(column: pa.ChunkedArray) -> Iterator[list[str]]:
    """The texts of `column`, some tens of thousands at a time."""
    for start in range(0, len(column), _CHUNK):
        yield column.slice(start, _CHUNK).to_pylist()


def mapped(column: pa.ChunkedArray, function: Callable[[str], str | None]) -> pa.ChunkedArray:
    """The column of what `function` makes of each text; None is null."""
    return pa.chunked_array(
        [pa.array([function(text) for text in chunk], pa.string()) for chunk in chunks(column)], pa.string()
    )


def numbered(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], pa.Array]:
    """[n] a number for each text, 0 upward as they come, and the text of each number. `column` has no nulls."""
    # One chunk: to join the dictionaries of many costs far more. large_string: together they may pass 2 GB.
    encoded = column.cast(pa.large_string()).combine_chunks().dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary
