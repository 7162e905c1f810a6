"""Import of the released layout: everything usable is used, everything else is listed with its reason."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyproj import Proj
from typer.testing import CliRunner

from ial_bench.addresses import Address
from ial_bench.cli.data import share
from ial_bench.cli.main import app
from ial_bench.datasets.coords import read_coords, sf_xl_position
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.photos import Photos
from ial_bench.datasets.released import REPORT, ImportSummary, ReleasedOptions, import_released
from ial_bench.datasets.table import DESCRIPTION
from ial_bench.datasets.verify import verify
from ial_bench.errors import BenchError, ConfigError, DataError, StorageError

ADDRESSES = (
    "Ash Lane, Old Town (Elm Street, Fir Way)",
    "Birch Lane, Old Town (Elm Street)",
    "Cedar Avenue, Harbour",
)
TRAIN_PLACES, QUERY_PLACES, VIEWS = 5, 1, 2  # of each address
N_TRAIN, N_QUERY = 3 * TRAIN_PLACES * VIEWS, 3 * QUERY_PLACES * VIEWS

Records = dict[str, Any]


@dataclass
class Tree:
    """A release in a folder: JSON files, a CSV of positions, images. Change it, then write it."""

    root: Path
    train: Records = field(default_factory=dict)
    queries: Records = field(default_factory=dict)
    database: Records | None = None
    coords: dict[str, tuple[object, object]] = field(default_factory=dict)
    header: str = "filename,lat,lon"

    @property
    def images(self) -> Path:
        return self.root / "images"

    def photo(self, name: str, content: bytes | None = None) -> str:
        """Make an image file; gives the key it has in the JSON files."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if content is not None else name.encode())
        return f"./{name}"

    def options(self, **changes: Any) -> ReleasedOptions:
        """Write the annotation; gives the options to import it."""
        folder = self.root / "annotations"
        folder.mkdir(exist_ok=True)
        for kind, records in (("train", self.train), ("database", self.database), ("queries", self.queries)):
            if records is not None:
                (folder / f"town_{kind}.json").write_text(json.dumps(records), encoding="utf-8")
        rows = [",".join(map(str, ('"' + name + '"', a, b))) for name, (a, b) in self.coords.items()]
        (folder / "coords.csv").write_text("\n".join([self.header, *rows]) + "\n", encoding="utf-8")
        options = ReleasedOptions(
            folder, self.images, "town", self.root / "out", folder / "coords.csv", val_fraction=0.2, max_bad=1.0
        )
        return replace(options, **changes)

    def load(self, **changes: Any) -> tuple[ImportSummary, Dataset]:
        """Import it."""
        summary = import_released(self.options(**changes))
        return summary, Dataset(summary.folder)


def record(address: str, caption: str = "") -> list[str]:
    return [caption, Address.parse(address).verbose, address]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A sound release: 15 train and 3 query places of 2 views each, on 3 addresses."""
    tree = Tree(tmp_path)
    for place in range(3 * (TRAIN_PLACES + QUERY_PLACES)):
        records = tree.train if place < 3 * TRAIN_PLACES else tree.queries
        for view in range(VIEWS):
            key = tree.photo(f"images/{place}_{view}.jpg")
            records[key] = record(ADDRESSES[place % 3])
            tree.coords[key.removeprefix("./")] = (40.0 + 1e-4 * place, -80.0)
    return tree


def report(summary_or_folder: ImportSummary | Path) -> list[tuple[str, str, str]]:
    """The rows of the report, without its header."""
    folder = summary_or_folder if isinstance(summary_or_folder, Path) else summary_or_folder.folder
    with (folder / REPORT).open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["file", "key", "reason"]
    return [(a, b, c) for a, b, c in rows]


def only_bad(summary: ImportSummary, data: Dataset, file: str, key: str, reason: str, n_good: int) -> None:
    """One record is listed, with this reason; all others are in the dataset."""
    told = [(f, k.replace("\0", "\\0"), r) for f, k, r in summary.bad]  # a CSV cannot hold NUL everywhere
    assert told == report(summary)
    assert [(f, k) for f, k, _ in summary.bad] == [(file, key)]
    assert reason in summary.bad[0][2]
    assert len(data) == n_good == sum(summary.counts.values())
    assert data.description.made_by["records"] == n_good + 1
    assert data.description.made_by["records_not_used"] == 1


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
        steps: list[str] = []
        import_released(tree.options(), steps.append)
        assert steps[0] == "reading town_train.json, town_queries.json"
        assert steps[-1] == f"writing {tree.root / 'out'}"

    def test_images_stay_where_they_are(self, tree: Tree) -> None:
        before = {p: p.stat().st_mtime_ns for p in tree.images.rglob("*")}
        tree.load()
        assert {p: p.stat().st_mtime_ns for p in tree.images.rglob("*")} == before
        assert sorted(p.name for p in (tree.root / "out").iterdir()) == sorted(
            ["addresses.parquet", "photos.parquet", DESCRIPTION, REPORT]
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


class TestBadRecords:
    """One record is spoilt; it is listed, and nothing else changes."""

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (["", "", "Ash Lane"], "not an address: 'Ash Lane'"),
            (["", "", ""], "not an address"),
            (["", "", "Ash Lane, Old Town (Elm Street"], "unbalanced brackets"),
            (["", "", "Ash Lane, Old Town\x00"], "control characters"),
            (["", "", "Ash Lane, " + "x" * 1000], "address of 1010 characters"),
            (["", ""], "not [caption, verbose address, canonical address]"),
            (["", "", ADDRESSES[0], ""], "not [caption, verbose address, canonical address]"),
            (["", None, ADDRESSES[0]], "not [caption, verbose address, canonical address]"),
            ({"address": ADDRESSES[0]}, "not [caption, verbose address, canonical address]"),
            (ADDRESSES[0], "not [caption, verbose address, canonical address]"),
            (None, "not [caption, verbose address, canonical address]"),
            (["\ud83d", "", ADDRESSES[0]], "half a character"),
            (["", "\udc00", ADDRESSES[0]], "half a character"),
        ],
    )
    @pytest.mark.parametrize("kind", ["train", "queries"])
    def test_value(self, tree: Tree, kind: str, value: object, reason: str) -> None:
        records = tree.train if kind == "train" else tree.queries
        key = list(records)[3]
        records[key] = value
        only_bad(*tree.load(), f"town_{kind}.json", key, reason, N_TRAIN + N_QUERY - 1)

    @pytest.mark.parametrize(
        ("key", "reason"),
        [
            ("../secret.jpg", "unsafe photo path '../secret.jpg'"),
            ("./images/../../secret.jpg", "unsafe photo path"),
            ("/etc/passwd", "unsafe photo path '/etc/passwd'"),
            ("..\\secret.jpg", "unsafe photo path"),
            ("", "unsafe photo path ''"),
            ("./images/a\x00.jpg", "unsafe photo path"),
            ("./images/none.jpg", "image missing"),
            ("./images/" + "long" * 200 + ".jpg", "image missing"),
            ("./images", "image is no file"),
            ("./images/folder", "image is no file"),
        ],
    )
    def test_key(self, tree: Tree, key: str, reason: str) -> None:
        (tree.root.parent / "secret.jpg").write_bytes(b"no photo of this release")
        (tree.images / "folder").mkdir()
        tree.train[key] = record(ADDRESSES[0])
        only_bad(*tree.load(), "town_train.json", key, reason, N_TRAIN + N_QUERY)

    def test_key_with_half_a_character(self, tree: Tree) -> None:
        tree.train["./images/\ud800.jpg"] = record(ADDRESSES[0])
        summary, data = tree.load()
        assert report(summary) == [("town_train.json", "./images/\\ud800.jpg", summary.bad[0][2])]
        assert "half a character" in summary.bad[0][2]
        assert len(data) == N_TRAIN + N_QUERY

    @pytest.mark.parametrize(
        ("latitude", "longitude"),
        [
            ("NaN", -80.0),
            (40.0, ""),
            ("inf", -80.0),
            (40.0, "-inf"),
            (91.0, -80.0),
            (40.0, 180.5),
            (0, 0),
            ("0.0", "-0.0"),
        ],
    )
    def test_position(self, tree: Tree, latitude: object, longitude: object) -> None:
        tree.coords["images/4_1.jpg"] = (latitude, longitude)
        only_bad(*tree.load(), "town_train.json", "./images/4_1.jpg", "position missing", N_TRAIN + N_QUERY - 1)

    def test_position_that_is_not_listed(self, tree: Tree) -> None:
        del tree.coords["images/4_1.jpg"]
        only_bad(*tree.load(), "town_train.json", "./images/4_1.jpg", "position missing", N_TRAIN + N_QUERY - 1)

    def test_position_that_is_listed_twice(self, tree: Tree) -> None:
        tree.coords["./images/4_1.jpg"] = (40.003, -80.0)
        tree.coords["./images/5_1.jpg"] = tree.coords["images/5_1.jpg"]  # in agreement, and so no matter
        only_bad(*tree.load(), "town_train.json", "./images/4_1.jpg", "contradictory", N_TRAIN + N_QUERY - 1)

    def test_position_far_away(self, tree: Tree) -> None:
        tree.coords["images/4_1.jpg"] = (-80.0, 40.0)  # the two changed about
        summary, data = tree.load()
        only_bad(
            summary,
            data,
            "town_train.json",
            "./images/4_1.jpg",
            "far outside the city: -80.00000, 40",
            N_TRAIN + N_QUERY - 1,
        )
        assert data.description.bounds.contain(Photos(data, np.arange(len(data))).positions).all()

    def test_many_positions_of_zero(self, tree: Tree) -> None:
        """So many that no statistic would find them out: a fifth of all."""
        for name in list(tree.coords)[:7]:
            tree.coords[name] = (0, 0)
        summary, data = tree.load()
        assert len(summary.bad) == 7
        assert Photos(data, np.arange(len(data))).positions.min(axis=0)[0] > 39

    def test_one_photo_under_two_keys(self, tree: Tree) -> None:
        tree.train["images/4_1.jpg"] = tree.train["./images/4_1.jpg"]
        summary, data = tree.load()
        only_bad(summary, data, "town_train.json", "images/4_1.jpg", "photo is twice in train", N_TRAIN + N_QUERY)
        assert len(set(Photos(data, np.arange(len(data))).ids)) == len(data)

    def test_photo_in_train_and_queries(self, tree: Tree) -> None:
        key = next(iter(tree.train))
        tree.queries[key] = tree.train[key]
        summary, data = tree.load()
        only_bad(summary, data, "town_queries.json", key, "photo is in train as well", N_TRAIN + N_QUERY)
        assert key.removeprefix("./") not in data.split("query").ids

    def test_counts_add_up_whatever_is_wrong(self, tree: Tree) -> None:
        """Every kind at once: each record of the files is in the dataset or in the report, none in both."""
        keys = list(tree.train)
        tree.train[keys[0]] = ["", "", "nowhere"]
        tree.train[keys[1]] = None
        tree.train["../x.jpg"] = record(ADDRESSES[0])
        tree.train["images/3_0.jpg"] = record(ADDRESSES[0])
        (tree.root / keys[8]).unlink()
        tree.coords[keys[10].removeprefix("./")] = ("", "")
        tree.coords[keys[11].removeprefix("./")] = (10, 10)
        tree.queries[keys[12]] = record(ADDRESSES[0])
        given = [("town_train.json", k) for k in tree.train] + [("town_queries.json", k) for k in tree.queries]
        summary, data = tree.load()
        listed = [(file, key) for file, key, _ in report(summary)]
        assert Counter(listed) == Counter(
            [("town_train.json", keys[i]) for i in (0, 1, 8, 10, 11)]
            + [("town_train.json", "../x.jpg"), ("town_train.json", "images/3_0.jpg"), ("town_queries.json", keys[12])]
        )
        used = {
            (f"town_{'queries' if split == 'query' else 'train'}.json", f"./{i}")
            for split in data.counts()
            for i in data.split(split).ids
        }
        assert used.isdisjoint(listed)
        assert used | set(listed) == set(given)
        assert data.description.made_by["records"] == len(given)

    def test_report_is_no_spreadsheet_program(self, tree: Tree) -> None:
        hostile = ["=HYPERLINK(1)", "+1", "-2+3", "@SUM(1)", "\t=1", "\r=1", "\n=1"]
        for key in hostile:
            tree.train[key] = None
        tree.train['a,b"c\nd=1'] = None
        summary, _ = tree.load()
        cells = [key for _, key, _ in report(summary)]
        assert cells == [f"'{key}" for key in hostile] + ['a,b"c\nd=1']
        assert [key for _, key, _ in summary.bad] == [*hostile, 'a,b"c\nd=1']

    def test_address_that_only_a_bad_record_has_is_no_address(self, tree: Tree) -> None:
        tree.train["./images/none.jpg"] = record("Zion Street, Harbour")
        summary, data = tree.load()
        assert summary.n_addresses == len(data.addresses) == 3


class TestMaxBad:
    def spoil(self, tree: Tree, n: int) -> None:
        for key in list(tree.train)[:n]:
            tree.train[key] = None

    def test_stops_above_and_passes_at_the_share(self, tree: Tree) -> None:
        self.spoil(tree, 3)  # of 36: a twelfth
        with pytest.raises(DataError, match=r"3 of 36 records cannot be used, more than --max-bad 8\.00%") as caught:
            tree.load(max_bad=0.08)
        assert "3 x not [caption" in caught.value.problem
        assert str(tree.root / "out" / REPORT) in (caught.value.fix or "")
        assert len(report(tree.root / "out")) == 3
        assert not (tree.root / "out" / DESCRIPTION).exists()
        assert len(tree.load(max_bad=3 / 36)[0].bad) == 3

    @pytest.mark.parametrize("percent", [1, 7, 14, 28, 29, 55, 56, 57, 58])
    def test_share_is_not_lost_to_rounding(self, tmp_path: Path, percent: int) -> None:
        """0.29 * 100 is 28.999999999999996; 29 bad records of 100 are 29 %."""
        tree = Tree(tmp_path)
        for i in range(100):
            key = tree.photo(f"images/{i}.jpg")
            tree.coords[key.removeprefix("./")] = (40, -80)
            tree.train[key] = record(ADDRESSES[0]) if i >= percent else None
        allowed = share(f"{percent}%")
        assert len(tree.load(max_bad=allowed)[0].bad) == percent
        with pytest.raises(DataError, match="more than --max-bad"):
            tree.load(max_bad=allowed - 1e-9, force=True)

    def test_nothing_usable(self, tree: Tree) -> None:
        self.spoil(tree, N_TRAIN)
        tree.queries = {}
        with pytest.raises(DataError, match="30 of 30 records cannot be used"):
            tree.load(max_bad=1.0)

    def test_nothing_at_all(self, tree: Tree) -> None:
        tree.train, tree.queries = {}, {}
        with pytest.raises(DataError, match="no records in"):
            tree.load()

    def test_failed_import_leaves_an_earlier_dataset_alone(self, tree: Tree) -> None:
        before = tree.load()[1].digest
        self.spoil(tree, N_TRAIN)
        with pytest.raises(DataError):
            tree.load(force=True, max_bad=0.1)
        assert Dataset(tree.root / "out").digest == before


class TestWholeFiles:
    def test_json_cut_in_half(self, tree: Tree) -> None:
        options = tree.options()
        path = options.annotations / "town_train.json"
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(DataError, match="is not valid JSON") as caught:
            import_released(options)
        assert str(path) in caught.value.problem
        assert "cut off" in (caught.value.fix or "")
        assert not options.out.exists()

    def test_json_with_a_key_twice(self, tree: Tree) -> None:
        """A parser would keep the last, and drop the first without a word."""
        options = tree.options()
        path = options.annotations / "town_train.json"
        path.write_text(path.read_text().rstrip("}") + ', "./images/0_0.jpg": null}')
        with pytest.raises(DataError, match=r"'\./images/0_0\.jpg' stands twice"):
            import_released(options)

    @pytest.mark.parametrize("content", ["[]", '"town"', "3", "null", '[["./images/0_0.jpg", "", ""]]'])
    def test_json_of_another_layout(self, tree: Tree, content: str) -> None:
        options = tree.options()
        (options.annotations / "town_queries.json").write_text(content)
        with pytest.raises(DataError, match="not an object of records") as caught:
            import_released(options)
        assert "town_queries.json" in caught.value.problem

    @pytest.mark.parametrize("kind", ["train", "queries"])
    def test_file_missing(self, tree: Tree, kind: str) -> None:
        options = tree.options()
        (options.annotations / f"town_{kind}.json").unlink()
        with pytest.raises(DataError, match=rf"no \*_{kind}\.json in"):
            import_released(options)

    def test_files_of_two_datasets(self, tree: Tree) -> None:
        options = tree.options()
        shutil.copy(options.annotations / "town_train.json", options.annotations / "city_train.json")
        with pytest.raises(DataError, match=r"several \*_train\.json in .*: city_train\.json, town_train\.json"):
            import_released(options)

    @pytest.mark.parametrize("what", ["annotations", "images"])
    def test_folder_missing(self, tree: Tree, what: str) -> None:
        changes: dict[str, Any] = {what: tree.root / "nowhere"}
        with pytest.raises(DataError, match=f"no such folder of {what}") as caught:
            tree.load(**changes)
        assert f"--{what}" in (caught.value.fix or "")


class TestPositions:
    def test_wrong_columns_are_listed(self, tree: Tree) -> None:
        tree.header = "image_id,northing,easting"
        with pytest.raises(DataError, match="has the columns image_id, northing, easting") as caught:
            tree.load()
        assert "filename,utm_easting,utm_northing or filename,lat,lon" in (caught.value.fix or "")

    @pytest.mark.parametrize(
        "header", ["filename,lat,utm_northing", "place,lat,lon", "filename,lat,lng", "filename,lat,lat"]
    )
    def test_half_of_the_columns_is_not_enough(self, tree: Tree, header: str) -> None:
        tree.header = header
        with pytest.raises(DataError, match=f"has the columns {', '.join(header.split(','))}"):
            tree.load()

    @pytest.mark.parametrize("header", ["filename,latitude,longitude", "file,lat,lon", "path,lat,lon", "image,lat,lon"])
    def test_other_names_of_columns(self, tree: Tree, header: str) -> None:
        tree.header = header
        assert tree.load()[0].bad == []

    def test_order_of_columns_and_others_beside_them(self, tree: Tree) -> None:
        text = "lon,weather,filename,lat\n-80.5,rain,images/a.jpg,40.25\n"
        (tree.root / "c.csv").write_text(text)
        assert read_coords(tree.root / "c.csv", None) == {"images/a.jpg": (40.25, -80.5)}

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\n\n",
            b"filename,lat,lon\nimages/a.jpg,40\n",
            b"filename,lat,lon\nimages/a.jpg,north,west\n",
            b"filename,lat,lon\nimages/a.jpg,40,2020-01-01\n",
            b"filename,lat,lon\nimages/a.jpg,40,12:30:00\n",
            b"filename,lat,lon\nimages/\xff.jpg,40,-80\n",
            b"filename,lat,\xff\nimages/a.jpg,40,-80\n",
            "filename,lat,lon\nimages/a.jpg,40,-80\n".encode("utf-16"),
        ],
        ids=["empty", "blank", "short row", "words", "date", "time", "Latin 1", "Latin 1 header", "UTF-16"],
    )
    def test_bad_csv_is_named(self, tree: Tree, content: bytes) -> None:
        path = tree.root / "c.csv"
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            read_coords(path, None)
        assert str(path) in caught.value.problem

    def test_missing_csv(self, tree: Tree) -> None:
        for path in (tree.root / "none.csv", tree.root):
            with pytest.raises(DataError, match="cannot read"):
                read_coords(path, None)

    def test_byte_order_mark_of_spreadsheets(self, tree: Tree) -> None:
        (tree.root / "c.csv").write_bytes(b"\xef\xbb\xbffilename,lat,lon\r\nimages/a.jpg,40,-80\r\n")
        assert read_coords(tree.root / "c.csv", None) == {"images/a.jpg": (40, -80)}

    def test_names_that_look_like_numbers(self, tree: Tree) -> None:
        (tree.root / "c.csv").write_text("filename,lat,lon\n0012,40,-80\n2020-01-01,41,-80\n,42,-80\n")
        assert read_coords(tree.root / "c.csv", None) == {"0012": (40, -80), "2020-01-01": (41, -80)}

    def test_utm(self, tree: Tree) -> None:
        """Written with one projection library's formula, read back as degrees."""
        project = Proj(proj="utm", zone=17, ellps="WGS84")
        degrees = dict(tree.coords)
        tree.header = "filename,utm_easting,utm_northing"
        tree.coords = {k: project(lon, lat) for k, (lat, lon) in degrees.items()}
        _, data = tree.load(utm_zone="17N")
        photos = Photos(data, np.arange(len(data)))
        np.testing.assert_allclose(photos.positions, [np.array(degrees[i], dtype=float) for i in photos.ids], atol=1e-7)
        assert data.description.made_by["utm_zone"] == "17N"

    def test_utm_of_zero_is_missing_too(self, tree: Tree) -> None:
        """Zero metres, zero metres is a real point of the zone; but not of a city."""
        project = Proj(proj="utm", zone=17, ellps="WGS84")
        tree.header = "filename,utm_easting,utm_northing"
        tree.coords = {k: project(lon, lat) for k, (lat, lon) in tree.coords.items()}
        for name in list(tree.coords)[:8]:
            tree.coords[name] = (0, 0)
        summary, _ = tree.load(utm_zone="17N")
        assert Counter(reason.split(",")[0] for _, _, reason in summary.bad) == {"position missing": 8}

    def test_utm_without_zone(self, tree: Tree) -> None:
        tree.header = "filename,utm_easting,utm_northing"
        with pytest.raises(ConfigError, match="UTM positions, whose zone is not known") as caught:
            tree.load()
        assert "--utm-zone" in (caught.value.fix or "")

    def test_utm_with_a_wrong_zone(self, tree: Tree) -> None:
        tree.header = "filename,utm_easting,utm_northing"
        with pytest.raises(ConfigError, match="'99N' is not a UTM zone"):
            tree.load(utm_zone="99N")

    def test_none_given_and_none_in_the_names(self, tree: Tree) -> None:
        with pytest.raises(DataError, match="36 of 36 records") as caught:
            tree.load(coords=None)
        assert "no --coords, and none in the file name" in report(tree.root / "out")[0][2]
        assert "36 x position missing" in caught.value.problem

    @pytest.mark.parametrize(
        ("name", "point"),
        [
            ("@0543256.96@4178906.70@10@S@037.75552@-122.50876@SaoCcI@@180@@@@201311@@.jpg", (37.75552, -122.50876)),
            ("a/b/@1@2@10@S@037.5@-122.25@x@t@1@2@3@4@5@note@.png", (37.5, -122.25)),
            ("@1@2@10@S@037.5@-122.25@x@t@1@2@3@4@5@.jpg", None),  # a field short
            ("@1@2@10@S@037.5@-122.25@x@t@1@2@3@4@5@6@7@.jpg", None),  # a field too many
            ("x@1@2@10@S@037.5@-122.25@x@t@1@2@3@4@5@6@.jpg", None),
            ("@1@2@10@S@@@x@t@1@2@3@4@5@6@.jpg", None),
            ("@1@2@10@S@0@0@x@t@1@2@3@4@5@6@.jpg", None),
            ("@1@2@10@S@0@9.5@x@t@1@2@3@4@5@6@.jpg", (0, 9.5)),  # on the equator
            ("images/0_0.jpg", None),
        ],
    )
    def test_in_the_name(self, name: str, point: tuple[float, float] | None) -> None:
        assert sf_xl_position(name) == point

    def test_release_with_positions_in_the_names(self, tmp_path: Path) -> None:
        """As of San Francisco: no CSV, places are panoramas."""
        tree = Tree(tmp_path)
        for pano in range(6):
            for heading in (0, 90):
                name = f"@5{pano}@4@10@S@{37.75 + pano / 1e4:.5f}@-122.50000@pano-{pano}@@{heading:03d}@@@@201311@@.jpg"
                records = tree.queries if pano == 5 else tree.train
                records[tree.photo(f"images/37.75/{name}")] = record(ADDRESSES[0])
        summary, data = tree.load(coords=None)
        assert (summary.bad, summary.rule.name, summary.n_places) == ([], "sf-xl", 6)
        np.testing.assert_allclose(data.split("query").positions, [[37.7505, -122.5]] * 2)


class TestPlaceRules:
    def test_named(self, tree: Tree) -> None:
        summary, _ = tree.load(place_rule="file")
        assert (summary.rule.name, summary.n_places) == ("file", N_TRAIN + N_QUERY)

    def test_pattern(self, tree: Tree) -> None:
        summary, data = tree.load(place_rule=r"images/(?P<place>\d)")  # by the first digit
        assert summary.n_places == 9 + 1  # 0 to 9; 1 and 10 to 17 are one
        assert data.description.made_by["place_rule"] == "pattern"

    def test_paths_without_a_place_are_told(self, tree: Tree) -> None:
        """Else each photo would count as a sample of its own, and intervals come out too narrow."""
        summary, _ = tree.load(place_rule="pitts")
        assert summary.n_places == N_TRAIN + N_QUERY
        assert any("36 paths have no place by rule pitts" in note for note in summary.notes)
        assert not any("no place by rule" in note for note in tree.load(force=True)[0].notes)

    @pytest.mark.parametrize("rule", ["pits", "(?P<place>"])
    def test_neither(self, tree: Tree, rule: str) -> None:
        with pytest.raises(ConfigError, match="place rule"):
            tree.load(place_rule=rule)
        assert not (tree.root / "out" / DESCRIPTION).exists()

    def test_place_in_train_and_queries_is_told(self, tree: Tree) -> None:
        tree.queries[tree.photo("images/0_9.jpg")] = record(ADDRESSES[0])
        tree.coords["images/0_9.jpg"] = tree.coords["images/0_0.jpg"]
        summary, _ = tree.load()
        assert any("1 places have photos in train and query alike, such as '0'" in note for note in summary.notes)


class TestSpellings:
    def test_are_merged_and_told(self, tree: Tree) -> None:
        keys = [k for k, v in tree.train.items() if v[2] == ADDRESSES[0]]
        tree.train[keys[0]] = record("ASH LANE, Old Town (Elm Street, Fir Way)")
        tree.train[keys[1]] = record("Ash Lane,  Old Town  (Fir Way, Elm Street)")
        summary, data = tree.load()
        assert [a.text for a in data.addresses] == list(ADDRESSES)  # the spelling of most
        assert any(note.startswith("2 other spellings of an address") for note in summary.notes)
        assert summary.bad == []
        rows = dict(zip(data.split("train", "val").ids, data.split("train", "val").address_rows.tolist(), strict=True))
        assert {rows[k.removeprefix("./")] for k in keys} == {0}

    def test_none_are_not_told(self, tree: Tree) -> None:
        assert not any("spellings" in note for note in tree.load()[0].notes)

    def test_other_crossing_is_another_address(self, tree: Tree) -> None:
        tree.train[next(iter(tree.train))] = record("Ash Lane, Old Town (Elm Street)")
        assert tree.load()[0].n_addresses == 4

    def test_verbose_form_of_most_records_is_kept(self, tree: Tree) -> None:
        keys = [k for k, v in tree.train.items() if v[2] == ADDRESSES[1]]
        for i, key in enumerate(keys):
            tree.train[key] = ["", "odd" if i < 2 else "said by most" if i < 8 else "", ADDRESSES[1]]
        _, data = tree.load()
        assert data.verbose_addresses[1] == "said by most"

    def test_missing_verbose_form_is_made(self, tree: Tree) -> None:
        for records in (tree.train, tree.queries):
            for key, value in records.items():
                records[key] = ["", " ", value[2]]
        assert tree.load()[1].verbose_addresses == [Address.parse(a).verbose for a in ADDRESSES]

    def test_captions(self, tree: Tree) -> None:
        summary, data = tree.load()
        assert "the annotation has no captions" in summary.notes
        assert not data.has_captions
        for key, value in tree.train.items():
            tree.train[key] = ["a street", *value[1:]]
        summary, data = tree.load(force=True)
        assert data.has_captions
        assert "the annotation has no captions" not in summary.notes


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


class TestCommand:
    """`bench data import released`, as typed."""

    @staticmethod
    def arguments(tree: Tree, *more: str) -> list[str]:
        options = tree.options()
        return [
            "data", "import", "released", "--name", "town", "--annotations", str(options.annotations),
            "--images", str(options.images), "--coords", str(options.coords), *more,
        ]  # fmt: skip

    def test_into_the_data_home(self, tree: Tree) -> None:
        home = tree.root / "home"
        done = CliRunner().invoke(app, self.arguments(tree, "--data-home", str(home)), catch_exceptions=False)
        assert done.exit_code == 0
        assert "3 addresses, of which 3 are candidates" in done.stdout
        assert (
            "18 places; the place of a photo is the file name before its last _number (rule stem-view)" in done.stdout
        )
        assert "0 records not used" in done.stdout
        assert "next: bench data verify town; bench run --methods all --dataset town" in done.stdout
        assert Dataset(home / "town").counts()["query"] == N_QUERY

    def test_bad_records_point_to_the_report(self, tree: Tree) -> None:
        tree.train["./images/none.jpg"] = record(ADDRESSES[0])
        out = tree.root / "chosen"
        arguments = self.arguments(tree, "--out", str(out), "--max-bad", "5%", "--title", "Town", "--licence", "none")
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert f"1 records not used, see {out / REPORT}" in done.stdout
        assert f"next: bench data verify {out}" in done.stdout
        assert (Dataset(out).description.title, Dataset(out).description.licence) == ("Town", "none")

    @pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden", "/abs", "a,b", "a b", "a\nb"])
    def test_name_that_is_none(self, tree: Tree, name: str) -> None:
        arguments = ["--name" if a == "--name" else name if a == "town" else a for a in self.arguments(tree)]
        with pytest.raises(ConfigError, match="cannot be a dataset's name"):
            CliRunner().invoke(app, arguments, catch_exceptions=False)

    def test_exit_codes(self, tree: Tree) -> None:
        """As a program sees them: 1 for data that cannot be used, 2 for a wrong option; never a traceback."""
        tree.train["./images/none.jpg"] = record(ADDRESSES[0])
        out = ("--out", str(tree.root / "o"))
        for more, code, words in (
            (
                (*out, "--max-bad", "1%"),
                1,
                "1 of 37 records cannot be used, more than --max-bad 1.00%: 1 x image missing",
            ),
            ((*out, "--max-bad", "101%"), 2, "'101%' is not a share between 0 and 100%"),
        ):
            done = subprocess.run(
                ["bench", *self.arguments(tree, *more)], capture_output=True, text=True, check=False, timeout=60
            )
            assert done.returncode == code
            assert f"error: {words}" in done.stderr
            assert "  fix: " in done.stderr
            assert "Traceback" not in done.stderr

    @pytest.mark.parametrize(
        ("text", "value"),
        [("1%", 0.01), ("0.01", 0.01), ("0", 0), ("100%", 1), ("1", 1), ("0.5%", 0.005), ("29%", 0.29)],
    )
    def test_share(self, text: str, value: float) -> None:
        assert share(text) == value

    @pytest.mark.parametrize("text", ["", "%", "2", "-1%", "101%", "nan", "nan%", "inf", "1%%", "one", "1 in 100"])
    def test_no_share(self, text: str) -> None:
        with pytest.raises(ConfigError, match="is not a share"):
            share(text)


class TestRealAnnotation:
    @pytest.fixture
    def options(self, cambridge: Path, tmp_path: Path) -> Callable[..., ReleasedOptions]:
        def make(**changes: Any) -> ReleasedOptions:
            given: dict[str, Any] = {"out": tmp_path / "out", "annotations": cambridge / "annotations"}
            return ReleasedOptions(
                images=cambridge / "images", name="cambridge", coords=cambridge / "annotations" / "coords.csv",
                utm_zone="31N", **(given | changes),
            )  # fmt: skip

        return make

    def test_counts(self, options: Callable[..., ReleasedOptions], cambridge: Path) -> None:
        summary = import_released(options())
        data = Dataset(summary.folder)
        assert (summary.bad, summary.rule.name) == ([], "stem-view")
        assert summary.counts["train"] + summary.counts["val"] == 948
        assert summary.counts["val"] == pytest.approx(95, abs=4)
        assert (summary.counts["database"], summary.counts["query"]) == (0, 308)
        assert summary.n_candidates == len(data.candidates) == summary.n_addresses == 27
        assert len(np.unique(data.split("query").places)) == 77
        assert (data.split("query").labels >= 0).all()
        assert verify(data, quick=True).problems == []
        with (cambridge / "coords.csv").open(newline="") as file:
            own = {row["path"]: row for row in csv.DictReader(file)}
        places: dict[str, int] = {}
        photos = data.split("train", "val", "query")
        for photo, place, position in zip(photos.ids, photos.places.tolist(), photos.positions, strict=True):
            assert places.setdefault(own[photo]["place_id"], place) == place  # the folder's own idea of places
            assert abs(position[0] - float(own[photo]["lat"])) < 1.5e-4
        assert len(places) == len(set(places.values())) == 948 // 4 + 77

    def test_shuffled_keys(self, options: Callable[..., ReleasedOptions], cambridge: Path, tmp_path: Path) -> None:
        shuffled = tmp_path / "annotations"
        shuffled.mkdir()
        rng = np.random.default_rng(0)
        for path in (cambridge / "annotations").glob("*.json"):
            records = json.loads(path.read_bytes())
            order = rng.permutation(list(records)).tolist()
            (shuffled / path.name).write_text(json.dumps({k: records[k] for k in order}))
        digests = {
            Dataset(import_released(made).folder).digest
            for made in (options(), options(force=True), options(annotations=shuffled, out=tmp_path / "again"))
        }
        assert len(digests) == 1


def test_errors_are_for_users(tree: Tree) -> None:
    """Each says what mends it."""
    for change in ({"images": tree.root / "x"}, {"val_fraction": 2.0}, {"place_rule": "x"}, {"utm_zone": "0N"}):
        if "utm_zone" in change:
            tree.header = "filename,utm_easting,utm_northing"
        with pytest.raises(BenchError) as caught:
            tree.load(**change)
        assert caught.value.fix
