"""Predictions on disk: nothing changes on the way, and damage is noticed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ial_bench.engine.predictions import join, read_chunk, read_predictions, write_chunk, write_predictions
from ial_bench.errors import DataError, PredictionError
from ial_bench.topk import TopK


def answers(n: int, k: int, positions: bool, seed: int = 0) -> TopK:
    rng = np.random.default_rng(seed)
    where = rng.uniform([-90, -180], [90, 180], size=(n, 2)) if positions else None
    return TopK.from_scores(rng.normal(size=(n, k + 3)), k, where)


def same(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic]) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def equal(a: TopK, b: TopK) -> bool:
    """To the bit."""
    if a.positions is None or b.positions is None:
        positions = a.positions is b.positions
    else:
        positions = same(a.positions, b.positions)
    sums = [np.zeros(0) if t.log_sum is None else t.log_sum for t in (a, b)]
    return same(a.indices, b.indices) and same(a.scores, b.scores) and positions and same(*sums)


SHAPES = pytest.mark.parametrize(("n", "k"), [(5, 4), (5, 1), (1, 4), (1, 1)])
POSITIONS = pytest.mark.parametrize("positions", [False, True], ids=["without positions", "with positions"])


@SHAPES
@POSITIONS
def test_a_chunk_is_read_as_it_was_written(tmp_path: Path, n: int, k: int, positions: bool) -> None:
    top = answers(n, k, positions)
    write_chunk(tmp_path / "c.npz", top)
    back = read_chunk(tmp_path / "c.npz")
    assert back is not None
    assert equal(back, top)


def test_a_missing_chunk_is_none(tmp_path: Path) -> None:
    assert read_chunk(tmp_path / "c.npz") is None


def test_a_chunk_cut_off_anywhere_is_none(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    write_chunk(path, answers(3, 2, positions=True))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert read_chunk(path) is None, length


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_a_chunk_with_any_byte_changed_is_none_or_unharmed(tmp_path: Path, flip: int) -> None:
    path, top = tmp_path / "c.npz", answers(3, 2, positions=True)
    write_chunk(path, top)
    whole = path.read_bytes()
    noticed = 0
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
        back = read_chunk(path)
        noticed += back is None
        assert back is None or equal(back, top), f"byte {at} changes the answers"
    assert noticed > len(whole) / 2


def test_another_file_in_a_chunks_place_is_none(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    path.write_bytes(b"hello")
    assert read_chunk(path) is None
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    assert read_chunk(path) is None
    np.savez(path, other=np.zeros(3))
    assert read_chunk(path) is None


@POSITIONS
def test_chunks_are_joined_in_order(positions: bool) -> None:
    parts = [answers(n, 2, positions, seed=n) for n in (3, 1, 2)]
    whole = join(parts, 2)
    assert len(whole) == 6
    assert whole.indices.tolist() == [row for p in parts for row in p.indices.tolist()]
    assert whole.scores.tolist() == [row for p in parts for row in p.scores.tolist()]
    told = [row for p in parts if p.positions is not None for row in p.positions.tolist()]
    assert ([] if whole.positions is None else whole.positions.tolist()) == told


def test_no_chunks_are_no_answers_of_the_right_width() -> None:
    whole = join([], 4)
    assert whole.indices.shape == whole.scores.shape == (0, 4)
    assert whole.indices.dtype == np.int32
    assert whole.scores.dtype == np.float32
    assert whole.positions is None


def test_positions_for_some_chunks_only_are_an_error() -> None:
    with pytest.raises(PredictionError, match="positions are given for some photos only"):
        join([answers(2, 1, positions=True), answers(2, 1, positions=False)], 1)


@pytest.mark.parametrize(("n", "k"), [(5, 4), (5, 1), (1, 1), (0, 3), (0, 1)])
@POSITIONS
def test_predictions_are_read_as_they_were_written(tmp_path: Path, n: int, k: int, positions: bool) -> None:
    top, ids = answers(n, k, positions), [f"photo {i} of Käthe's" for i in range(n)]
    write_predictions(tmp_path / "p.parquet", ids, top)
    read_ids, back = read_predictions(tmp_path / "p.parquet")
    assert read_ids == ids
    assert equal(back, top)


def test_predictions_of_several_row_groups_keep_their_order(tmp_path: Path) -> None:
    n = 70_000
    top = TopK(np.arange(2 * n, dtype=np.int32).reshape(n, 2), np.zeros((n, 2), np.float32))
    write_predictions(tmp_path / "p.parquet", [str(i) for i in range(n)], top)
    assert pq.ParquetFile(tmp_path / "p.parquet").num_row_groups > 1
    ids, back = read_predictions(tmp_path / "p.parquet")
    assert ids == [str(i) for i in range(n)]
    assert equal(back, top)


def test_the_file_has_the_columns_that_are_documented(tmp_path: Path) -> None:
    top = answers(2, 3, positions=True)
    assert top.positions is not None
    assert top.log_sum is not None
    write_predictions(tmp_path / "p.parquet", ["a", "b"], top)
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.to_pydict() == {
        "photo_id": ["a", "b"],
        "candidates": top.indices.tolist(),
        "scores": top.scores.tolist(),
        "log_sum": top.log_sum.tolist(),
        "lat": top.positions[:, 0].tolist(),
        "lon": top.positions[:, 1].tolist(),
    }


def test_equal_answers_give_equal_bytes_and_the_digest_is_of_them(tmp_path: Path) -> None:
    ids = ["a", "b", "c"]
    first = write_predictions(tmp_path / "1.parquet", ids, answers(3, 2, positions=True))
    assert write_predictions(tmp_path / "2.parquet", ids, answers(3, 2, positions=True)) == first
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()
    assert hashlib.sha256((tmp_path / "1.parquet").read_bytes()).hexdigest() == first
    assert write_predictions(tmp_path / "3.parquet", ids, answers(3, 2, positions=True, seed=1)) != first


def test_predictions_cut_off_anywhere_are_a_data_error(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    write_predictions(path, ["a", "b", "c"], answers(3, 2, positions=True))
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"p\.parquet does not hold predictions"):
            read_predictions(path)


@pytest.mark.parametrize(
    "columns",
    [
        {"photo_id": ["a"]},
        {"photo_id": ["a"], "candidates": [[1]], "scores": [[1.0]]},
        {"candidates": pa.FixedSizeListArray.from_arrays([1], 1)},
    ],
    ids=["too few columns", "lists of any length", "no scores"],
)
def test_a_table_of_another_form_is_a_data_error(tmp_path: Path, columns: dict[str, object]) -> None:
    pq.write_table(pa.table(columns), tmp_path / "p.parquet")
    with pytest.raises(DataError, match=r"p\.parquet does not hold predictions"):
        read_predictions(tmp_path / "p.parquet")


def test_missing_predictions_are_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such predictions"):
        read_predictions(tmp_path / "p.parquet")


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is of another size than its record says is refused before it is read."""

    def read(*_: object, **__: object) -> None:
        pytest.fail("it was read")

    monkeypatch.setattr(pq.ParquetFile, "read", read)


@pytest.mark.usefixtures("unread")
def test_more_rows_than_queries_are_refused_unread(tmp_path: Path) -> None:
    n = 500_000
    top = TopK(np.zeros((n, 2), np.int32), np.zeros((n, 2), np.float32))
    write_predictions(tmp_path / "p.parquet", ["a"] * n, top)
    assert (tmp_path / "p.parquet").stat().st_size < 40_000
    with pytest.raises(DataError, match=r"p\.parquet does not hold .*: 500,000 rows instead of 20") as caught:
        read_predictions(tmp_path / "p.parquet", 20, 2)
    assert "--rerun" in (caught.value.fix or "")


@pytest.mark.usefixtures("unread")
def test_other_candidates_than_the_record_says_are_refused_unread(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.parquet", ["a"], TopK(np.zeros((1, 9), np.int32), np.zeros((1, 9), np.float32)))
    with pytest.raises(DataError, match="9 candidates to a query instead of 5"):
        read_predictions(tmp_path / "p.parquet", 1, 5)
