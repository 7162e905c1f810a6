"""Parquet tables: written whole or not at all, and refused before they are read where they are too large."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ial_bench import parquet
from ial_bench.parquet import open_table, read_columns, read_table, schema_of, write_table

TABLE = pa.table(
    {
        "text": pa.array(["a", "ü", "a", ""], pa.string()),
        "none": pa.array(["a", None, "a", None], pa.string()),
        "texts": pa.array([["x", "y"], [], ["x"], ["z"]], pa.list_(pa.string())),
        "numbers": pa.FixedSizeListArray.from_arrays(pa.array(range(8), pa.int32()), 2),
        "points": pa.array([[0.5], [], [1.5, 2.5], [0.0]], pa.list_(pa.float64())),
        "flag": pa.array([True, False, None, True]),
        "bytes": pa.array([b"\xff", b"", b"\xff", b"x"]),
    }
)


def stored(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading is a failure: what is refused is refused before."""

    def read(*_: object, **__: object) -> None:
        pytest.fail("it was read")

    monkeypatch.setattr(pq.ParquetFile, "read", read)


class TestReading:
    @pytest.mark.parametrize("options", [{}, {"row_group_size": 1}, {"use_dictionary": False}], ids=str)
    def test_gives_what_pyarrow_gives(self, tmp_path: Path, options: dict[str, Any]) -> None:
        data = stored(TABLE, **options)
        (tmp_path / "t.parquet").write_bytes(data)
        schema = pq.read_table(tmp_path / "t.parquet").schema
        for source in (data, tmp_path / "t.parquet"):
            found = read_table(source, rows=4)
            assert found.schema == schema
            assert found.to_pydict() == TABLE.to_pydict()
            some = read_table(source, ["texts", "text"])
            assert some.column_names == ["texts", "text"]
            assert some.to_pydict() == TABLE.select(["texts", "text"]).to_pydict()
        with open_table(tmp_path / "t.parquet", mapped=True) as file:
            assert schema_of(file) == schema
            assert read_columns(file, ["none"])["none"].to_pylist() == ["a", None, "a", None]

    def test_an_empty_table(self) -> None:
        found = read_table(stored(TABLE.slice(0, 0)), rows=0)
        assert (found.column_names, len(found)) == (TABLE.column_names, 0)

    @settings(derandomize=True, deadline=None, max_examples=30)
    @given(st.lists(st.text(max_size=5) | st.none(), max_size=20))
    def test_any_texts(self, texts: list[str | None]) -> None:
        texts = [t if t is None else t.encode(errors="replace").decode() for t in texts]
        assert read_table(stored(pa.table({"t": pa.array(texts, pa.string())})))["t"].to_pylist() == texts

    def test_missing_and_damaged(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            read_table(tmp_path / "gone.parquet")
        with pytest.raises((pa.ArrowException, OSError)):
            read_table(stored(TABLE)[:-9])


@pytest.mark.usefixtures("unread")
class TestRefusals:
    def test_another_number_of_rows(self) -> None:
        data = stored(pa.table({"n": np.zeros(3_000_000, np.int64)}))
        assert len(data) < 20_000, "a few kilobytes"
        with pytest.raises(ValueError, match="3,000,000 rows instead of 20"):
            read_table(data, rows=20)

    def test_numbers_that_come_to_too_much(self) -> None:
        data = stored(pa.table({"n": np.zeros(3_000_000, np.int64)}))
        with pytest.raises(ValueError, match=r"too large: 24 MB in memory, where 10 are the most"):
            read_table(data, most=10_000_000)

    def test_lists_that_come_to_too_much(self) -> None:
        one = pa.array(np.zeros(3_000_000))
        for lists in (pa.FixedSizeListArray.from_arrays(one, 1_000_000), pa.array([one.to_numpy()])):
            with pytest.raises(ValueError, match="too large: 24 MB"):
                read_table(stored(pa.table({"n": lists})), rows=len(lists), most=10_000_000)

    def test_what_no_table_has(self) -> None:
        with pytest.raises(ValueError, match="too large"):
            read_table(stored(pa.table({"n": np.zeros(3, np.int64)})), most=10)


def test_texts_that_repeat_into_gigabytes() -> None:
    """3,000 times a text of a megabyte, stored once: never written out."""
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(3_000, np.int32)), pa.array(["x" * 1_000_000]))
    data = stored(pa.table({"text": texts}), dictionary_pagesize_limit=1 << 22)
    assert len(data) < 1_100_000
    with pytest.raises(ValueError, match="too large: texts of 3,000 MB in text"):
        read_table(data)


def test_texts_of_ordinary_length_are_let_through() -> None:
    texts = ["x" * 5_000] * 200 + ["y"] * 1_000
    assert read_table(stored(pa.table({"t": texts})))["t"].to_pylist() == texts
    assert sum(map(len, texts)) < parquet.MOST_TEXT * len(texts)


def test_a_table_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "new" / "table.parquet"
    write_table(file, TABLE)
    before = file.read_bytes()
    assert read_table(file).equals(TABLE)
    assert pq.read_metadata(file).row_group(0).column(0).compression == "ZSTD"
    with pytest.raises(TypeError):
        write_table(file, TABLE.slice(1), no_such_option=True)
    assert file.read_bytes() == before
    assert [f.name for f in file.parent.iterdir()] == [file.name]
