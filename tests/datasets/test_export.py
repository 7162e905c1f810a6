"""Export to tar shards: what is in them, that they are the same bytes each time, and that a kill loses no shard."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from ial_bench.datasets import export as export_module
from ial_bench.datasets.contents import CONTENTS
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.export import ExportSummary, export_webdataset
from ial_bench.datasets.photos import Photos
from ial_bench.datasets.shards import SHARDS
from ial_bench.datasets.streets import STREETS
from ial_bench.datasets.table import ADDRESSES, DESCRIPTION, PHOTOS
from ial_bench.datasets.verify import take_contents, verify
from ial_bench.errors import ConfigError, DataError, ImageError, StorageError
from ial_bench.folders import LOCK
from ial_bench.progress import NoReport
from ial_bench.testing import make_tiny_city

SHARD_BYTES = 60_000


def shards(folder: Path) -> list[Path]:
    return sorted((folder / "shards").iterdir())


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def exported(tiny_city: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The tiny city in ten shards; read only."""
    out = tmp_path_factory.mktemp("exported") / "city"
    export_webdataset(tiny_city, out, SHARD_BYTES)
    return Dataset(out)


class TestContent:
    def test_members_are_the_photos_and_what_is_known_of_them(self, tiny_city: Dataset, exported: Dataset) -> None:
        """Read by the standard library, and grouped by key as WebDataset does."""
        samples: dict[str, dict[str, bytes]] = {}
        for shard in shards(exported.folder):
            with tarfile.open(shard) as tar:
                for member in tar:
                    key, suffix = member.name.split(".", 1)
                    file = tar.extractfile(member)
                    assert file is not None
                    samples.setdefault(key, {})[suffix] = file.read()
        photos = Photos(tiny_city, np.arange(len(tiny_city)))
        assert list(samples) == [f"{row:09d}" for row in range(len(photos))]
        rows = pq.read_table(tiny_city.folder / PHOTOS).to_pylist()
        for i, (sample, row) in enumerate(zip(samples.values(), rows, strict=True)):
            assert sample.keys() == {"png", "json"}
            assert sample["png"] == photos.path(i).read_bytes()
            told = {name: row[name] for name in ("photo_id", "split", "place_id", "lat", "lon", "heading", "caption")}
            assert json.loads(sample["json"]) == {**told, "address": tiny_city.addresses[row["address"]].text}

    def test_the_index_is_where_the_members_are(self, exported: Dataset) -> None:
        told = {
            (row["shard"], row["member"]): (row["offset"], row["size"])
            for row in pq.read_table(exported.folder / SHARDS).to_pylist()
        }
        found: dict[tuple[str, str], tuple[int, int]] = {}
        for shard in shards(exported.folder):
            with tarfile.open(shard) as tar:
                found |= {(shard.name, m.name): (m.offset_data, m.size) for m in tar if not m.name.endswith(".json")}
        assert told == found

    def test_shards_keep_to_size_and_split(self, tiny_city: Dataset, exported: Dataset) -> None:
        splits = [{json.loads(told)["split"] for told in jsons(shard)} for shard in shards(exported.folder)]
        assert splits == [{"train"}] * 5 + [{"val"}] * 2 + [{"query"}] * 3
        assert all(shard.stat().st_size <= SHARD_BYTES for shard in shards(exported.folder))
        with_one_more = 3 * 512 + max(tiny_city.numbers("bytes")) + 512 + 10_240
        for shard in shards(exported.folder)[:4]:  # the last of a split may be short
            assert shard.stat().st_size + with_one_more > SHARD_BYTES

    def test_members_tell_nothing_of_the_machine(self, exported: Dataset) -> None:
        for shard in shards(exported.folder):
            with tarfile.open(shard) as tar:
                for m in tar:
                    assert (m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) == (0, 0, 0, "", "", 0o644)
                    assert m.isreg()

    def test_tables_are_as_they_were(self, tiny_city: Dataset, exported: Dataset) -> None:
        for name in (ADDRESSES, PHOTOS, STREETS):
            assert (exported.folder / name).read_bytes() == (tiny_city.folder / name).read_bytes()
        before, after = tiny_city.description, exported.description
        assert (after.name, after.title, after.bounds) == (before.name, before.title, before.bounds)
        assert dict(after.made_by) == {
            **before.made_by,
            "export": {"layout": "webdataset", "shard_bytes": SHARD_BYTES},
        }

    def test_names_of_others_stay_out_of_the_shards(self, tmp_path: Path) -> None:
        """A photo's path may have dots, at which WebDataset would cut it, and any suffix."""
        city = make_tiny_city(tmp_path / "city", n_addresses=2)
        table = pq.read_table(city.folder / PHOTOS)
        rows = table.to_pylist()
        names = ["@1.5@two.three@.JPG", "x.json", "no suffix", "a/\u2028line\nbreak.png", "-rf.tar", "*.PnG"]
        for row, name in zip(rows, names, strict=False):
            (city.folder / "images" / name).parent.mkdir(exist_ok=True)
            shutil.copy(city.folder / "images" / row["path"], city.folder / "images" / name)
            row["path"] = name
        pq.write_table(table.from_pylist(rows, table.schema), city.folder / PHOTOS)
        export_webdataset(Dataset(city.folder), tmp_path / "out")
        with tarfile.open(tmp_path / "out" / "shards" / "000000.tar") as tar:
            found = [name for name in tar.getnames() if not name.endswith(".json")][: len(names)]
        assert found == [f"{i:09d}.{s}" for i, s in enumerate(("jpg", "jpg", "jpg", "png", "jpg", "png"))]
        data = Dataset(tmp_path / "out")
        assert Photos(data, np.arange(6)).read_bytes(3) == (city.folder / "images" / names[3]).read_bytes()

    def test_a_photo_larger_than_a_shard_has_one_of_its_own(self, tiny_city: Dataset, tmp_path: Path) -> None:
        assert export_webdataset(tiny_city, tmp_path / "out", 1).n_shards == len(tiny_city)
        assert verify(Dataset(tmp_path / "out")).problems == []


def jsons(shard: Path) -> list[bytes]:
    with tarfile.open(shard) as tar:
        files = [tar.extractfile(m) for m in tar if m.name.endswith(".json")]
        return [file.read() for file in files if file is not None]


KILLED = """
import sys, time
from pathlib import Path
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.export import export_webdataset
from ial_bench.datasets.photos import Photos
read = Photos.read_bytes
def slow(self, i):
    if i > 50:
        time.sleep(60)
    return read(self, i)
Photos.read_bytes = slow
export_webdataset(Dataset(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3]))
"""


class TestResuming:
    def test_the_same_bytes_each_time(self, tiny_city: Dataset, exported: Dataset, tmp_path: Path) -> None:
        export_webdataset(tiny_city, tmp_path / "again", SHARD_BYTES)
        assert tree(tmp_path / "again") == tree(exported.folder)

    def test_a_killed_export_goes_on(self, tiny_city: Dataset, exported: Dataset, tmp_path: Path) -> None:
        out = tmp_path / "out"
        command = [sys.executable, "-c", KILLED, str(tiny_city.folder), str(out), str(SHARD_BYTES)]
        with subprocess.Popen(command) as process:
            while not (out / "shards" / "000001.parquet").is_file():
                assert process.poll() is None
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
        with pytest.raises(DataError, match="not a dataset"):
            Dataset(out)
        kept = {k: (out / "shards" / f"{k:06d}.tar").stat().st_mtime_ns for k in (0, 1)}
        done = export_webdataset(tiny_city, out, SHARD_BYTES)
        assert done.n_kept >= 2
        assert {k: (out / "shards" / f"{k:06d}.tar").stat().st_mtime_ns for k in (0, 1)} == kept
        assert tree(out) == tree(exported.folder)

    def interrupted(
        self, city: Dataset, out: Path, monkeypatch: pytest.MonkeyPatch, most: int = SHARD_BYTES, force: bool = False
    ) -> None:
        """Stopped in the fourth shard or so."""
        read = Photos.read_bytes

        def failing(photos: Photos, i: int) -> bytes:
            if i >= 40:
                raise KeyboardInterrupt
            return read(photos, i)

        with monkeypatch.context() as patch:
            patch.setattr(export_module, "_AT_ONCE", 4)
            patch.setattr(Photos, "read_bytes", failing)
            with pytest.raises(KeyboardInterrupt):
                export_webdataset(city, out, most, force)

    @pytest.mark.parametrize("damage", ["cut shard", "lost shard", "cut part", "half a file"])
    def test_what_is_not_whole_is_written_anew(
        self, tiny_city: Dataset, exported: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
    ) -> None:
        out = tmp_path / "out"
        self.interrupted(tiny_city, out, monkeypatch)
        second = out / "shards" / "000001.tar"
        if damage == "cut shard":
            os.truncate(second, 1000)
        elif damage == "lost shard":
            second.unlink()
        elif damage == "cut part":
            os.truncate(second.with_suffix(".parquet"), 100)
        else:
            (second.parent / ".000001.tar.writing.tmp").write_bytes(b"half")
        done = export_webdataset(tiny_city, out, SHARD_BYTES)
        assert done.n_kept == (3 if damage == "half a file" else 1)
        assert tree(out) == tree(exported.folder)

    def test_other_options_start_anew(
        self, tiny_city: Dataset, exported: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.interrupted(tiny_city, tmp_path / "out", monkeypatch, 30_000)
        assert export_webdataset(tiny_city, tmp_path / "out", SHARD_BYTES).n_kept == 0
        assert tree(tmp_path / "out") == tree(exported.folder)

    def test_a_replacement_that_was_interrupted_goes_on_without_force(
        self, tiny_city: Dataset, exported: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "out"
        export_webdataset(tiny_city, out, 20_000)  # of more shards than the next
        self.interrupted(tiny_city, out, monkeypatch, force=True)
        assert not (out / DESCRIPTION).exists()
        assert export_webdataset(tiny_city, out, SHARD_BYTES).n_kept == 3
        assert tree(out) == tree(exported.folder)

    def test_a_full_disk_is_named_and_finished_shards_are_kept(
        self, tiny_city: Dataset, exported: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(file: IO[bytes], name: str, content: bytes) -> None:
            if name == "000000030.json":
                raise OSError(errno.ENOSPC, "no space")
            write(file, name, content)

        write = export_module._write_member
        with monkeypatch.context() as patch:
            patch.setattr(export_module, "_write_member", full)
            with pytest.raises(StorageError, match=r"cannot write .*00000\d\.tar.*\n.*free some space"):
                export_webdataset(tiny_city, tmp_path / "out", SHARD_BYTES)
        assert export_webdataset(tiny_city, tmp_path / "out", SHARD_BYTES).n_kept >= 2
        assert tree(tmp_path / "out") == tree(exported.folder)


class TestRefusals:
    def test_a_dataset_is_replaced_if_told(self, tiny_city: Dataset, exported: Dataset, tmp_path: Path) -> None:
        out = tmp_path / "out"
        export_webdataset(tiny_city, out, 20_000)
        with pytest.raises(ConfigError, match=r"already a dataset\n.*--force"):
            export_webdataset(tiny_city, out, SHARD_BYTES)
        assert verify(Dataset(out), quick=True).problems == []
        export_webdataset(tiny_city, out, SHARD_BYTES, force=True)
        assert tree(out) == tree(exported.folder)

    def test_not_over_itself(self, exported: Dataset, tmp_path: Path) -> None:
        copy = Dataset(Path(shutil.copytree(exported.folder, tmp_path / "copy")))
        for out in (copy.folder, tmp_path):
            with pytest.raises(ConfigError, match=f"holds {copy.name} itself"):
                export_webdataset(copy, out, force=True)
        assert verify(copy).problems == []

    def test_folders_of_something_else_are_left_alone(self, tiny_city: Dataset, tmp_path: Path) -> None:
        (tmp_path / "out" / "shards").mkdir(parents=True)
        export_webdataset(tiny_city, tmp_path / "out", SHARD_BYTES)  # empty ones are free
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "letter.txt").write_text("dear")
        with pytest.raises(DataError, match="is no dataset; it is not overwritten"):
            export_webdataset(tiny_city, tmp_path / "home", force=True)
        assert tree(tmp_path / "home") == {"letter.txt": b"dear"}

    def test_two_at_once(self, tiny_city: Dataset, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        with FileLock(tmp_path / "out" / LOCK), pytest.raises(ConfigError, match="another process writes to"):
            export_webdataset(tiny_city, tmp_path / "out")

    @pytest.mark.parametrize("damage", ["missing", "longer"])
    def test_photos_that_changed(self, tmp_path: Path, damage: str) -> None:
        city = make_tiny_city(tmp_path / "city")
        victim = city.split("train").path(5)
        if damage == "missing":
            victim.unlink()
        else:
            victim.write_bytes(victim.read_bytes() + b"more")
        with pytest.raises(ImageError, match=str(victim)):
            export_webdataset(city, tmp_path / "out")
        assert not (tmp_path / "out" / DESCRIPTION).exists()


def point_photo(city: Dataset, row: int, path: str, size: int) -> Dataset:
    """The city, of which a photo is another file."""
    table = pq.read_table(city.folder / PHOTOS)
    rows: list[dict[str, Any]] = table.to_pylist()
    rows[row] |= {"path": path, "bytes": size}
    pq.write_table(table.from_pylist(rows, table.schema), city.folder / PHOTOS)
    return Dataset(city.folder)


class TestWhatIsPacked:
    """Images of the dataset, and no other file of this machine."""

    SECRET = b"-----BEGIN A SECRET-----" * 20

    @pytest.fixture
    def city(self, tmp_path: Path) -> Dataset:
        (tmp_path / "secret.png").write_bytes(self.SECRET)
        return make_tiny_city(tmp_path / "city", n_addresses=2)

    def refused(self, city: Dataset, out: Path, error: type[Exception], match: str) -> None:
        with pytest.raises(error, match=match):
            export_webdataset(city, out)
        assert not (out / DESCRIPTION).exists()
        packed = b"".join(tree(out).values()) if out.exists() else b""
        assert self.SECRET[:24] not in packed

    def images_in(self, city: Dataset, images: str) -> Dataset:
        file = city.folder / DESCRIPTION
        told = replace(city.description, images=images)
        file.write_text(told.to_toml())
        return Dataset(city.folder)

    @pytest.mark.parametrize("images", ["..", "images/../..", "../other"])
    def test_a_folder_of_images_that_climbs_out(self, city: Dataset, tmp_path: Path, images: str) -> None:
        odd = point_photo(self.images_in(city, images), 0, "secret.png", len(self.SECRET))
        self.refused(odd, tmp_path / "out", DataError, "outside its folder")

    def test_a_file_that_is_no_image(self, city: Dataset, tmp_path: Path) -> None:
        (city.folder / CONTENTS).unlink()
        odd = point_photo(self.images_in(city, str(tmp_path)), 0, "secret.png", len(self.SECRET))
        self.refused(odd, tmp_path / "out", ImageError, r"secret\.png is not an image")

    @pytest.mark.parametrize("how", ["a file", "an image", "its folder"])
    def test_links_out_of_the_folder_of_images(self, city: Dataset, tmp_path: Path, how: str) -> None:
        images, photo = city.folder / "images", city.split("train").path(0)
        size = photo.stat().st_size
        shutil.copy(photo, tmp_path / "elsewhere.png")
        if how == "its folder":
            (images / "below").symlink_to(tmp_path)
            odd = point_photo(city, 0, "below/elsewhere.png", size)
        else:
            target = tmp_path / ("secret.png" if how == "a file" else "elsewhere.png")
            (images / "link.png").symlink_to(target)
            odd = point_photo(city, 0, "link.png", target.stat().st_size)
        self.refused(odd, tmp_path / "out", DataError, "leads to .*, outside")

    def test_links_within_the_folder_of_images(self, city: Dataset, tmp_path: Path) -> None:
        photo = city.split("train").path(0)
        (city.folder / "images" / "link.png").symlink_to(photo)
        (city.folder / "images" / "below").symlink_to(photo.parent)
        for path in ("link.png", f"below/{photo.name}"):
            linked = point_photo(city, 0, path, photo.stat().st_size)
            export_webdataset(linked, tmp_path / "out", force=True)
            assert Photos(Dataset(tmp_path / "out"), np.arange(1)).read_bytes(0) == photo.read_bytes()

    def test_a_folder_of_images_elsewhere_is_told(self, city: Dataset, tmp_path: Path) -> None:
        shutil.move(city.folder / "images", tmp_path / "photos")
        (city.folder / "images").symlink_to(tmp_path / "photos")
        for i, data in enumerate((city, self.images_in(city, str(tmp_path / "photos")))):
            report = NoReport()
            export_webdataset(data, tmp_path / str(i), reporter=report)
            assert f"photos are taken from {tmp_path / 'photos'}" in report.lines
        assert tree(tmp_path / "0") == tree(tmp_path / "1")

    def test_a_pipe(self, city: Dataset, tmp_path: Path) -> None:
        os.mkfifo(city.folder / "images" / "pipe.png")
        odd = point_photo(city, 0, "pipe.png", 100)
        self.refused(odd, tmp_path / "out", ImageError, "is not a regular file")

    def test_streets_that_are_another_file(self, city: Dataset, tmp_path: Path) -> None:
        (city.folder / STREETS).unlink(missing_ok=True)
        (city.folder / STREETS).symlink_to(tmp_path / "secret.png")
        self.refused(Dataset(city.folder), tmp_path / "out", DataError, "is damaged")

    def test_shards_that_are_another_file(self, city: Dataset, tmp_path: Path) -> None:
        """The checksum of the secret is right: whoever made the dataset knows the file, and wants it packed."""
        export_webdataset(city, tmp_path / "shards")
        shard = tmp_path / "shards" / "shards" / "000000.tar"
        shutil.move(shard, tmp_path / "elsewhere.tar")
        shard.symlink_to(tmp_path / "elsewhere.tar")
        self.refused(Dataset(tmp_path / "shards"), tmp_path / "out", DataError, "leads to .*elsewhere.tar, outside")


class TestLinksInTheFolder:
    """The folder that is exported to is of somebody else's."""

    def test_shards_is_a_link(self, tiny_city: Dataset, tmp_path: Path) -> None:
        mine, out = tmp_path / "mine", tmp_path / "out"
        mine.mkdir()
        out.mkdir()
        for name in ("000000.tar", "000000.parquet", ".letter.tmp", "export.json"):
            (mine / name).write_text("{}")
        (out / "shards").symlink_to(mine)
        (out / DESCRIPTION).touch()
        before = tree(mine)
        with pytest.raises(StorageError, match="is a link"):
            export_webdataset(tiny_city, out, force=True)
        assert tree(mine) == before

    def test_a_shard_that_is_a_link_is_not_kept(
        self, tiny_city: Dataset, exported: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "out"
        TestResuming().interrupted(tiny_city, out, monkeypatch)
        shard = out / "shards" / "000001.tar"
        shutil.copy(shard, tmp_path / "mine.tar")
        shard.unlink()
        shard.symlink_to(tmp_path / "mine.tar")
        before = (tmp_path / "mine.tar").read_bytes()
        assert export_webdataset(tiny_city, out, SHARD_BYTES).n_kept == 1
        assert (tmp_path / "mine.tar").read_bytes() == before
        assert tree(out) == tree(exported.folder)
        assert not shard.is_symlink()


def test_photos_are_not_held_in_memory(tmp_path: Path) -> None:
    """32 MB of photos in shards of 8 MB, some tens of photos at a time."""
    city = make_tiny_city(tmp_path / "city", n_addresses=20, train_places=12)
    table = pq.read_table(city.folder / PHOTOS)
    rows: list[dict[str, Any]] = table.to_pylist()
    for row in rows:
        photo = city.folder / "images" / row["path"]
        photo.write_bytes(photo.read_bytes().ljust(60_000, b"\0"))
        row["bytes"] = 60_000
    pq.write_table(table.from_pylist(rows, table.schema), city.folder / PHOTOS)
    take_contents(Dataset(city.folder), overwrite=True)
    data = Dataset(city.folder)
    assert sum(data.numbers("bytes")) > 32e6
    tracemalloc.start()
    try:
        done: ExportSummary = export_webdataset(data, tmp_path / "out", 8_000_000, reporter=NoReport())
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert done.n_shards >= 5
    assert most < 12e6
