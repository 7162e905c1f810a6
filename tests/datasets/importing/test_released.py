"""Import of the released layout: what is sound arrives whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from ial_bench.addresses import Address
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.importing.released import import_released
from ial_bench.datasets.importing.report import REPORT
from ial_bench.datasets.photos import Photos
from ial_bench.datasets.table import DESCRIPTION
from ial_bench.datasets.verify import verify
from ial_bench.errors import BenchError, ConfigError, StorageError
from ial_bench.progress import NoReport
from support.made_release import ADDRESSES, N_QUERY, N_TRAIN, Tree, only_bad, record, report


class TestSoundRelease:
    def test_everything_arrives(self, tree: Tree) -> None:
        summary, data = tree.load()
        assert (summary.bad, report(summary)) == ([], [])
        assert sum(summary.counts.values()) == len(data) == N_TRAIN + N_QUERY
        assert summary.counts == data.counts()
        assert summary.counts == {"train": N_TRAIN - 6, "val": 6, "database": 0, "query": N_QUERY}
        assert (summary.n_addresses, summary.n_candidates, summary.n_places) == (3, 3, 18)
        assert [a.text for a in data.addresses] == list(ADDRESSES)
        assert data.verbose_addresses == [Address.parse(a).verbose for a in ADDRESSES]
        assert (summary.rule.name, data.description.made_by["place_rule"]) == ("stem-view", "stem-view")

    def test_each_photo_keeps_its_own_record(self, tree: Tree) -> None:
        for i, key in enumerate(tree.train):
            tree.train[key][0] = f"caption {i} "
        _, data = tree.load()
        photos = Photos(data, np.arange(len(data)))
        given = tree.train | tree.queries
        place_numbers: dict[str, int] = {}
        for row, path in enumerate(photos.ids):
            place = path.removeprefix("images/").split("_")[0]
            assert data.addresses[photos.address_rows[row]].text == given[f"./{path}"][2]
            assert photos.captions[row] == given[f"./{path}"][0].strip()
            assert tuple(photos.positions[row]) == tree.coords[path]
            assert photos.path(row).read_bytes() == path.encode()
            assert photos.file_bytes(row) == len(path)
            assert place_numbers.setdefault(place, int(photos.places[row])) == photos.places[row]
        assert len(set(place_numbers.values())) == 18
        assert np.isnan(photos.headings).all()

    def test_val_is_cut_from_train_by_place(self, tree: Tree) -> None:
        _, data = tree.load()
        assert set(data.split("train", "val").ids) == {k.removeprefix("./") for k in tree.train}
        assert set(data.split("query").ids) == {k.removeprefix("./") for k in tree.queries}
        assert set(data.split("train").places.tolist()).isdisjoint(data.split("val").places.tolist())
        assert set(data.split("train").labels.tolist()) == {0, 1, 2}

    def test_val_seed(self, tree: Tree) -> None:
        cuts = {seed: tree.load(seed=seed, force=True)[1].split("val").ids for seed in (0, 1, 2)}
        assert tree.load(seed=1, force=True)[1].split("val").ids == cuts[1]
        assert len({tuple(ids) for ids in cuts.values()}) > 1
        assert tree.load(val_fraction=0.0, force=True)[0].counts["val"] == 0

    @pytest.mark.parametrize("fraction", [-0.1, 1.0, 1.5, float("nan")])
    def test_val_share_that_is_none(self, tree: Tree, fraction: float) -> None:
        with pytest.raises(ConfigError, match="val-fraction"):
            tree.load(val_fraction=fraction)

    def test_twice_gives_the_same_digest(self, tree: Tree) -> None:
        first = tree.load()[1].digest
        assert tree.load(force=True)[1].digest == first
        assert tree.load(force=True, seed=1)[1].digest != first

    def test_order_of_json_keys_does_not_matter(self, tree: Tree) -> None:
        """Not even where records of one address are spelled in several ways."""
        for i, key in enumerate(list(tree.train)):
            if tree.train[key][2] == ADDRESSES[0]:
                tree.train[key] = ["", f"beside the {'ABC'[i % 3]}", ("Ash Lane", "ASH LANE")[i % 2] + ADDRESSES[0][8:]]
        first = tree.load()[1]
        digests = {first.digest}
        for seed in range(5):
            rng = np.random.default_rng(seed)
            tree.train = {k: tree.train[k] for k in rng.permutation(list(tree.train)).tolist()}
            tree.coords = {k: tree.coords[k] for k in rng.permutation(list(tree.coords)).tolist()}
            digests.add(tree.load(force=True)[1].digest)
        assert digests == {first.digest}

    def test_keys_below_the_images_folder_itself(self, tree: Tree) -> None:
        """`--images` may be the folder that the keys begin with, or the one above it."""
        inside = tree.load()[1]
        above = import_released(tree.options(images=tree.root, out=tree.root / "out2"))
        assert inside.images_folder == Dataset(above.folder).images_folder == tree.root.resolve()
        assert Dataset(above.folder).digest == inside.digest

    def test_keys_without_the_folder(self, tree: Tree) -> None:
        for records in (tree.train, tree.queries):
            for key in list(records):
                records[key.replace("./images/", "")] = records.pop(key)
        tree.coords = {name.replace("images/", "./"): point for name, point in tree.coords.items()}
        summary, data = tree.load()
        assert (summary.bad, data.images_folder) == ([], tree.images.resolve())
        assert data.split("query").path(0).is_file()

    def test_one_record_elsewhere_does_not_mislead_the_search(self, tree: Tree) -> None:
        tree.train["./gone/1_1.jpg"] = record(ADDRESSES[0])
        only_bad(*tree.load(), "town_train.json", "./gone/1_1.jpg", "image missing", N_TRAIN + N_QUERY)

    def test_folders_side_by_side(self, tree: Tree) -> None:
        """As released for Pittsburgh: images/… for training, queries_real/… for queries."""
        for key in list(tree.queries):
            name = key.replace("./images", "queries_real")
            tree.queries[tree.photo(name)] = tree.queries.pop(key)
            tree.coords[name] = tree.coords.pop(key.removeprefix("./"))
        summary, data = tree.load()
        assert summary.bad == []
        assert all(i.startswith("queries_real/") for i in data.split("query").ids)

    def test_windows_separators(self, tree: Tree) -> None:
        tree.train = {key.replace("/", "\\"): value for key, value in tree.train.items()}
        tree.coords = {name.replace("/", "\\"): point for name, point in tree.coords.items()}
        assert tree.load()[0].bad == []

    def test_result_is_sound(self, tree: Tree, tiny_city: Dataset) -> None:
        """Verified with real photos in place of the stand-ins."""
        pool = Photos(tiny_city, np.arange(N_TRAIN + N_QUERY))
        for i, key in enumerate([*tree.train, *tree.queries]):
            shutil.copy(pool.path(i), tree.root / key)
        assert verify(tree.load()[1]).problems == []

    def test_steps_are_told(self, tree: Tree) -> None:
        reporter = NoReport()
        import_released(tree.options(), reporter)
        steps = reporter.lines
        assert steps[0] == "reading town_train.json, town_queries.json"
        assert steps[-1] == f"writing {tree.root / 'out'}"

    def test_images_stay_where_they_are(self, tree: Tree) -> None:
        before = {p: p.stat().st_mtime_ns for p in tree.images.rglob("*")}
        tree.load()
        assert {p: p.stat().st_mtime_ns for p in tree.images.rglob("*")} == before
        assert sorted(p.name for p in (tree.root / "out").iterdir()) == sorted(
            ["addresses.parquet", "contents.parquet", "photos.parquet", DESCRIPTION, REPORT]
        )


class TestDatabase:
    def test_photos_of_train_are_not_counted_twice(self, tree: Tree) -> None:
        alone = tree.load()[1].digest
        tree.database = dict(tree.train)
        summary, data = tree.load(force=True)
        assert (summary.bad, summary.counts["database"]) == ([], 0)
        assert data.digest == alone

    def test_photos_of_its_own_are_a_split(self, tree: Tree) -> None:
        new = tree.photo("images/90_0.jpg")
        tree.coords["images/90_0.jpg"] = (40.001, -80.0)
        tree.database = tree.train | {new: record("Dogwood Drive, Harbour")}
        summary, data = tree.load()
        assert summary.counts["database"] == 1
        assert data.split("database").ids == ["images/90_0.jpg"]
        assert summary.n_candidates == len(data.candidates) == 4
        assert data.candidates.texts[3] == "Dogwood Drive, Harbour"

    def test_other_address_than_in_train_is_told(self, tree: Tree) -> None:
        key = next(iter(tree.train))
        other = {key: record(ADDRESSES[1])}
        tree.database = tree.train | other
        assert tree.train[key] != other[key]
        summary, data = tree.load()
        only_bad(summary, data, "town_database.json", key, "in train as well, with another address", N_TRAIN + N_QUERY)

    def test_same_address_in_another_spelling_is_the_same(self, tree: Tree) -> None:
        tree.database = {k: ["", "", v[2].upper()] for k, v in tree.train.items()}
        assert tree.load()[0].bad == []

    def test_query_in_the_database_is_told(self, tree: Tree) -> None:
        key = next(iter(tree.queries))
        tree.database = {key: tree.queries[key]}
        summary, data = tree.load()
        only_bad(summary, data, "town_queries.json", key, "photo is in database as well", N_TRAIN + N_QUERY)


class TestOut:
    def test_is_not_overwritten_unasked(self, tree: Tree) -> None:
        before = tree.load()[1].digest
        for key in list(tree.train)[:2]:
            del tree.train[key]
        with pytest.raises(ConfigError, match="is already a dataset") as caught:
            tree.load()
        assert "--force" in (caught.value.fix or "")
        assert Dataset(tree.root / "out").digest == before
        assert tree.load(force=True)[1].digest != before

    def test_file_in_the_way(self, tree: Tree) -> None:
        (tree.root / "wall").write_text("here first")
        for out in (tree.root / "wall", tree.root / "wall" / "town"):
            with pytest.raises(StorageError) as caught:
                import_released(tree.options(out=out))
            assert "another folder" in (caught.value.fix or "")
        assert (tree.root / "wall").read_text() == "here first"

    def test_folder_in_the_way_of_the_report(self, tree: Tree) -> None:
        (tree.root / "out" / REPORT / "x").mkdir(parents=True)
        with pytest.raises(StorageError, match=REPORT):
            tree.load()

    def test_no_rights(self, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
        def mkdir(self: Path, **_: object) -> None:
            raise PermissionError(13, os.strerror(13), str(self))

        options = tree.options()
        monkeypatch.setattr(Path, "mkdir", mkdir)
        with pytest.raises(StorageError, match="Permission denied") as caught:
            import_released(options)
        assert str(options.out) in caught.value.problem
        assert "may write to" in (caught.value.fix or "")

    def test_full_disk(self, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(_: int) -> None:
            raise OSError(28, os.strerror(28))

        options = tree.options()
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="No space left"):
            import_released(options)
        assert not (options.out / DESCRIPTION).exists()


def test_errors_are_for_users(tree: Tree) -> None:
    """Each says what mends it."""
    for change in ({"images": tree.root / "x"}, {"val_fraction": 2.0}, {"place_rule": "x"}, {"utm_zone": "0N"}):
        if "utm_zone" in change:
            tree.header = "filename,utm_easting,utm_northing"
        with pytest.raises(BenchError) as caught:
            tree.load(**change)
        assert caught.value.fix
