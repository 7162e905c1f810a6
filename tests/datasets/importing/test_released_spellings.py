"""One name, spelled with whole letters or with letters and marks, in annotation, positions and on the disk."""

from __future__ import annotations

import shutil
from itertools import product
from pathlib import Path
from typing import Literal
from unicodedata import normalize

import numpy as np
import pytest

from ial_bench.datasets.importing.photo_files import keyed_as
from ial_bench.datasets.photos import Photos
from ial_bench.errors import DataError
from support.made_release import N_QUERY, N_TRAIN, Tree, report

Form = Literal["NFC", "NFD"]
FORMS: tuple[Form, ...] = ("NFC", "NFD")
WORD = "Plaza Señor Núñez"


def respelled(tree: Tree, keys: Form, disk: Form, table: Form) -> dict[str, tuple[object, object]]:
    """Give every photo, and its folder, a name with accents; gives the position of each photo id."""
    shutil.rmtree(tree.images)
    truth: dict[str, tuple[object, object]] = {}
    coords = {}
    for records in (tree.train, tree.queries):
        for key in list(records):
            old = key.removeprefix("./")
            name = f"{WORD}/{WORD} {old.rpartition('/')[2]}"
            tree.photo(f"images/{normalize(disk, name)}", old.encode())
            records[f"./images/{normalize(keys, name)}"] = records.pop(key)
            truth[f"images/{normalize(keys, name)}"] = tree.coords[old]
            coords[f"images/{normalize(table, name)}"] = tree.coords[old]
    tree.coords = coords
    return truth


@pytest.mark.parametrize(("keys", "disk", "table"), list(product(FORMS, repeat=3)))
def test_spellings_meet(tree: Tree, keys: Form, disk: Form, table: Form) -> None:
    truth = respelled(tree, keys, disk, table)
    summary, data = tree.load()
    assert (summary.bad, summary.n_places) == ([], 18)
    photos = Photos(data, np.arange(len(data)))
    assert set(photos.ids) == set(truth)
    for i, key in enumerate(photos.ids):
        assert tuple(photos.positions[i]) == truth[key]
        assert photos.path(i).read_bytes() == f"images/{key.rpartition(' ')[2]}".encode()


def test_folder_of_images_spelled_otherwise(tree: Tree) -> None:
    """Keys that repeat the folder's name."""
    folder = tree.root / normalize("NFD", "Fotografías")
    tree.images.rename(folder)
    for records in (tree.train, tree.queries):
        for key in list(records):
            records[key.replace("images", normalize("NFC", "Fotografías"))] = records.pop(key)
    tree.coords = {name.replace("images", normalize("NFC", "Fotografías")): p for name, p in tree.coords.items()}
    summary, data = tree.load(images=folder)
    assert summary.bad == []
    assert data.split("query").path(0).is_file()


def test_two_files_that_differ_in_spelling_alone_are_two(tree: Tree) -> None:
    for form, lat in zip(FORMS, (40.0, 40.001), strict=True):
        name = f"images/{normalize(form, 'é')}_0.jpg"
        tree.train[tree.photo(name)] = tree.train["./images/0_0.jpg"]
        tree.coords[name] = (lat, -80.0)
    if len(list(tree.images.glob("*_0.jpg"))) < 20:
        pytest.skip("this file system takes the two for one")
    summary, data = tree.load()
    assert (summary.bad, len(data)) == ([], N_TRAIN + N_QUERY + 2)


@pytest.mark.parametrize(
    ("kind", "reason"), [("train", "photo is twice in train"), ("queries", "photo is in train as")]
)
def test_one_file_under_two_keys_is_told(tree: Tree, kind: str, reason: str) -> None:
    """It must not be a train photo and a query at once."""
    name = f"images/{normalize('NFC', 'é')}_0.jpg"
    tree.coords[name] = (40.0, -80.0)
    tree.train[tree.photo(name)] = tree.train["./images/0_0.jpg"]
    other = f"./{normalize('NFD', name)}"
    (tree.train if kind == "train" else tree.queries)[other] = tree.train["./images/0_0.jpg"]
    summary, data = tree.load()
    ((file, key, why),) = report(summary)
    assert (file, key) == (f"town_{kind}.json", other)
    assert why.startswith(reason)
    assert len(data) == N_TRAIN + N_QUERY + 1


def test_missing_stays_missing(tree: Tree) -> None:
    tree.train["./images/é_0.jpg"] = tree.train["./images/0_0.jpg"]
    with pytest.raises(DataError, match=r"1 x image missing \(\./images/é_0\.jpg: "):
        tree.load(max_bad=0.0)


def test_which_of_two_is_meant_is_not_guessed(tree: Tree) -> None:
    """A third spelling beside files in two others."""
    word = "ệ"  # whole, or with one mark or two of its own
    spellings = {normalize("NFC", word), normalize("NFD", word), "ê\u0323"}
    assert len(spellings) == 3
    third, *others = sorted(spellings)
    for other in others:
        tree.photo(f"images/{other}_0.jpg")
    tree.train[f"./images/{third}_0.jpg"] = tree.train["./images/0_0.jpg"]
    summary, _ = tree.load()
    assert [why.partition(":")[0] for _, _, why in report(summary)] == ["image missing"]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"é": 1}, {"e\u0301": 1}),
        ({"é": 1, "e\u0301": 2}, {"é": 1, "e\u0301": 2}),
        ({"a": 1, "ü": 2}, {"a": 1, "ü": 2}),
        ({}, {}),
    ],
)
def test_values_under_the_known_spelling(found: dict[str, int], expected: dict[str, int]) -> None:
    assert keyed_as(found, ["e\u0301", "a", "b"]) == expected


def test_values_under_a_known_spelling_that_is_not_alone() -> None:
    assert keyed_as({"ệ": 1}, ["e\u0323\u0302", "ê\u0323"]) == {"ệ": 1}


def test_photo_below_a_folder_that_is_not_there(tree: Tree, tmp_path: Path) -> None:
    tree.train["./images/é/é/0_0.jpg"] = tree.train["./images/0_0.jpg"]
    summary, _ = tree.load()
    assert f"{tmp_path}/images/é/é/0_0.jpg (No such file or directory)" in report(summary)[0][2]
