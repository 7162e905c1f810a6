"""Pitts-IAL as its counts tell: queries are database photos of Pitts-250k, under keys of any prefix."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ial_bench.cli.main import app
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.importing.report import REPORT
from ial_bench.datasets.photos import Photos
from ial_bench.datasets.verify import verify
from ial_bench.errors import DataError
from support.paper_releases import (
    DATABASE_PLACES,
    QUERY_PLACES,
    TRAIN_PLACES,
    VIEWS,
    PaperRelease,
    archive_of_pitts,
    archive_release,
)

PREFIXES: dict[str, Callable[[str], str]] = {
    "./": lambda name: f"./{name}",
    "000/": lambda name: name,
    "images/000/": lambda name: f"images/{name}",
    "./images/": lambda name: f"./images/{name.rpartition('/')[2]}",
    "bare": lambda name: name.rpartition("/")[2],
    "elsewhere/000/": lambda name: f"elsewhere/pitts250k/{name}",
    "queries_real/": lambda name: f"queries_real/{name}",
}


def imported(release: PaperRelease, *more: str, command: str = "pitts-ial") -> tuple[str, Dataset]:
    """What the command says, and the dataset."""
    out = release.root / "out"
    positions = [] if "--coords" in more else ["--mats", str(release.root / "mats")]
    arguments = ["data", "import", command, "--name", "small", *release.arguments, *positions, "--out", str(out), *more]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout, Dataset(out)


def everything(data: Dataset) -> Photos:
    return Photos(data, np.arange(len(data)))


def content_of(data: Dataset) -> dict[str, str]:
    """What the stand-in of each photo says that it is."""
    photos = everything(data)
    return {key: photos.path(i).read_text() for i, key in enumerate(photos.ids)}


def sound(release: PaperRelease, said: str, data: Dataset) -> None:
    """Every key has its own photo, at its own position, and no place mixes panoramas."""
    assert "0 records not used" in said
    photos = everything(data)
    plain = {key.removeprefix("./"): name for key, name in release.names.items()}
    assert content_of(data) == plain
    truth = {key.removeprefix("./"): point for key, point in release.truth.items()}
    np.testing.assert_allclose(photos.positions, [truth[key] for key in photos.ids], atol=1e-7)
    panorama = dict(zip(photos.ids, photos.places.tolist(), strict=True))
    of_place: dict[int, set[str]] = {}
    for key, place in panorama.items():
        of_place.setdefault(place, set()).add(plain[key].rpartition("_pitch")[0])
    assert all(len(panoramas) == 1 for panoramas in of_place.values())
    assert len(of_place) == TRAIN_PLACES + DATABASE_PLACES + QUERY_PLACES
    assert verify(data, quick=True).problems == []


@pytest.mark.parametrize("below", ["", "images/"], ids=["archive at the top", "archive below images"])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_each_prefix(tmp_path: Path, prefix: str, below: str) -> None:
    release = archive_release(tmp_path, PREFIXES[prefix], below)
    said, data = imported(release)
    sound(release, said, data)
    assert said.count("  keys of pitts_") == 3
    (line,) = [line for line in said.splitlines() if line.startswith("  keys of pitts_queries.json: 72 keys are ")]
    first = next(iter(release.records["queries"]))
    key, _, file = line.rpartition(": ")[2].partition(" is ")
    assert key == first
    assert file.endswith(release.names[first])


@pytest.mark.parametrize("inside", [False, True])
def test_images_option_may_be_the_folder_that_keys_begin_with(tmp_path: Path, inside: bool) -> None:
    release = archive_release(tmp_path, PREFIXES["images/000/"], "images/")
    folder = release.root / "images"
    arguments = ["--images", str(folder / "images" if inside else folder)]
    sound(release, *imported(release, *arguments))


def test_files_may_have_prefixes_of_their_own(tmp_path: Path) -> None:
    """A panorama stays one place whatever stands before its name."""
    release = archive_release(tmp_path, PREFIXES["images/000/"])
    for kind, way in (("database", "bare"), ("queries", "./")):
        for key in list(release.records[kind]):
            name = release.names.pop(key)
            other = PREFIXES[way](name)
            release.records[kind][other] = release.records[kind].pop(key)
            release.names[other], release.truth[other] = name, release.truth.pop(key)
    sound(release, *imported(release))


def test_one_photo_under_two_prefixes_is_one_photo(tmp_path: Path) -> None:
    release = archive_release(tmp_path, PREFIXES["images/000/"])
    for key, value in release.records["train"].items():
        release.records["database"][release.names[key]] = value
    said, data = imported(release)
    assert "0 records not used" in said
    assert len(data) == VIEWS * (TRAIN_PLACES + DATABASE_PLACES + QUERY_PLACES)


def test_query_that_is_a_train_photo_under_another_prefix_is_told(tmp_path: Path) -> None:
    release = archive_release(tmp_path, PREFIXES["images/000/"])
    key = next(iter(release.records["train"]))
    release.records["queries"][f"./{release.names[key]}"] = release.records["train"][key]
    said, data = imported(release)
    assert f"1 x photo is in train as well (./{release.names[key]})" in said
    assert len(data) == VIEWS * (TRAIN_PLACES + DATABASE_PLACES + QUERY_PLACES)


class TestHalves:
    """Numbers below 1,000 are of two photos, one of the database and one of queries_real."""

    @pytest.fixture
    def release(self, tmp_path: Path) -> PaperRelease:
        """Queries with bare names below 1,000, and queries_real with photos of the same names."""
        return archive_release(tmp_path, PREFIXES["bare"], first_query=40)

    def test_keys_are_of_the_database_where_both_have_them(self, release: PaperRelease) -> None:
        archive_of_pitts(release, [f"queries_real/{name}" for name in release.names.values()])
        said, data = imported(release)
        sound(release, said, data)
        assert "(queries_real has photos of all these names, too)" in said

    def test_queries_alone_hold_them(self, release: PaperRelease) -> None:
        """Then they are those of queries_real, with their positions and places."""
        asked = [release.names[key] for key in release.records["queries"]]
        for name in asked:
            (release.root / "images" / name).unlink()
        for key in release.records["queries"]:
            release.names[key] = f"queries_real/{release.names[key]}"
            lat, lon = release.truth[key]
            release.truth[key] = (lat + 0.01, lon)
        archive_of_pitts(release, [f"queries_real/{name}" for name in asked])
        said, data = imported(release)
        sound(release, said, data)
        assert "72 keys are names of photos of queries_real, which alone have all of them" in said

    def test_one_that_neither_has_keeps_all_where_the_keys_say(self, release: PaperRelease) -> None:
        archive_of_pitts(release, [f"queries_real/{release.names[key]}" for key in release.records["queries"]])
        gone = next(iter(release.records["queries"]))
        (release.root / "images" / release.names[gone]).unlink()
        (release.root / "images" / f"queries_real/{release.names[gone]}").unlink()
        said, data = imported(release, "--max-bad", "1%")
        assert f"1 x image missing ({gone}: " in said
        del release.names[gone]
        assert content_of(data) == release.names

    def test_places_of_both_are_apart(self, release: PaperRelease) -> None:
        """A train panorama and one of queries_real with the same number."""
        for key in list(release.records["queries"]):
            del release.records["queries"][key], release.names[key], release.truth[key]
        for key, value in list(release.records["train"].items()):
            other = f"queries_real/{release.names[key]}"
            release.records["queries"][other] = value
            release.names[other] = other
            lat, lon = release.truth[key]
            release.truth[other] = (lat + 0.01, lon)
        archive_of_pitts(release, list(release.names.values()))
        said, data = imported(release)
        assert content_of(data) == release.names
        photos = {split: data.split(split).places.tolist() for split in ("train", "val", "query")}
        assert set(photos["query"]).isdisjoint(photos["train"] + photos["val"])
        assert len(set(photos["query"])) == TRAIN_PLACES
        assert "places have photos in train and query alike" not in said


def test_layout_stands_in_the_report_and_the_description(tmp_path: Path) -> None:
    release = archive_release(tmp_path, PREFIXES["bare"])
    _, data = imported(release)
    with (data.folder / REPORT).open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert [row[:2] for row in rows] == [
        ["file", "key"], ["pitts_train.json", ""], ["pitts_database.json", ""], ["pitts_queries.json", ""],
    ]  # fmt: skip
    assert rows[3][2].startswith("72 keys are names of database photos, by panorama number: 008735_pitch1_yaw1.jpg is ")
    assert data.description.made_by["keys"] == [f"{file}: {line}" for file, _, line in rows[1:]]


def test_positions_of_a_csv_under_names_of_the_archive(tmp_path: Path) -> None:
    release = archive_release(tmp_path, PREFIXES["bare"])
    path = tmp_path / "c.csv"
    lines = [f"{name},{release.truth[key][0]},{release.truth[key][1]}" for key, name in release.names.items()]
    path.write_text("\n".join(["filename,lat,lon", *lines]))
    for command in ("pitts-ial", "released"):
        sound(release, *imported(release, "--coords", str(path), "--force", command=command))


def test_no_layout_finds_them(tmp_path: Path) -> None:
    release = archive_release(tmp_path, PREFIXES["bare"])
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match=r"keys match no image below .*empty"):
        imported(release, "--images", str(empty))
    assert "72 keys are " in (tmp_path / "out" / REPORT).read_text()


class TestDatabase:
    """Whether the paper trained on the database part is not known."""

    def test_is_a_split_of_its_own_unless_asked_otherwise(self, tmp_path: Path) -> None:
        release = archive_release(tmp_path, PREFIXES["000/"])
        said, data = imported(release)
        assert data.counts()["database"] == DATABASE_PLACES * VIEWS
        assert f"{VIEWS * (TRAIN_PLACES + DATABASE_PLACES)} train, val and database photos" in said
        assert f"{DATABASE_PLACES * VIEWS} records of the database file" in said
        assert "train_on_database" not in data.description.made_by

    def test_train_on_it(self, tmp_path: Path) -> None:
        release = archive_release(tmp_path, PREFIXES["000/"])
        before = imported(release)[1]
        candidates, queries, digest = before.candidates.texts, before.split("query").ids, before.digest
        said, data = imported(release, "--train-on-database", "--force")
        counts = data.counts()
        assert counts["database"] == 0
        assert counts["train"] + counts["val"] == VIEWS * (TRAIN_PLACES + DATABASE_PLACES)
        assert counts["val"] > 0
        assert (data.candidates.texts, data.split("query").ids) == (candidates, queries)
        assert data.digest != digest
        assert data.description.made_by["train_on_database"] is True
        assert f"{DATABASE_PLACES} places of the database file" in said
