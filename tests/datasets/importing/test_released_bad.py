"""Import of the released layout: everything unusable is listed with its reason, and nothing else changes."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ial_bench.cli.imports import share
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.importing.released import import_released
from ial_bench.datasets.importing.report import REPORT
from ial_bench.datasets.photos import Photos
from ial_bench.datasets.table import DESCRIPTION
from ial_bench.errors import DataError
from support.made_release import ADDRESSES, N_QUERY, N_TRAIN, Tree, only_bad, record, report


class TestBadRecords:
    """One record is spoilt; it is listed, and nothing else changes."""

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (["", "", "Ash Lane"], "address without a neighbourhood: 'Ash Lane'"),
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
        ("latitude", "longitude", "reason"),
        [
            ("NaN", -80.0, "position empty: its row in coords.csv lacks a number"),
            (40.0, "", "position empty: its row in coords.csv lacks a number"),
            ("inf", -80.0, "position not finite: inf, -80 in coords.csv"),
            (40.0, "-inf", "position not finite: 40, -inf in coords.csv"),
            (91.0, -80.0, "position out of range: 91, -80 in coords.csv"),
            (40.0, 180.5, "position out of range: 40, 180.5 in coords.csv"),
            (0, 0, "position 0, 0: in coords.csv"),
            ("0.0", "-0.0", "position 0, 0: in coords.csv"),
        ],
    )
    def test_position(self, tree: Tree, latitude: object, longitude: object, reason: str) -> None:
        tree.coords["images/4_1.jpg"] = (latitude, longitude)
        only_bad(*tree.load(), "town_train.json", "./images/4_1.jpg", reason, N_TRAIN + N_QUERY - 1)

    def test_position_that_is_not_listed(self, tree: Tree) -> None:
        del tree.coords["images/4_1.jpg"]
        reason = "position missing: no row of coords.csv is called images/4_1.jpg; its rows look like images/0_0.jpg"
        only_bad(*tree.load(), "town_train.json", "./images/4_1.jpg", reason, N_TRAIN + N_QUERY - 1)

    def test_position_that_is_listed_twice(self, tree: Tree) -> None:
        tree.coords["./images/4_1.jpg"] = (40.003, -80.0)
        tree.coords["./images/5_1.jpg"] = tree.coords["images/5_1.jpg"]  # in agreement, and so no matter
        only_bad(*tree.load(), "town_train.json", "./images/4_1.jpg", "position contradictory: ", N_TRAIN + N_QUERY - 1)

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

    def test_each_cause_is_counted_with_an_example(self, tree: Tree) -> None:
        causes = [(0, 0), (0, 0), ("inf", 1), (95, 1), ("", 1)]
        names = list(tree.coords)
        for name, point in zip(names, causes, strict=False):
            tree.coords[name] = point
        del tree.coords[names[5]], tree.coords[names[6]]
        tree.coords["./" + names[7]] = (41, -80)
        with pytest.raises(DataError) as caught:
            tree.load(max_bad=0.1)
        for told in (
            f"2 x position 0, 0 (./{names[0]}: ",
            f"1 x position not finite (./{names[2]}: inf, 1 ",
            f"1 x position out of range (./{names[3]}: 95, 1 ",
            f"1 x position empty (./{names[4]}: ",
            f"2 x position missing (./{names[5]}: no row of coords.csv ",
            f"1 x position contradictory (./{names[7]}: in coords.csv it has several, 40.0003, -80 and another",
        ):
            assert told in caught.value.problem

    @pytest.mark.parametrize(
        ("written", "looks"), [("a.jpg", "a.jpg"), ("photos/4_1.jpg", "photos/4_1.jpg"), ("4_1.jpg", "4_1.jpg")]
    )
    def test_names_of_the_csv_that_are_no_keys(self, tree: Tree, written: str, looks: str) -> None:
        """One cause, in words that show both spellings."""
        tree.coords = {"z.jpg": (40, -80), written: (40, -80)}
        tree.train = {key: value for key, value in tree.train.items() if key == "./images/4_1.jpg"}
        tree.queries = {}
        with pytest.raises(DataError, match="1 of 1 records") as caught:
            tree.load(max_bad=0.0)
        shown = "z.jpg" if written == "a.jpg" else looks
        assert "1 x position missing (./images/4_1.jpg: no row of coords.csv is called images/4_1.jpg" in str(
            caught.value.problem
        )
        assert f"its rows look like {shown})" in caught.value.problem

    def test_csv_without_rows(self, tree: Tree) -> None:
        tree.coords = {}
        with pytest.raises(
            DataError, match=r"36 x position missing .*no row of coords\.csv is called .*it has no rows"
        ):
            tree.load(max_bad=0.0)

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
