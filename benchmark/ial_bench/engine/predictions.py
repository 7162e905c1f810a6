"""Predictions on disk: chunks while a run is going on, one Parquet file when it is done.

The Parquet file has one row a query: ``photo_id``, ``candidates`` (k candidate indices), ``scores``; for methods whose
scores are logits ``log_sum`` (of all candidates: see `TopK`); for methods that predict positions ``lat`` and ``lon``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ial_bench.errors import DataError, MismatchError, PredictionError
from ial_bench.files import atomic_path, sha256_file
from ial_bench.parquet import RowsError, open_table, read_columns, read_table, schema_of, write_table
from ial_bench.topk import TopK

_ROW_GROUP = 65_536
_AGAIN = "run it again with --rerun"


def write_chunk(path: Path, top: TopK) -> None:
    """Store the answers to some queries, whole or not at all."""
    # Missing positions are stored as an array of width 0, so that a lost member is always noticed.
    positions = np.zeros((len(top), 0)) if top.positions is None else top.positions
    log_sum = np.zeros((len(top), 0), np.float32) if top.log_sum is None else top.log_sum[:, None]
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, indices=top.indices, scores=top.scores, positions=positions, log_sum=log_sum)


def read_chunk(path: Path) -> TopK | None:
    """What `write_chunk` stored, None if it is missing or damaged."""
    try:
        # Opened here, since numpy leaves a damaged archive's file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            positions, log_sum = stored["positions"], stored["log_sum"]
            return TopK(
                stored["indices"], stored["scores"], positions if positions.shape[1] else None,
                log_sum[:, 0] if log_sum.shape[1] else None,
            )  # fmt: skip
    except Exception:  # noqa: BLE001 - damage shows as errors of many types; the chunk is then made again
        return None


def join(chunks: list[TopK], k: int) -> TopK:
    """The answers to successive chunks as one; `k` is the width where there are none.

    Raises:
        PredictionError: some have positions and others not.
    """
    if not chunks:
        return TopK(np.zeros((0, k), np.int32), np.zeros((0, k), np.float32))
    positions = [c.positions for c in chunks if c.positions is not None]
    if positions and len(positions) < len(chunks):
        raise PredictionError("positions are given for some photos only", "give them for all photos or for none")
    log_sums = [c.log_sum for c in chunks if c.log_sum is not None]
    return TopK(
        np.concatenate([c.indices for c in chunks]),
        np.concatenate([c.scores for c in chunks]),
        np.concatenate(positions) if positions else None,
        np.concatenate(log_sums) if len(log_sums) == len(chunks) else None,
    )


def write_predictions(path: Path, ids: list[str], top: TopK) -> str:
    """Store all answers; returns the SHA-256 of the file."""
    k = top.indices.shape[1]
    columns: dict[str, pa.Array] = {
        "photo_id": pa.array(ids, pa.string()),
        "candidates": _lists(top.indices.astype(np.int32), k),
        "scores": _lists(top.scores.astype(np.float32), k),
    }
    if top.log_sum is not None:
        columns["log_sum"] = pa.array(top.log_sum.astype(np.float32))
    if top.positions is not None:
        columns |= {"lat": pa.array(top.positions[:, 0]), "lon": pa.array(top.positions[:, 1])}
    write_table(path, pa.table(columns), row_group_size=_ROW_GROUP)
    return sha256_file(path)


def read_predictions(path: Path, queries: int | None = None, k: int | None = None) -> tuple[list[str], TopK]:
    """Query ids and answers.

    Args:
        path: the file.
        queries: expected number, from its record; None: any.
        k: expected candidates per query, from its record; None: any.

    Raises:
        MismatchError: of another size.
        DataError: missing, damaged, or of another form.
    """
    try:
        table = _table(path, queries, k)
        width = table.schema.field("candidates").type.list_size
        shape = (len(table), width)
        indices = table["candidates"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(shape)
        scores = table["scores"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(shape)
        positions = None
        if "lat" in table.column_names:
            positions = np.stack([table["lat"].to_numpy(), table["lon"].to_numpy()], axis=1)
        log_sum = table["log_sum"].to_numpy() if "log_sum" in table.column_names else None
        return table["photo_id"].to_pylist(), TopK(indices, scores, positions, log_sum)
    except RowsError as error:
        raise MismatchError(f"{path} does not hold the predictions of its record: {error}", _AGAIN) from error
    except FileNotFoundError as error:
        raise DataError(f"no such predictions: {path}", _AGAIN) from error
    except (pa.ArrowException, OSError, KeyError, ValueError, AttributeError) as error:
        raise DataError(f"{path} does not hold predictions: {error}", _AGAIN) from error


def _table(path: Path, queries: int | None, k: int | None) -> pa.Table:
    """The table, whose size is checked before it is read; `RowsError` where it is another."""
    if queries is None:
        return read_table(path)
    with open_table(path, rows=queries) as file:
        width = schema_of(file).field("candidates").type.list_size
        if k is not None and width != k:
            raise RowsError(f"{width:,} candidates to a query instead of {k:,}")
        return read_columns(file)


def _lists(values: npt.NDArray[np.generic], k: int) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), k)
