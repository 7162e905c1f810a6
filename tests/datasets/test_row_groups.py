"""Row groups of the photo table: a split, or a part of the city, is read alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ial_bench.addresses import Address
from ial_bench.datasets import table
from ial_bench.datasets.table import PHOTOS
from support.made_city import write_city

SIZES = {"train": 70, "val": 9, "query": 30}


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pq.ParquetFile:
    monkeypatch.setattr(table, "_ROW_GROUP", 20)
    n = sum(SIZES.values())
    order = np.random.default_rng(0).permutation(n)
    write_city(
        tmp_path,
        [Address("A Street", "Town")],
        split=np.repeat(list(SIZES), list(SIZES.values()))[order],
        place=[f"{i}" for i in range(n)],
        address=np.zeros(n),
        lat=40 + order / n,
        lon=np.full(n, -80.0),
        ids=[f"{i:03d}.jpg" for i in order],  # sorted by name is sorted by latitude, as in SF-XL
    )
    return pq.ParquetFile(tmp_path / PHOTOS)


def test_hold_one_split_each(photos: pq.ParquetFile) -> None:
    groups = [photos.read_row_group(i)["split"].to_pylist() for i in range(photos.num_row_groups)]
    assert [len(g) for g in groups] == [20, 20, 20, 10, 9, 20, 10]
    assert [set(g) for g in groups] == [{"train"}] * 4 + [{"val"}] + [{"query"}] * 2


def test_say_what_they_hold(photos: pq.ParquetFile) -> None:
    """So a reader with a filter opens no others."""
    names = photos.schema_arrow.names
    for i in range(photos.num_row_groups):
        group = photos.metadata.row_group(i)
        content = photos.read_row_group(i)
        for column in ("split", "lat", "lon"):
            values = content[column].to_pylist()
            told = group.column(names.index(column)).statistics
            assert (told.min, told.max) == (min(values), max(values))


def test_a_part_of_the_city_is_few_of_them(photos: pq.ParquetFile) -> None:
    lat = photos.schema_arrow.names.index("lat")
    told = [photos.metadata.row_group(i).column(lat).statistics for i in range(photos.num_row_groups)]
    assert sum(s.min <= 40.1 for s in told) == 1
