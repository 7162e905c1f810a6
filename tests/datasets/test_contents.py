"""Content digests: their table, who writes it, what reading refuses, and how an old dataset comes by it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ial_bench.captions.captioners import CaptionLength
from ial_bench.captions.captioning import put_captions
from ial_bench.datasets.contents import (
    CONTENT_SCHEMA,
    CONTENTS,
    Contents,
    differ,
    read_contents,
    sums_of,
    write_contents,
)
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.derive import join, take_places
from ial_bench.datasets.export import export_webdataset
from ial_bench.datasets.importing.released import import_released
from ial_bench.datasets.photos import Photos
from ial_bench.datasets.verify import take_contents, verify
from ial_bench.errors import DataError, ImageError, StorageError
from ial_bench.synth.options import CityOptions
from ial_bench.synth.write import make_city
from ial_bench.testing import make_tiny_city
from support.made_contents import hashed, replace_photo, stored, without_contents
from support.made_release import Tree, sound_release

SMALL = CityOptions(seed=5, blocks=(2, 3), size=16, train_places=2, query_places=1, train_views=1, query_views=1)
SUMS = np.arange(5 * 32, dtype=np.uint8).reshape(5, 32)


@pytest.fixture
def city(tiny_city: Dataset, tmp_path: Path) -> Dataset:
    """The tiny city, to spoil."""
    return Dataset(Path(shutil.copytree(tiny_city.folder, tmp_path / "city")))


@pytest.fixture
def old(tiny_city: Dataset, tmp_path: Path) -> Dataset:
    """As an earlier release made it."""
    return without_contents(tiny_city, tmp_path / "old")


def everything(data: Dataset) -> Photos:
    return Photos(data, np.arange(len(data)))


class TestTable:
    def test_comes_back_as_it_was(self, tmp_path: Path) -> None:
        for sums in (SUMS, SUMS[:0], SUMS[::-2]):
            write_contents(tmp_path, sums)
            found = read_contents(tmp_path, len(sums))
            assert found is not None
            np.testing.assert_array_equal(found.sums, sums)
            assert found.sums.shape == (len(sums), 32)
            assert found.digest == hashlib.sha256(sums.tobytes()).hexdigest()
        assert read_contents(tmp_path / "none", 5) is None

    def test_is_the_same_in_row_groups(self, tmp_path: Path) -> None:
        """Whoever writes it."""
        write_contents(tmp_path, SUMS)
        table = pq.read_table(tmp_path / CONTENTS)
        pq.write_table(table, tmp_path / CONTENTS, row_group_size=2)
        found = read_contents(tmp_path, 5)
        assert found is not None
        np.testing.assert_array_equal(found.sums, SUMS)

    def test_rows_have_digests_of_their_own(self) -> None:
        contents = Contents(SUMS)
        digests = [contents.digest_of(np.array(rows)) for rows in ([0, 1], [1, 0], [0], [0, 1, 2, 3, 4])]
        assert len(set(digests)) == 4
        assert digests[3] == contents.digest

    @pytest.mark.parametrize(
        ("table", "words"),
        [
            (pa.table({"sha256": pa.array([bytes(32)] * 4, pa.binary(32))}, schema=CONTENT_SCHEMA), "4 photos,.* of 5"),
            (pa.table({"sha256": ["00" * 32] * 5}), "has not the column sha256: fixed_size_binary.32."),
            (pa.table({"sha256": pa.array([bytes(20)] * 5, pa.binary(20))}), "has not the column"),
            (pa.table({"digest": pa.array([bytes(32)] * 5, pa.binary(32))}), "has not the column"),
            (pa.table({"sha256": pa.array([bytes(32)] * 4 + [None], pa.binary(32))}), "without gaps"),
        ],
        ids=["rows", "text", "shorter", "name", "missing"],
    )  # fmt: skip
    def test_another_table_is_refused(self, tmp_path: Path, table: pa.Table, words: str) -> None:
        pq.write_table(table, tmp_path / CONTENTS)
        with pytest.raises(DataError, match=words) as caught:
            read_contents(tmp_path, 5)
        assert "bench data contents" in str(caught.value.fix)

    def test_a_damaged_file_is_refused(self, tmp_path: Path) -> None:
        write_contents(tmp_path, SUMS)
        whole = (tmp_path / CONTENTS).read_bytes()
        for damaged in (b"", b"PAR1", whole[: len(whole) // 2], whole[:-5]):
            (tmp_path / CONTENTS).write_bytes(damaged)
            with pytest.raises(DataError, match="damaged"):
                read_contents(tmp_path, 5)

    def test_two_million_photos_are_one_array(self, tmp_path: Path) -> None:
        sums = np.zeros((2_000_000, 32), np.uint8)
        sums[:, :8] = np.arange(len(sums), dtype="<u8").view(np.uint8).reshape(-1, 8)
        write_contents(tmp_path, sums)
        found = read_contents(tmp_path, len(sums))
        assert found is not None
        np.testing.assert_array_equal(found.sums, sums)
        assert (tmp_path / CONTENTS).stat().st_size < 1.01 * sums.nbytes

    @pytest.mark.parametrize("workers", [1, 4])
    def test_threads_keep_the_order_and_tell_what_is_done(self, workers: int) -> None:
        files, done = [str(i).encode() * i for i in range(1000)], list[int]()
        found = sums_of(1000, lambda part: iter(files[part]), workers, done.append)
        assert [row.tobytes() for row in found] == [hashlib.sha256(file).digest() for file in files]
        assert sum(done) == 1000

    def test_what_is_not_known_is_not_held_against_it(self) -> None:
        assert [differ(*pair) for pair in (("a", "b"), ("a", "a"), ("a", None), (None, None))] == [True, *[False] * 3]


class TestWhoWritesIt:
    """Against the standard library's hash of each file."""

    def test_an_import(self, tree: Tree) -> None:
        _, data = tree.load()
        assert stored(data) == hashed(data)
        assert len(set(stored(data))) == len(data)

    def test_an_import_may_leave_it_out(self, tree: Tree) -> None:
        _, first = tree.load()
        _, data = tree.load(contents=False, force=True)
        assert data.contents is None
        assert not (data.folder / CONTENTS).exists()
        assert data.digest == first.digest

    @pytest.mark.parametrize(
        ("spoil", "words"),
        [(Path.unlink, "cannot read"), (lambda path: path.write_bytes(b"longer than it was"), "has changed just now")],
        ids=["gone", "changed"],
    )
    def test_a_photo_that_changes_while_it_is_imported(
        self, tree: Tree, spoil: Callable[[Path], object], words: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        options = tree.options()

        def meanwhile(*_: Any) -> None:
            spoil(tree.images / "4_1.jpg")

        monkeypatch.setattr("ial_bench.datasets.importing.released._refuse_another", meanwhile)
        with pytest.raises(DataError, match=f"4_1.jpg.*{words}|{words}.*4_1.jpg"):
            import_released(options)
        assert not (options.out / "dataset.toml").exists()

    def test_a_drawn_city(self, tmp_path: Path) -> None:
        city = make_city(tmp_path / "one", SMALL)
        assert stored(city) == hashed(city)
        assert stored(make_city(tmp_path / "two", SMALL, workers=2)) == stored(city)

    def test_a_drawn_city_that_was_interrupted(self, tmp_path: Path) -> None:
        """A power cut may leave a file of the right size and no content; it is drawn again where its row is."""
        city = make_city(tmp_path, SMALL)
        first = stored(city)
        photo = everything(city).path(0)
        photo.write_bytes(bytes(photo.stat().st_size))
        shutil.rmtree(tmp_path / "rows")
        (tmp_path / "dataset.toml").unlink()
        again = make_city(tmp_path, SMALL)
        assert stored(again) == hashed(again) == first

    def test_a_drawn_city_that_an_earlier_release_began(self, tmp_path: Path) -> None:
        city = make_city(tmp_path, SMALL)
        first = stored(city)
        for file in (tmp_path / "rows").iterdir():
            rows = json.loads(file.read_text())
            del rows["sha256"]
            file.write_text(json.dumps(rows))
        (tmp_path / "dataset.toml").unlink()
        again = make_city(tmp_path, SMALL)
        assert stored(again) == hashed(again) == first

    def test_a_whole_city_of_an_earlier_release_is_left_alone(self, tmp_path: Path) -> None:
        make_city(tmp_path, SMALL)
        (tmp_path / CONTENTS).unlink()
        assert make_city(tmp_path, SMALL).contents is None

    def test_a_part(self, city: Dataset, old: Dataset, tmp_path: Path) -> None:
        part = take_places(city, 0.5, 0, "part", tmp_path / "part")
        assert len(part) < len(city)
        assert stored(part) == hashed(part)
        assert take_places(old, 0.5, 0, "part", tmp_path / "part-of-old").contents is None

    def test_a_union(self, city: Dataset, tmp_path: Path) -> None:
        _, other = sound_release(tmp_path / "release").load()
        both = join([city, other], "both", tmp_path / "both")
        assert stored(both) == hashed(both)
        (other.folder / CONTENTS).unlink()
        assert join([city, Dataset(other.folder)], "both", tmp_path / "both", force=True).contents is None

    def test_an_export(self, city: Dataset, old: Dataset, tmp_path: Path) -> None:
        export_webdataset(city, tmp_path / "shards", 60_000)
        shards = Dataset(tmp_path / "shards")
        assert shards.shards is not None
        assert stored(shards) == hashed(shards) == hashed(city)
        assert [everything(d).digest for d in (shards, city)] == [everything(city).digest] * 2
        export_webdataset(old, tmp_path / "old-shards", 60_000)
        assert Dataset(tmp_path / "old-shards").contents is None  # its runs stay those of the dataset

    def test_captions_leave_it_as_it_is(self, city: Dataset) -> None:
        put_captions(city, {city.split("train").ids[0]: "a street view of it"}, "me", CaptionLength(1, 9))
        again = Dataset(city.folder)
        assert stored(again) == hashed(again)

    def test_the_tiny_city(self, city: Dataset) -> None:
        assert stored(city) == hashed(city)

    def test_a_dataset_that_is_written_over_has_that_of_the_new_one(self, city: Dataset) -> None:
        again = make_tiny_city(city.folder, n_addresses=3)
        assert stored(again) == hashed(again)


class TestReading:
    def test_a_replaced_photo_is_refused(self, city: Dataset) -> None:
        photos = city.split("query")
        whole = photos.read_bytes(3)
        replace_photo(photos, 3)
        for read in (photos.read_bytes, photos.image, photos.batch().__getitem__):
            with pytest.raises(ImageError, match="has other content than when the dataset was made") as caught:
                read(3)
            assert str(photos.path(3)) in caught.value.problem
            assert "bench data contents tiny-city --overwrite" in str(caught.value.fix)
        assert photos.image(2).shape == (32, 32, 3)
        photos.path(3).write_bytes(whole)
        assert photos.read_bytes(3) == whole

    def test_without_digests_it_is_not(self, old: Dataset) -> None:
        photos = old.split("query")
        replace_photo(photos, 3)
        assert photos.image(3)[0, 0].tolist() == [77, 77, 77]

    def test_a_replaced_photo_does_not_get_into_a_shard(self, city: Dataset, tmp_path: Path) -> None:
        replace_photo(everything(city), 30)
        with pytest.raises(ImageError, match="has other content"):
            export_webdataset(city, tmp_path / "out", 60_000)

    def test_the_digest_of_the_dataset_leaves_it_out_and_that_of_photos_does_not(
        self, city: Dataset, old: Dataset
    ) -> None:
        assert city.digest == old.digest
        photos = old.split("train")
        assert photos.digest == old.hash_rows(("path", "bytes"), photos.rows)  # as it ever was
        assert city.split("train").digest != photos.digest
        replace_photo(city.split("query"), 0)
        take_contents(city, overwrite=True)
        again = Dataset(city.folder)
        assert again.split("train").digest == city.split("train").digest
        assert again.split("query").digest != city.split("query").digest
        assert again.contents_digest != city.contents_digest
        assert again.digest == city.digest


class TestTaking:
    def test_an_old_dataset_is_given_them(self, old: Dataset, tiny_city: Dataset) -> None:
        done: list[int] = []
        taken = take_contents(old, workers=3, advance=done.append)
        assert (taken.compared, taken.written, len(taken.changed), sum(done)) == (False, True, 0, len(old))
        again = Dataset(old.folder)
        assert stored(again) == hashed(again)
        assert again.contents_digest == tiny_city.contents_digest == taken.contents.digest

    def test_twice_is_once(self, city: Dataset) -> None:
        before = (city.folder / CONTENTS).stat().st_mtime_ns
        for overwrite in (False, True):
            taken = take_contents(city, overwrite=overwrite)
            assert (taken.compared, taken.written, len(taken.changed)) == (True, False, 0)
        assert (city.folder / CONTENTS).stat().st_mtime_ns == before

    def test_what_differs_is_told_and_not_overwritten_unasked(self, city: Dataset) -> None:
        photos = everything(city)
        first = stored(city)
        for i in (7, 50):
            replace_photo(photos, i)
        taken = take_contents(city, workers=2)
        assert (taken.compared, taken.written, taken.changed.tolist()) == (True, False, [7, 50])
        assert stored(city) == first
        taken = take_contents(city, overwrite=True)
        assert (taken.written, taken.changed.tolist()) == (True, [7, 50])
        assert stored(city) == hashed(city) != first

    def test_a_damaged_table_is_mended_where_that_is_asked_for(self, city: Dataset) -> None:
        first = stored(city)
        (city.folder / CONTENTS).write_bytes(b"PAR1")
        with pytest.raises(DataError, match="damaged"):
            take_contents(Dataset(city.folder))
        assert take_contents(Dataset(city.folder), overwrite=True).written
        assert stored(city) == first

    def test_a_photo_of_another_size_stops_it(self, old: Dataset) -> None:
        with everything(old).path(9).open("ab") as file:
            file.write(b"x")
        with pytest.raises(ImageError, match="when the dataset was made"):
            take_contents(old)
        assert not (old.folder / CONTENTS).exists()

    def test_a_full_disk_leaves_what_was_there(self, old: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="No space left"):
            take_contents(old)
        monkeypatch.undo()
        assert not [p.name for p in old.folder.iterdir() if "contents" in p.name]
        assert Dataset(old.folder).contents is None


class Killed(BaseException):
    """What nobody catches."""


@pytest.mark.parametrize("at", range(5))
def test_a_kill_between_files_leaves_no_dataset_and_the_same_call_a_sound_one(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written over one of other photos, whose digests would refuse these."""
    make_tiny_city(tmp_path, n_addresses=4, seed=1)
    calls, real = [0], Path.replace

    def replaced(self: Path, target: Path) -> Path:
        if calls[0] == at:
            raise Killed
        calls[0] += 1
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replaced)
    with pytest.raises(Killed):
        make_tiny_city(tmp_path, n_addresses=4, seed=2)
    monkeypatch.undo()
    with pytest.raises(DataError, match="is not a dataset"):
        Dataset(tmp_path)
    again = make_tiny_city(tmp_path, n_addresses=4, seed=2)
    assert verify(again).problems == []
    assert stored(again) == hashed(again)
