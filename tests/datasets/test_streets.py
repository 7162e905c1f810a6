"""The street network of a dataset: its file, what is refused, what verification says, and drawn cities' own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ial_bench.addresses import Address
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.streets import STREET_SCHEMA, STREETS, needed, read_streets, write_streets
from ial_bench.datasets.verify import verify
from ial_bench.errors import DataError, SkipMethod
from ial_bench.geo.lines import StreetLines
from ial_bench.geo.points import haversine_m
from ial_bench.synth.options import CityOptions
from ial_bench.synth.write import make_city
from ial_bench.testing import make_tiny_city
from support.made_city import write_city

LINES = StreetLines.of(
    [3, 0, 3], [np.array(line) for line in ([[1, 2], [3, 4]], [[5, 6], [7, 8], [5, 6.5]], [[-1, 180], [0, -180]])]
)
SMALL = CityOptions(seed=5, blocks=(2, 3), size=16, train_places=2, query_places=1, train_views=1, query_views=1)
SMALL_DIGEST = "aa65a9787b611379808860f0050384b9fa081bee4d953f81e8dae4b06f7f980f"
"""Of the city of `SMALL` before cities had a street network."""


def test_lines_come_back_sorted_and_the_order_is_no_content(tmp_path: Path) -> None:
    write_streets(tmp_path, LINES)
    found = read_streets(tmp_path, 4)
    assert found is not None
    assert found.addresses.tolist() == [0, 3, 3]
    assert found.starts.tolist() == [0, 3, 5, 7]
    for i, wanted in enumerate((1, 2, 0)):
        np.testing.assert_array_equal(found.line(i), LINES.line(wanted))
    kinds = [str(a.dtype) for a in (found.addresses, found.starts, found.points)]
    assert kinds == ["int32", "int64", "float64"]
    assert found.digest == LINES.digest
    first = (tmp_path / STREETS).read_bytes()
    write_streets(tmp_path, found)
    assert (tmp_path / STREETS).read_bytes() == first
    restored = StreetLines.restored(found.state())
    assert restored.digest == found.digest


def test_the_digest_tells_every_change() -> None:
    moved = LINES.points.copy()
    moved[0, 0] += 1e-12
    cut = StreetLines(LINES.addresses, np.array([0, 3, 5, 7]), LINES.points)  # the same points, other lines
    others = [replace(LINES, addresses=LINES.addresses + 1), replace(LINES, points=moved), cut]
    assert len({LINES.digest, *(o.digest for o in others)}) == 4


def test_a_folder_without_streets_and_a_network_without_lines(tmp_path: Path) -> None:
    assert read_streets(tmp_path, 4) is None
    with pytest.raises(SkipMethod, match="no street network"):
        needed(None)
    write_streets(tmp_path, StreetLines.of([], []))
    found = read_streets(tmp_path, 0)
    assert found is not None
    assert len(found) == 0
    with pytest.raises(ValueError, match="2 addresses for 1 lines"):
        StreetLines.of([1, 2], [np.zeros((2, 2))])


@pytest.mark.parametrize(
    ("address", "lat", "lon", "words"),
    [
        (4, [1.0, 2.0], [1.0, 2.0], "address 4, none of the dataset's 4"),
        (-1, [1.0, 2.0], [1.0, 2.0], "address -1"),
        (0, [1.0], [1.0], "fewer than 2 points"),
        (0, [], [], "fewer than 2 points"),
        (0, [1.0, float("nan")], [1.0, 2.0], "no latitude"),
        (0, [1.0, 2.0], [1.0, 180.5], "no latitude"),
        (0, [1.0, 2.0, 3.0], [1.0, 2.0], "more of one coordinate"),
        (0, [1.0, None], [1.0, 2.0], "missing"),
    ],
)
def test_wrong_lines_are_refused(tmp_path: Path, address: int, lat: list[float], lon: list[float], words: str) -> None:
    rows = {"address": [0, address], "lat": [[1.0, 2.0], lat], "lon": [[1.0, 2.0], lon]}
    pq.write_table(pa.table(rows, schema=STREET_SCHEMA), tmp_path / STREETS)
    with pytest.raises(DataError, match=words):
        read_streets(tmp_path, 4)


def test_damaged_files_and_other_columns_are_refused(tmp_path: Path) -> None:
    write_streets(tmp_path, LINES)
    whole = (tmp_path / STREETS).read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:200] + bytes(100) + whole[300:]):
        (tmp_path / STREETS).write_bytes(damaged)
        with pytest.raises(DataError):
            read_streets(tmp_path, 4)
    pq.write_table(pa.table({"address": [1]}), tmp_path / STREETS)
    with pytest.raises(DataError, match="columns"):
        read_streets(tmp_path, 4)
    for wrong in (StreetLines.of([0], [np.zeros((1, 2))]), StreetLines.of([-1], [np.zeros((2, 2))])):
        with pytest.raises(DataError):
            write_streets(tmp_path / "new", wrong)
        assert not (tmp_path / "new").exists()


def test_writing_a_dataset_anew_removes_the_streets_of_the_earlier(tmp_path: Path) -> None:
    before = make_tiny_city(tmp_path)
    assert before.streets is not None
    after = write_city(
        tmp_path, [Address("Elm Street", "Old Town", ("A", "B"))], split=["train"], place=["a"], address=[0],
        lat=[40.0], lon=[-80.0],
    )  # fmt: skip
    assert after.streets is None
    assert after.candidates.streets is None


def test_candidates_know_their_lines_and_others_are_nobodys(tmp_path: Path) -> None:
    addresses = [Address("Elm Street", "Old Town", (f"C{i}", f"D{i}")) for i in range(3)]
    data = write_city(
        tmp_path, addresses, split=["train", "query", "train"], place=list("abc"), address=[0, 1, 2], lat=[1.0, 2, 3],
        lon=[1.0, 2, 3],
    )  # fmt: skip
    digest = data.digest
    write_streets(tmp_path, StreetLines.of([0, 1, 2, 2], [np.full((2, 2), i) for i in range(4)]))
    data = Dataset(tmp_path)
    assert data.digest == digest
    assert data.streets is not None
    assert data.candidates.streets is not None
    assert data.streets.addresses.tolist() == [0, 1, 2, 2]
    assert data.candidates.streets.addresses.tolist() == [0, -1, 1, 1]
    np.testing.assert_array_equal(data.candidates.streets.points, data.streets.points)


def test_verification_of_the_street_network(tmp_path: Path) -> None:
    data = make_tiny_city(tmp_path)
    assert verify(data, quick=True).problems == []
    assert verify(data, quick=True).notes == []
    assert data.streets is not None
    points = data.streets.points.copy()
    points[2:4] += 0.5  # line 1, far from its photos but in the bounds
    points[5, 0] = 60.0  # line 2
    write_streets(tmp_path, StreetLines(data.streets.addresses[:5], data.streets.starts[:6], points[:10]))
    found = verify(Dataset(tmp_path), quick=True)
    assert [(p.kind, p.where) for p in found.problems] == [("street outside the city", data.addresses[2].text)]
    far = int((data.split("train").address_rows == 1).sum())
    assert found.notes == [
        f"{far} train photos are more than 100 m from every line of their own street",
        "1 candidate addresses have no line in the street network",
    ]
    (tmp_path / STREETS).write_bytes(b"PAR1")
    (problem,) = verify(Dataset(tmp_path), quick=True).problems
    assert problem.kind == "street network damaged"


def test_a_drawn_city_is_what_it_was_and_has_its_streets(tmp_path: Path) -> None:
    city = make_city(tmp_path, SMALL)
    assert city.digest == SMALL_DIGEST
    lines = city.streets
    assert lines is not None
    assert lines.addresses.tolist() == list(range(SMALL.n_sub_streets))
    assert np.diff(lines.starts).tolist() == [2] * len(lines)
    for i in range(len(lines)):
        assert 78 <= haversine_m(*lines.line(i)) <= 117  # a block
    photos = city.split("train", "val", "query")
    for i, label in enumerate(photos.address_rows):
        a, b = lines.line(int(label))
        # Nearly straight on: by way of the photo it is a few metres longer.
        assert haversine_m(a, photos.positions[i]) + haversine_m(photos.positions[i], b) < haversine_m(a, b) + 8


def test_a_city_of_an_earlier_release_is_given_its_streets(tmp_path: Path) -> None:
    city = make_city(tmp_path, SMALL)
    files = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    (tmp_path / STREETS).unlink()
    again = make_city(tmp_path, SMALL)
    assert again.streets is not None
    assert again.digest == city.digest
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == files
