"""A dataset folder: read a column at a time, identified by its contents, refused where it is damaged."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ial_bench.addresses import Address
from ial_bench.datasets import table
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.photos import SPLITS, Photos
from ial_bench.datasets.table import ADDRESSES, DESCRIPTION, PHOTO_SCHEMA, PHOTOS, Bounds, Description
from ial_bench.errors import DataError, ImageError, StorageError
from ial_bench.files import read_toml, write_text
from ial_bench.geo.points import haversine_m

STREETS = [Address(name, "Old Town") for name in ("Ash Lane", "Birch Lane", "Cedar Avenue", "Elm Street")]

# photo, split, place, address: Ash and Cedar are in train, Birch is in the database alone, Elm is only asked for.
ROWS = [
    ("a1", "train", "p1", 0),
    ("a2", "train", "p1", 0),
    ("a3", "val", "p2", 0),
    ("c1", "train", "p3", 2),
    ("b1", "database", "p4", 1),
    ("q1", "query", "p5", 0),
    ("q2", "query", "p6", 3),
    ("q3", "query", "p6", 1),
]


def columns(rows: list[tuple[str, str, str, int]] = ROWS) -> dict[str, list[Any]]:
    ids, splits, places, addresses = (list(column) for column in zip(*rows, strict=True))
    return {
        "photo_id": ids,
        "path": [f"{i}.png" for i in ids],
        "bytes": [100 + n for n in range(len(ids))],
        "split": splits,
        "place_id": places,
        "address": addresses,
        "lat": [40.0 + 0.001 * n for n in range(len(ids))],
        "lon": [-80.0 - 0.001 * n for n in range(len(ids))],
        "heading": [None if n == 1 else 90.0 * n for n in range(len(ids))],
        "caption": ["", "a street", *[""] * (len(ids) - 2)],
    }


def write(folder: Path, **changes: list[Any]) -> Path:
    description = Description("small", "Small town", "photos", Bounds(39.0, -81.0, 41.0, -79.0), "none", {"by": "hand"})
    table.write_dataset(folder, description, STREETS, [a.verbose for a in STREETS], columns() | changes)
    return folder


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table], **options: Any) -> None:
    pq.write_table(change(pq.read_table(path)), path, **options)


def changed(name: str, row: int, value: object) -> Callable[[pa.Table], pa.Table]:
    """A change of one value of one column."""

    def change(old: pa.Table) -> pa.Table:
        values = old[name].to_pylist()
        values[row] = value
        at = old.schema.get_field_index(name)
        return old.set_column(at, old.schema.field(at), pa.array(values, old.schema.field(at).type))

    return change


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "small")


@pytest.fixture
def data(folder: Path) -> Dataset:
    return Dataset(folder)


class TestReading:
    def test_rows_come_in_order_of_split_and_id(self, tmp_path: Path) -> None:
        shuffled = [ROWS[i] for i in (7, 2, 4, 0, 6, 1, 3, 5)]
        description = Description("s", "S", "photos", Bounds(0, 0, 1, 1))
        table.write_dataset(tmp_path / "s", description, STREETS, ["v"] * 4, columns(shuffled))
        photos = Photos(Dataset(tmp_path / "s"), np.arange(8))
        assert photos.ids == ["a1", "a2", "c1", "a3", "b1", "q1", "q2", "q3"]
        assert photos.address_rows.tolist() == [0, 0, 2, 0, 1, 0, 3, 1]  # each row moved as a whole

    def test_splits_are_row_numbers(self, data: Dataset) -> None:
        assert len(data) == 8
        assert data.rows("train").tolist() == [0, 1, 2]
        assert data.rows("query", "train").tolist() == [0, 1, 2, 5, 6, 7]
        assert data.rows("train").dtype == np.int64
        assert data.counts() == {"train": 3, "val": 1, "database": 1, "query": 3}
        assert [SPLITS[c] for c in data.split_codes] == ["train"] * 3 + ["val", "database"] + ["query"] * 3
        assert data.split("val").ids == ["a3"]

    def test_candidates_are_the_addresses_of_train_and_database(self, data: Dataset) -> None:
        assert data.candidates.addresses == STREETS[:3]
        assert data.candidates.texts == ["Ash Lane, Old Town", "Birch Lane, Old Town", "Cedar Avenue, Old Town"]
        assert data.candidates.database.ids == ["b1"]
        assert data.candidate_of_address.tolist() == [0, 1, 2, -1]

    def test_val_alone_makes_no_candidate(self, tmp_path: Path) -> None:
        data = Dataset(write(tmp_path / "x", address=[0, 0, 1, 0, 0, 0, 1, 1]))
        assert data.candidates.addresses == STREETS[:1]
        assert data.split("val").labels.tolist() == [-1]

    def test_labels_point_into_candidates(self, tmp_path: Path) -> None:
        """Addresses 1 and 3 are candidates 0 and 1; 0 and 2 are none."""
        data = Dataset(write(tmp_path / "x", address=[1, 3, 3, 1, 3, 0, 1, 2]))
        assert data.candidates.addresses == [STREETS[1], STREETS[3]]
        assert data.split("train").labels.tolist() == [0, 1, 0]
        assert data.split("val").labels.tolist() == [1]
        assert data.split("query").labels.tolist() == [-1, 0, -1]
        assert data.split("train", "database").address_counts().tolist() == [2, 2]
        assert data.split("query").address_counts().tolist() == [1, 0]

    def test_positions_of_candidates_are_means_of_their_photos(self, data: Dataset) -> None:
        wanted = np.array([[40.0005, -80.0005], [40.004, -80.004], [40.003, -80.003]])  # val and query left out
        assert haversine_m(data.candidates.positions, wanted).max() < 0.01

    def test_places_are_numbered(self, data: Dataset) -> None:
        assert data.split("train").places.tolist()[0] == data.split("train").places.tolist()[1]
        assert len(set(data.place_codes.tolist())) == 6
        assert data.split("query").places[1] == data.split("query").places[2] != data.split("query").places[0]

    def test_columns(self, data: Dataset) -> None:
        train = data.split("train")
        np.testing.assert_array_equal(train.headings, np.array([0, np.nan, 270], dtype=np.float32))
        assert train.captions == ["", "a street", ""]
        assert train.file_bytes(2) == 103
        assert train.positions.tolist() == [[40.0, -80.0], [40.001, -80.001], [40.003, -80.003]]
        assert data.has_captions
        assert data.verbose_addresses == [a.verbose for a in STREETS]

    def test_captions_of_train_count(self, tmp_path: Path) -> None:
        captions = ["", "", "only val", "", "", "and a query", "", ""]
        assert not Dataset(write(tmp_path / "x", caption=captions)).has_captions

    def test_parts_and_sums(self, data: Dataset) -> None:
        train, query = data.split("train"), data.split("query")
        assert train.part(slice(1, None)).ids == ["a2", "c1"]
        assert query.part(np.array([2, 0])).ids == ["q3", "q1"]
        assert (query + train).ids == ["q1", "q2", "q3", "a1", "a2", "c1"]

    def test_photos_of_two_datasets_do_not_join(self, data: Dataset, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="two datasets"):
            _ = data.split("train") + Dataset(write(tmp_path / "x")).split("train")

    def test_is_lazy(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Opening reads no table, and asking for a column reads that column, once."""
        read: list[list[str] | None] = []
        real = pq.ParquetFile.read

        def spy(self: pq.ParquetFile, columns: list[str] | None = None) -> pa.Table:
            read.append(columns)
            return real(self, columns=columns)

        monkeypatch.setattr(pq.ParquetFile, "read", spy)
        data = Dataset(folder)
        assert (len(data), data.name, read) == (8, "small", [])
        _ = data.split("train").ids, data.split("query").ids, data.counts()
        assert sorted(str(c) for c in read) == ["['photo_id']", "['split']"]

    def test_empty_dataset(self, tmp_path: Path) -> None:
        description = Description("e", "E", "photos", Bounds(0, 0, 1, 1))
        table.write_dataset(tmp_path, description, [], [], {name: [] for name in PHOTO_SCHEMA.names})
        data = Dataset(tmp_path)
        assert (len(data), len(data.candidates), data.split("query").ids) == (0, 0, [])
        assert data.digest != ""

    def test_many_row_groups(self, folder: Path, data: Dataset) -> None:
        before = (data.split("query").ids, data.place_codes.tolist(), data.numbers("lat").tolist())
        rewrite(folder / PHOTOS, lambda t: t, row_group_size=1)
        again = Dataset(folder)
        assert again._photos.metadata.num_row_groups == 8
        assert (again.split("query").ids, again.place_codes.tolist(), again.numbers("lat").tolist()) == before

    def test_texts_of_any_script(self, tmp_path: Path) -> None:
        ids = ["é", "éé", "銀座", "a\nb", "𝄞", "x y", "'", "z"]
        data = Dataset(write(tmp_path / "x", photo_id=ids))
        assert sorted(Photos(data, np.arange(8)).ids) == sorted(ids)

    def test_threads_may_ask_at_once(self, folder: Path) -> None:
        wanted = {name: Dataset(folder).texts(name).to_pylist() for name in ("photo_id", "split", "place_id", "path")}
        with ThreadPoolExecutor(8) as pool:
            for _ in range(50):
                data = Dataset(folder)  # a new one: columns are read once
                found = list(pool.map(lambda name, d=data: (name, d.texts(name).to_pylist()), [*wanted] * 8))
                assert all(values == wanted[name] for name, values in found)


class TestPickling:
    def test_photos_reopen_their_folder(self, data: Dataset) -> None:
        photos = data.split("query").part(slice(1, None))
        _ = photos.labels, photos.places
        packed = pickle.dumps(photos)
        assert len(packed) < 3000  # the folder's name and rows, not the tables
        again = pickle.loads(packed)  # noqa: S301 - our own bytes
        assert again.ids == ["q2", "q3"]
        assert again.labels.tolist() == photos.labels.tolist()
        assert again.digest == photos.digest

    def test_from_another_working_directory(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(folder.parent)
        packed = pickle.dumps(Dataset(Path("small")))
        monkeypatch.chdir(os.sep)
        assert len(pickle.loads(packed)) == 8  # noqa: S301 - our own bytes


class TestDigest:
    @pytest.mark.parametrize(
        ("file", "name", "value"),
        [
            (PHOTOS, "photo_id", "other"),
            (PHOTOS, "path", "other.png"),
            (PHOTOS, "bytes", 1),
            (PHOTOS, "split", "val"),
            (PHOTOS, "place_id", "other"),
            (PHOTOS, "address", 3),
            (PHOTOS, "lat", 40.0000001),
            (PHOTOS, "lon", -80.0000001),
            (PHOTOS, "heading", 359.0),
            (PHOTOS, "heading", None),
            (PHOTOS, "caption", "a lamp"),
            (ADDRESSES, "text", "Oak Lane, Old Town"),
            (ADDRESSES, "verbose", "somewhere"),
            (ADDRESSES, "street", "Oak Lane"),
            (ADDRESSES, "neighbourhood", "New Town"),
            (ADDRESSES, "cross_streets", ["First Street"]),
        ],
    )
    def test_changes_with_every_column(self, folder: Path, data: Dataset, file: str, name: str, value: object) -> None:
        before = data.digest
        rewrite(folder / file, changed(name, 0, value))
        assert Dataset(folder).digest != before

    def test_changes_where_parts_of_an_address_are_cut_otherwise(self, tmp_path: Path) -> None:
        """One text, two streets: SA-k differs, so the digest must."""
        description = Description("s", "S", "photos", Bounds(0, 0, 1, 1))
        digests = set()
        for i, address in enumerate([Address("A", "B, C"), Address("A, B", "C")]):
            assert address.text == "A, B, C"
            one = {name: [values[0]] for name, values in columns().items()}
            table.write_dataset(tmp_path / str(i), description, [address], ["v"], one)
            digests.add(Dataset(tmp_path / str(i)).digest)
        assert len(digests) == 2

    def test_changes_where_texts_move_between_rows(self, folder: Path, data: Dataset) -> None:
        """Joined together, the captions are the same."""
        before = data.digest
        rewrite(folder / PHOTOS, lambda t: changed("caption", 2, "a street")(changed("caption", 1, "")(t)))
        assert Dataset(folder).digest != before

    def test_changes_with_the_order_and_number_of_rows(self, folder: Path, data: Dataset) -> None:
        before = data.digest
        rewrite(folder / PHOTOS, lambda t: t.take(pa.array([1, 0, *range(2, 8)])))
        swapped = Dataset(folder).digest
        rewrite(folder / PHOTOS, lambda t: t.slice(0, 7))
        assert len({before, swapped, Dataset(folder).digest}) == 3

    @pytest.mark.parametrize(
        "options",
        [
            {"compression": "none"},
            {"compression": "gzip", "use_dictionary": False},
            {"row_group_size": 3},
            {"version": "1.0", "data_page_size": 1},
        ],
    )
    def test_does_not_change_with_the_way_of_storing(
        self, folder: Path, data: Dataset, options: dict[str, Any]
    ) -> None:
        before, bytes_before = data.digest, (folder / PHOTOS).read_bytes()
        for file in (PHOTOS, ADDRESSES):
            rewrite(folder / file, lambda t: t, **options)
        assert (folder / PHOTOS).read_bytes() != bytes_before
        assert Dataset(folder).digest == before

    def test_does_not_change_with_blocks_of_hashing(self, data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
        """Blocks bound the memory; they are of one size everywhere, so that is part of the definition."""
        whole = data.hash_rows(("bytes", "lat"), None)
        monkeypatch.setattr("ial_bench.datasets.dataset._HASH_ROWS", 3)
        assert data.hash_rows(("bytes", "lat"), None) == whole

    def test_does_not_change_with_the_title_or_the_place_of_images(self, folder: Path, data: Dataset) -> None:
        before = data.digest
        text = (folder / DESCRIPTION).read_text().replace("Small town", "Little town").replace('"photos"', '"/photos"')
        write_text(folder / DESCRIPTION, text)
        assert Dataset(folder).description.title == "Little town"
        assert Dataset(folder).digest == before

    def test_of_photos_is_of_their_files(self, folder: Path, data: Dataset) -> None:
        before = data.split("train").digest
        assert before != data.split("query").digest
        assert before == (data.split("train").part(slice(0, 2)) + data.split("train").part(slice(2, 3))).digest
        assert before != data.split("train").part(np.array([1, 0, 2])).digest
        rewrite(folder / PHOTOS, changed("address", 0, 3))
        assert Dataset(folder).split("train").digest == before
        rewrite(folder / PHOTOS, changed("bytes", 0, 3))
        assert Dataset(folder).split("train").digest != before

    def test_of_candidates(self, folder: Path, data: Dataset) -> None:
        before = data.candidates.digest
        rewrite(folder / ADDRESSES, changed("street", 3, "Oak Street"))  # of no candidate
        assert Dataset(folder).candidates.digest == before
        rewrite(folder / ADDRESSES, changed("street", 2, "Oak Street"))
        assert Dataset(folder).candidates.digest != before


class TestDamage:
    @pytest.mark.parametrize("file", [PHOTOS, ADDRESSES])
    def test_truncated_table(self, folder: Path, file: str) -> None:
        path = folder / file
        for size in (0, 3, 100, path.stat().st_size - 1):
            path.write_bytes(path.read_bytes()[:size])
            with pytest.raises(DataError, match="is damaged") as caught:
                Dataset(folder)
            assert str(path) in caught.value.problem
            write(folder)

    @pytest.mark.parametrize("file", [PHOTOS, ADDRESSES])
    def test_missing_table(self, folder: Path, file: str) -> None:
        (folder / file).unlink()
        with pytest.raises(DataError, match="no such file") as caught:
            Dataset(folder)
        assert str(folder / file) in caught.value.problem

    def test_damaged_page(self, folder: Path) -> None:
        """The footer is whole, a column is not."""
        path = folder / PHOTOS
        wild = pq.ParquetFile(path).metadata.row_group(0).column(PHOTO_SCHEMA.get_field_index("caption"))
        start = min(o for o in (wild.dictionary_page_offset, wild.data_page_offset) if o)
        content = bytearray(path.read_bytes())
        content[start : start + wild.total_compressed_size] = b"\xff" * wild.total_compressed_size
        path.write_bytes(content)
        data = Dataset(folder)
        assert data.split("query").ids == ["q1", "q2", "q3"]  # other columns can still be read
        with pytest.raises(DataError, match="damaged") as caught:
            _ = data.has_captions
        assert str(folder) in caught.value.problem

    @pytest.mark.parametrize(("file", "name"), [(PHOTOS, n) for n in PHOTO_SCHEMA.names] + [(ADDRESSES, "street")])
    def test_missing_column(self, folder: Path, file: str, name: str) -> None:
        rewrite(folder / file, lambda t: t.drop_columns([name]))
        with pytest.raises(DataError, match=f"has no column {name}; it has ") as caught:
            Dataset(folder)
        assert str(folder / file) in caught.value.problem

    @pytest.mark.parametrize(
        ("name", "kind"),
        [("lat", pa.float32()), ("address", pa.int64()), ("bytes", pa.string()), ("heading", pa.int32())],
    )
    def test_column_of_wrong_type(self, folder: Path, name: str, kind: pa.DataType) -> None:
        def change(old: pa.Table) -> pa.Table:
            at = old.schema.get_field_index(name)
            return old.set_column(at, name, old[name].cast(kind))

        rewrite(folder / PHOTOS, change)
        with pytest.raises(DataError, match=f"{name} is {kind}, not {PHOTO_SCHEMA.field(name).type}") as caught:
            Dataset(folder)
        assert str(folder / PHOTOS) in caught.value.problem

    @pytest.mark.parametrize("name", ["photo_id", "lat", "address", "caption", "split"])
    def test_value_that_is_not_there(self, folder: Path, name: str) -> None:
        """Null in a column that always has a value, from a writer that does not know."""

        def change(old: pa.Table) -> pa.Table:
            values = old[name].to_pylist()
            return old.set_column(old.schema.get_field_index(name), name, pa.array([None, *values[1:]], old[name].type))

        rewrite(folder / PHOTOS, change)
        data = Dataset(folder)
        with pytest.raises(DataError, match=f"has 1 photos without {name}"):
            data.numbers(name) if name in {"lat", "address"} else data.texts(name)

    def test_extra_column_does_no_harm(self, folder: Path, data: Dataset) -> None:
        before = data.digest
        rewrite(folder / PHOTOS, lambda t: t.append_column("weather", pa.array(["rain"] * 8)))
        assert Dataset(folder).digest == before

    def test_unknown_split(self, folder: Path) -> None:
        rewrite(folder / PHOTOS, changed("split", 3, "test"))
        with pytest.raises(DataError, match="none of train, val, database, query"):
            Dataset(folder).rows("train")

    @pytest.mark.parametrize("row", [-1, 4, 2_000_000_000])
    def test_address_that_is_no_row(self, folder: Path, row: int) -> None:
        """-1 must not mean the last address."""
        rewrite(folder / PHOTOS, changed("address", 6, row))
        with pytest.raises(DataError, match=r"none of the 4 rows of addresses\.parquet") as caught:
            _ = Dataset(folder).split("query").labels
        assert "bench data verify" in (caught.value.fix or "")

    def test_no_description(self, folder: Path) -> None:
        (folder / DESCRIPTION).unlink()
        with pytest.raises(DataError, match=r"is not a dataset: no dataset\.toml"):
            Dataset(folder)

    @pytest.mark.parametrize(
        ("old", "new", "why"),
        [
            ("schema_version = 1", "schema_version = 2", "has schema_version 2, this ial-bench reads 1"),
            ("schema_version = 1", "", "has schema_version None"),
            ('name = "small"', "", "'name'"),
            ('images = "photos"', "", "'images'"),
            ("south = 39.0", "", "'south'"),
            ("south = 39.0", 'south = "far"', "far"),
            ("[bounds]", "[borders]", "'bounds'"),
            ("schema_version = 1", "schema_version =", "not valid TOML"),
            ('name = "small"', 'name = "../small"', "cannot be a dataset's name"),
        ],
    )
    def test_description_with_a_wrong_value(self, folder: Path, old: str, new: str, why: str) -> None:
        text = (folder / DESCRIPTION).read_text()
        assert old in text
        (folder / DESCRIPTION).write_text(text.replace(old, new))
        with pytest.raises(DataError, match=why) as caught:
            Dataset(folder)
        assert str(folder / DESCRIPTION) in caught.value.problem

    def test_newer_schema_says_to_upgrade(self, folder: Path) -> None:
        (folder / DESCRIPTION).write_text("schema_version = 99\nthings = 'from the future'\n")
        with pytest.raises(DataError) as caught:
            Dataset(folder)
        assert "pip install -U" in (caught.value.fix or "")


class TestPaths:
    def test_below_the_images_folder(self, data: Dataset, folder: Path) -> None:
        assert data.split("train").path(0) == folder / "photos" / "a1.png"

    def test_images_elsewhere(self, folder: Path, tmp_path: Path) -> None:
        text = (folder / DESCRIPTION).read_text().replace('"photos"', f'"{tmp_path}/far"')
        (folder / DESCRIPTION).write_text(text)
        assert Dataset(folder).split("train").path(0) == tmp_path / "far" / "a1.png"

    @pytest.mark.parametrize("path", ["../a1.png", "x/../../a1.png", "/etc/passwd", "..\\a1.png", ""])
    def test_leading_out_is_refused(self, folder: Path, path: str) -> None:
        (folder / "a1.png").write_bytes(b"secret")
        rewrite(folder / PHOTOS, changed("path", 0, path))
        photos = Dataset(folder).split("train")
        with pytest.raises(DataError, match="unsafe photo path"):
            photos.path(0)
        with pytest.raises(DataError, match="unsafe photo path"):
            photos.image(0)

    def test_image_missing_or_changed(self, tiny_city: Dataset, tmp_path: Path) -> None:
        shutil.copytree(tiny_city.folder, tmp_path / "city")
        photos = Dataset(tmp_path / "city").split("train")
        assert photos.image(0).shape == (32, 32, 3)
        photos.path(0).write_bytes(photos.path(0).read_bytes() + b"\0")
        with pytest.raises(ImageError, match="when the dataset was made"):
            photos.image(0)
        photos.path(0).unlink()
        with pytest.raises(ImageError, match="cannot read photo"):
            photos.image(0)


class TestDescription:
    def test_round_trip(self, tmp_path: Path) -> None:
        description = Description(
            "na-me", "Ti\nt\\le 街", "../far away", Bounds(-1.5, 2.25, 3.0, 4.0), "© nobody", {"seed": 3, "rule": r"\d"}
        )
        (tmp_path / DESCRIPTION).write_text(description.to_toml(), encoding="utf-8")
        assert Description.read(tmp_path) == description

    def test_holds_what_a_person_needs(self, folder: Path) -> None:
        assert read_toml(folder / DESCRIPTION) == {
            "schema_version": 1,
            "name": "small",
            "title": "Small town",
            "images": "photos",
            "licence": "none",
            "bounds": {"south": 39.0, "west": -81.0, "north": 41.0, "east": -79.0},
            "made_by": {"by": "hand"},
        }


class TestBounds:
    def test_hold_a_city_but_not_a_stray_photo(self) -> None:
        rng = np.random.default_rng(0)
        city = np.array([40.44, -79.99]) + rng.uniform(-0.05, 0.05, (1000, 2))
        stray = np.array([[0.0, 0.0], [-79.99, 40.44], [41.5, -79.99], [40.44, -78.0]])
        bounds = Bounds.around(np.concatenate([city, stray]))
        assert bounds.contain(city).all()
        assert not bounds.contain(stray).any()

    def test_are_never_smaller_than_two_kilometres(self) -> None:
        bounds = Bounds.around(np.array([[40.0, -80.0]] * 3))
        assert bounds.contain(np.array([[40.015, -80.015], [39.985, -79.985]])).all()
        assert not bounds.contain(np.array([[40.03, -80.0]])).any()

    def test_stay_on_the_earth(self) -> None:
        bounds = Bounds.around(np.array([[89.99, 179.99], [-89.99, -179.99]] * 5))
        assert (bounds.south, bounds.north) == (-90, 90)
        assert (bounds.west, bounds.east) == pytest.approx((179.92, -179.92))
        assert Bounds.around(np.array([[89.99, 90.0], [-89.99, -90.0]] * 5)) == Bounds(-90, -180, 90, 180)

    def test_edges_belong_and_no_number_does_not(self) -> None:
        points = np.array([[1, 2], [3, 4], [0.99, 2], [3, 4.01], [np.nan, 3], [2, np.inf]])
        assert Bounds(1, 2, 3, 4).contain(points).tolist() == [True, True, False, False, False, False]


class TestWriting:
    def test_half_written_is_no_dataset(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Killed between the tables, an overwritten dataset must not pass for the old or the new one."""
        real = table._write_table

        def fail(path: Path, content: pa.Table) -> None:
            real(path, content)
            raise KeyboardInterrupt

        monkeypatch.setattr(table, "_write_table", fail)
        with pytest.raises(KeyboardInterrupt):
            write(folder)
        with pytest.raises(DataError, match="is not a dataset"):
            Dataset(folder)

    def test_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(_: int) -> None:
            raise OSError(28, os.strerror(28))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="No space left") as caught:
            write(tmp_path / "x")
        assert "free some space" in (caught.value.fix or "")
        assert list((tmp_path / "x").iterdir()) == []

    def test_old_description_that_cannot_go(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def unlink(_: Path, missing_ok: bool = False) -> None:
            raise PermissionError(13, os.strerror(13))

        monkeypatch.setattr(Path, "unlink", unlink)
        with pytest.raises(StorageError, match="Permission denied"):
            write(folder)

    def test_same_content_same_bytes(self, tmp_path: Path) -> None:
        for name in (ADDRESSES, PHOTOS, DESCRIPTION):
            assert (write(tmp_path / "a") / name).read_bytes() == (write(tmp_path / "b") / name).read_bytes()
