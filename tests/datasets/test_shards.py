"""Photos in tar shards: the same photos, features and answers as from files; what is wrong with a shard is named."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ial_bench.addresses import Address
from ial_bench.captions.captioners import CaptionLength
from ial_bench.captions.captioning import put_captions
from ial_bench.datasets import shards as shards_module
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.derive import join, take_places
from ial_bench.datasets.export import export_webdataset
from ial_bench.datasets.photos import Photos
from ial_bench.datasets.shards import SHARD_SCHEMA, SHARDS
from ial_bench.datasets.table import ADDRESSES, PHOTOS, write_dataset
from ial_bench.datasets.verify import verify
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.plan import ConfiguredMethod, EngineOptions, plan
from ial_bench.engine.predictions import read_predictions
from ial_bench.engine.record import RunRecord
from ial_bench.engine.records import record_path
from ial_bench.engine.run import Engine
from ial_bench.errors import DataError, ImageError
from ial_bench.progress import NoReport
from ial_bench.registry import Registry
from ial_bench.settings import config_from_text
from ial_bench.testing import CHECK_BACKBONE, make_tiny_city

SHARD_BYTES = 60_000


@pytest.fixture(scope="module")
def exported(tiny_city: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The tiny city in ten shards; read only."""
    out = tmp_path_factory.mktemp("exported") / "city"
    assert export_webdataset(tiny_city, out, SHARD_BYTES).n_shards == 10
    return Dataset(out)


@pytest.fixture
def spoilt(exported: Dataset, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(exported.folder, tmp_path / "spoilt"))


def everything(data: Dataset) -> Photos:
    return Photos(data, np.arange(len(data)))


def contents(photos: Photos) -> list[bytes]:
    return [photos.read_bytes(i) for i in range(len(photos))]


def files(photos: Photos) -> list[bytes]:
    return [photos.path(i).read_bytes() for i in range(len(photos))]


def index(folder: Path) -> dict[str, list[Any]]:
    return pq.read_table(folder / SHARDS).to_pydict()  # type: ignore[no-any-return]


def write_index(folder: Path, columns: dict[str, list[Any]]) -> None:
    pq.write_table(pa.table(columns, schema=SHARD_SCHEMA), folder / SHARDS)


def open_files() -> int:
    """Of this process, where the system tells; else 0."""
    folder = Path("/proc/self/fd")
    return sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0


class TestReading:
    def test_photos_and_digests_are_those_of_the_files(self, tiny_city: Dataset, exported: Dataset) -> None:
        assert exported.digest == tiny_city.digest
        assert contents(everything(exported)) == files(everything(tiny_city))
        for split in ("train", "val", "query"):
            ours, theirs = exported.split(split), tiny_city.split(split)
            assert ours.digest == theirs.digest
            np.testing.assert_array_equal(ours.image(3), theirs.image(3))

    def test_threads_share_few_open_shards(
        self, tiny_city: Dataset, exported: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shards_module, "_MOST_OPEN", 2)
        before = open_files()
        photos = everything(Dataset(exported.folder))
        order = np.random.default_rng(0).permutation(len(photos)).tolist() * 5
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(photos.read_bytes, order))
        wanted = files(everything(tiny_city))
        assert found == [wanted[i] for i in order]
        assert open_files() <= before + 2 + 2  # shards, and the two tables

    def test_forked_and_spawned_processes_read(self, tiny_city: Dataset, exported: Dataset) -> None:
        photos = everything(exported)
        photos.read_bytes(0)  # opened before the fork, shared with it
        wanted = files(everything(tiny_city))
        assert contents(pickle.loads(pickle.dumps(photos))) == wanted  # noqa: S301
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(photos.read_bytes, range(len(photos)), 7) == wanted

    def test_a_photo_in_a_shard_has_no_path(self, exported: Dataset, tiny_city: Dataset) -> None:
        photos = exported.split("train")
        assert photos.in_shard(0)
        assert not tiny_city.split("train").in_shard(0)
        assert photos.where(0) == f"{photos.relative_path(0)} in {exported.folder / 'shards' / '000000.tar'}"
        with pytest.raises(DataError, match=r"no file of its own\n.*read_bytes"):
            photos.path(0)


class TestRuns:
    def test_features_and_answers_are_the_same(self, tiny_city: Dataset, exported: Dataset, tmp_path: Path) -> None:
        """Each in a cache of its own, shards read by worker processes; the run ids are equal, too."""
        found = []
        for data, workers in ((tiny_city, 0), (exported, 2)):
            home = tmp_path / data.folder.name
            options = EngineOptions(home / "results", home / "cache", batch_size=8, timing=False)
            features = FeatureStore(home, "cpu", 8, workers, NoReport()).photos(CHECK_BACKBONE, data.split("train"))
            store = FeatureStore(options.cache, "cpu", 8, 0, NoReport())
            record = self.run(data, options, store)
            assert record.predictions is not None
            path = record_path(options.results, data.name, record.method.name, record.run_id)
            found.append((features, record, read_predictions(path.parent / record.predictions.path)[1]))
        (features, record, answers), (same_features, same_record, same_answers) = found
        np.testing.assert_array_equal(features, same_features)
        assert record.run_id == same_record.run_id
        np.testing.assert_array_equal(answers.indices, same_answers.indices)
        np.testing.assert_array_equal(answers.scores, same_answers.scores)

    def run(self, data: Dataset, options: EngineOptions, store: FeatureStore) -> RunRecord:
        method = Registry().get("linear-probe")
        config = config_from_text(method, {"backbone": CHECK_BACKBONE, "c": "1.0"})
        (planned,) = plan(data, [ConfiguredMethod(method, config, "tests")], (0,), options, store, NoReport())
        return Engine(data, options, store, NoReport()).execute(planned)

    def test_the_cache_is_shared(
        self, tiny_city: Dataset, exported: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = FeatureStore(tmp_path, "cpu", 8, 0, NoReport())
        features = store.photos(CHECK_BACKBONE, tiny_city.split("train"))
        monkeypatch.setattr(Photos, "image", None)  # nothing is read again
        np.testing.assert_array_equal(store.photos(CHECK_BACKBONE, exported.split("train")), features)


class TestDamage:
    def shard(self, folder: Path, k: int = 0) -> Path:
        return folder / "shards" / f"{k:06d}.tar"

    @pytest.mark.parametrize("quick", [False, True])
    def test_sound(self, exported: Dataset, quick: bool) -> None:
        found = verify(exported, quick=quick)
        assert (found.problems, found.notes) == ([], [])

    @pytest.mark.parametrize("quick", [False, True])
    def test_missing_shard(self, spoilt: Path, quick: bool) -> None:
        rows = index(spoilt)["shard"].count("000001.tar")
        self.shard(spoilt, 1).unlink()
        (problem,) = verify(Dataset(spoilt), quick=quick).problems
        assert (problem.kind, problem.where) == ("shard missing", str(self.shard(spoilt, 1)))
        assert f"{rows} photos are lost" in problem.detail
        first = index(spoilt)["shard"].index("000001.tar")
        with pytest.raises(ImageError, match=r"cannot read .* in shard .*000001\.tar.*\n.*bench data verify"):
            everything(Dataset(spoilt)).image(first)

    @pytest.mark.parametrize("quick", [False, True])
    def test_cut_shard(self, spoilt: Path, quick: bool) -> None:
        told = index(spoilt)
        os.truncate(self.shard(spoilt), told["offset"][2] + 5)
        (problem,) = verify(Dataset(spoilt), quick=quick).problems
        lost = told["shard"].count("000000.tar") - 2
        assert (problem.kind, problem.where) == ("shard changed", str(self.shard(spoilt)))
        assert f"{lost} photos are lost" in problem.detail
        photos = everything(Dataset(spoilt))
        assert photos.image(1).shape == (32, 32, 3)
        with pytest.raises(ImageError, match="cut off"):
            photos.image(2)

    def test_changed_photo(self, spoilt: Path) -> None:
        told, shard = index(spoilt), self.shard(spoilt)
        data = bytearray(shard.read_bytes())
        data[told["offset"][2] + told["size"][2] - 1] ^= 1  # of PNG's end, which no decoder misses
        shard.write_bytes(data)
        city = Dataset(spoilt)
        (problem,) = verify(city).problems
        assert problem.kind == "image changed"
        assert problem.where == f"{everything(city).relative_path(2)} in {shard}"
        with pytest.raises(ImageError, match="has changed since the shard was written"):
            everything(city).image(2)

    def test_a_shard_that_grew_is_named(self, spoilt: Path) -> None:
        with self.shard(spoilt).open("ab") as file:
            file.write(b"more")
        (problem,) = verify(Dataset(spoilt)).problems
        assert problem.kind == "shard changed"
        assert "0 photos are lost" in problem.detail

    def test_an_index_of_other_photos_reads_none(self, spoilt: Path) -> None:
        """Photos that were put in another order, say: nobody gets another photo than was asked for."""
        told = index(spoilt)
        write_index(spoilt, {name: [*values[1:], values[0]] for name, values in told.items()})
        with pytest.raises(DataError, match=r"row 0 of .*shards\.parquet is not of .*\n.*bench data export"):
            everything(Dataset(spoilt)).image(0)
        assert {p.kind for p in verify(Dataset(spoilt)).problems} == {"image changed"}

    @pytest.mark.parametrize("name", ["../000000.tar", "/etc/passwd", "a/../../b"])
    def test_shards_elsewhere_are_refused(self, spoilt: Path, name: str) -> None:
        told = index(spoilt)
        write_index(spoilt, {**told, "shard": [name, *told["shard"][1:]]})
        with pytest.raises(DataError, match="unsafe"):
            everything(Dataset(spoilt)).image(0)
        assert "shard index damaged" in {p.kind for p in verify(Dataset(spoilt)).problems}

    @pytest.mark.parametrize(
        ("column", "value", "what"),
        [
            ("offset", -1, "damaged"),
            ("size", -5, "damaged"),
            ("shard_bytes", 7, "damaged"),
            ("size", 1 << 61, "cut off"),
        ],
    )
    def test_impossible_numbers(self, spoilt: Path, column: str, value: int, what: str) -> None:
        told = index(spoilt)
        write_index(spoilt, {**told, column: [value, *told[column][1:]]})
        with pytest.raises((DataError, ImageError), match=what):
            everything(Dataset(spoilt)).image(0)

    @pytest.mark.parametrize("damage", ["cut", "too few rows", "other columns"])
    def test_damaged_index(self, spoilt: Path, damage: str) -> None:
        path = spoilt / SHARDS
        if damage == "cut":
            path.write_bytes(path.read_bytes()[:-20])
        elif damage == "too few rows":
            write_index(spoilt, {name: values[1:] for name, values in index(spoilt).items()})
        else:
            pq.write_table(pq.read_table(path).drop(["member"]), path)
        with pytest.raises(DataError, match=r"shards\.parquet"):
            everything(Dataset(spoilt)).image(0)
        assert "shard index damaged" in {p.kind for p in verify(Dataset(spoilt)).problems}


class TestOtherCommands:
    def test_captions_leave_the_photos_where_they_are(self, spoilt: Path, tiny_city: Dataset) -> None:
        ids = Dataset(spoilt).split("train").ids
        put_captions(Dataset(spoilt), {ids[0]: "a street of trees"}, "mine", CaptionLength(1, 30))
        data = Dataset(spoilt)
        assert data.split("train").captions[0] == "a street of trees"
        assert contents(everything(data)) == files(everything(tiny_city))

    def test_a_part_of_the_places(self, exported: Dataset, tiny_city: Dataset, tmp_path: Path) -> None:
        part = take_places(exported, 0.5, 0, "half", tmp_path / "sharded")
        same = take_places(tiny_city, 0.5, 0, "half", tmp_path / "files")
        assert part.digest == same.digest
        assert contents(everything(part)) == files(everything(same))
        assert verify(part).problems == []

    @pytest.mark.parametrize("order", [1, -1])
    def test_join_with_photos_in_files(self, exported: Dataset, tmp_path: Path, order: int) -> None:
        """Cities whose names put their photos before and after one another."""
        drawn = make_tiny_city(tmp_path / "drawn", seed=1)
        columns = pq.read_table(drawn.folder / PHOTOS).to_pydict()
        rows = pq.read_table(drawn.folder / ADDRESSES).to_pylist()
        addresses = [Address(r["street"], "Elsewhere " + r["neighbourhood"], tuple(r["cross_streets"])) for r in rows]
        about = replace(drawn.description, name="a-town" if order > 0 else "z-town", images=str(drawn.images_folder))
        write_dataset(tmp_path / "town", about, addresses, [a.verbose for a in addresses], columns)
        town = Dataset(tmp_path / "town")
        whole = join([exported, town], "both", tmp_path / "both")
        found = dict(zip(everything(whole).ids, contents(everything(whole)), strict=True))
        for data in (exported, town):
            photos = everything(data)
            wanted = dict(zip((f"{data.name}/{i}" for i in photos.ids), contents(photos), strict=True))
            assert {key: found[key] for key in wanted} == wanted
        assert len(found) == len(exported) + len(town)
        assert verify(whole).problems == []

    def test_shards_are_written_anew_from_shards(self, exported: Dataset, tmp_path: Path) -> None:
        export_webdataset(exported, tmp_path / "again", SHARD_BYTES)
        for shard in (exported.folder / "shards").iterdir():
            assert (tmp_path / "again" / "shards" / shard.name).read_bytes() == shard.read_bytes()

    def test_a_dataset_of_files_in_its_place_forgets_the_shards(self, spoilt: Path) -> None:
        about = replace(Dataset(spoilt).description, images="images")
        columns = pq.read_table(spoilt / PHOTOS).to_pydict()
        addresses = Dataset(spoilt).addresses
        write_dataset(spoilt, about, addresses, [a.verbose for a in addresses], columns)
        assert Dataset(spoilt).shards is None
