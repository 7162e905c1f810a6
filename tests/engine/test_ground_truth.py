"""Ground truth beside results: what a dataset says of its queries, and back from its files."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyproj import Geod

from ial_bench.addresses import Address
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.ground_truth import GroundTruth, ground_truth_key
from ial_bench.errors import DataError
from support.made_city import truth_of, write_city
from support.made_records import make_record, run_baselines


@pytest.fixture
def city(tmp_path: Path) -> Dataset:
    """Ash and Cedar have train photos, Birch a database photo, Elm is asked for alone."""
    addresses = [Address(street, "Old Town") for street in ("Ash Lane", "Birch Lane", "Cedar Lane", "Elm Lane")]
    return write_city(
        tmp_path / "city",
        addresses,
        split=["train", "train", "train", "database", "query", "query", "query"],
        place=["a", "a", "b", "c", "d", "d", "e"],
        address=[0, 0, 2, 1, 0, 3, 1],
        lat=[40.0, 40.0, 40.01, 40.02, 40.001, 40.013, 40.02],
        lon=[-80.0] * 7,
    )


def same(a: GroundTruth, b: GroundTruth) -> bool:
    pairs = [(getattr(a, f.name), getattr(b, f.name)) for f in fields(GroundTruth)]
    return all(np.array_equal(x, y, equal_nan=True) if isinstance(x, np.ndarray) else x == y for x, y in pairs)


def test_it_says_what_the_dataset_says(city: Dataset) -> None:
    truth = truth_of(city)
    assert truth.labels.tolist() == [0, -1, 1]
    assert [a.street for a in truth.candidates] == ["Ash Lane", "Birch Lane", "Cedar Lane"]
    assert truth.train_photos.tolist() == [2, 0, 1]
    assert truth.places[0] == truth.places[1] != truth.places[2]
    np.testing.assert_allclose(truth.candidate_positions[:, 0], [40.0, 40.02, 40.01], atol=1e-9)
    geodesic = [Geod(ellps="WGS84").inv(-80, a, -80, b)[2] for a, b in ((40.001, 40), (40.013, 40.01), (40.02, 40.01))]
    np.testing.assert_allclose(truth.train_m, geodesic, rtol=0.006)  # the sphere's error


def test_what_is_written_is_read(city: Dataset, tmp_path: Path) -> None:
    truth = truth_of(city)
    truth.write(tmp_path / "results", "key")
    assert same(GroundTruth.read(tmp_path / "results", "key"), truth)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "results").rglob("*.parquet")}
    truth.write(tmp_path / "results", "key")
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "results").rglob("*.parquet")} == before
    for file in before:
        file.write_bytes(b"damaged")
    truth.write(tmp_path / "results", "key", again=True)
    assert same(GroundTruth.read(tmp_path / "results", "key"), truth)


def test_a_run_leaves_it_beside_its_record(tiny_city: Dataset, tmp_path: Path) -> None:
    whole, limited = (run_baselines(tiny_city, tmp_path, ["majority"], limit=n)[0] for n in (None, 3))
    keys = [ground_truth_key(r.dataset) for r in (whole, limited)]
    assert keys[0] != keys[1]
    folder = tmp_path / "results" / tiny_city.name
    assert same(GroundTruth.read(folder, keys[0]), truth_of(tiny_city))
    assert len(GroundTruth.read(folder, keys[1])) == 3


def test_keys_tell_versions_and_limits_apart() -> None:
    made = [make_record(dataset_digest=d * 64, limit=n).dataset for d in "ab" for n in (None, 5, 6)]
    assert len({ground_truth_key(d) for d in made}) == 6


def test_missing_and_damaged_files_are_named(city: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no ground truth") as caught:
        GroundTruth.read(tmp_path, "key")
    assert "bench score" in str(caught.value.fix)
    truth_of(city).write(tmp_path, "key")
    file = tmp_path / "ground-truth" / "key.queries.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match="do not hold ground truth"):
        GroundTruth.read(tmp_path, "key")


def test_of_another_size_than_the_record_says(city: Dataset, tmp_path: Path) -> None:
    truth_of(city).write(tmp_path, "key")
    assert len(GroundTruth.read(tmp_path, "key", 3)) == 3
    with pytest.raises(DataError, match=r"does not hold the ground truth .*: 3 rows instead of 4"):
        GroundTruth.read(tmp_path, "key", 4)


@pytest.mark.parametrize("which", ["queries", "addresses"])
def test_rows_without_end_are_refused_unread(
    city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """A few kilobytes that stand for two million rows; their number in the record does not help."""
    truth_of(city).write(tmp_path, "key")
    file = tmp_path / "ground-truth" / f"key.{which}.parquet"
    n, table = 2_000_000, pq.read_table(file)
    zeros = {"string": pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), ["a"]),
             "bool": pa.array(np.zeros(n, bool))}  # fmt: skip
    columns = {f.name: zeros.get(str(f.type), pa.array(np.zeros(n))) for f in table.schema}
    pq.write_table(pa.table(columns), file)
    assert file.stat().st_size < 200_000
    monkeypatch.setattr("ial_bench.engine.ground_truth._MOST_ADDRESS_BYTES", 1 << 24)
    with pytest.raises(DataError, match=r"ground truth.*: (2,000,000 rows instead of 3|too large)"):
        GroundTruth.read(tmp_path, "key", 3)
