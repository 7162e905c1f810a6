"""`bench data import pitts-ial | sf-ial-base | sf-ial-large` on small trees in exactly their layouts."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ial_bench.cli.main import app
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.importing.report import REPORT
from ial_bench.datasets.known import Expected, dataset_cards
from ial_bench.datasets.photos import Photos
from ial_bench.datasets.verify import verify
from ial_bench.errors import ConfigError, DataError
from support.paper_releases import (
    ADDRESSES,
    QUERY_PLACES,
    TRAIN_PLACES,
    VIEWS,
    YAWS,
    PaperRelease,
    pitts_release,
    publish_small,
    sf_release,
    write_mats,
)  # fmt: skip


@pytest.fixture
def pitts(tmp_path: Path) -> PaperRelease:
    return pitts_release(tmp_path)


@pytest.fixture
def sf(tmp_path: Path) -> PaperRelease:
    return sf_release(tmp_path)


def imported(release: PaperRelease, name: str, *more: str, own: str | None = "small") -> tuple[str, Dataset]:
    """What the command says, and the dataset it makes, under a name of its `own`; None: that of the published one."""
    named = [] if own is None else ["--name", own]
    arguments = ["data", "import", name, *named, *release.arguments, "--out", str(release.root / "out"), *more]
    if name == "pitts-ial" and "--coords" not in more:
        arguments += ["--mats", str(release.root / "mats")]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout, Dataset(release.root / "out")


def everything(data: Dataset) -> Photos:
    return Photos(data, np.arange(len(data)))


def places(data: Dataset) -> dict[str, str]:
    return dict(zip(everything(data).ids, data.texts("place_id").to_pylist(), strict=True))


class TestPitts:
    @pytest.mark.parametrize("prefix", ["", "images/"], ids=["as it unpacks", "below images"])
    def test_everything_arrives(self, tmp_path: Path, prefix: str) -> None:
        release = pitts_release(tmp_path, prefix)
        said, data = imported(release, "pitts-ial")
        assert "0 records not used" in said
        assert "note:" not in said
        counts = data.counts()
        assert (counts["train"] + counts["val"], counts["query"]) == (TRAIN_PLACES * VIEWS, QUERY_PLACES * VIEWS)
        photos = everything(data)
        truth = {key: release.truth[key] for key in photos.ids}
        np.testing.assert_allclose(photos.positions, list(truth.values()), atol=1e-7)
        assert set(truth) == set(release.truth)
        assert all(photos.path(i).read_bytes() for i in range(len(photos)))
        problems = verify(data, quick=True).problems
        assert problems == []

    def test_queries_are_places_of_their_own(self, pitts: PaperRelease) -> None:
        """Though numbered as database photos are."""
        of = places(imported(pitts, "pitts-ial")[1])
        assert of["images/000/000995_pitch1_yaw1.jpg"] == of["images/000/000995_pitch2_yaw12.jpg"]
        assert of["images/000/000995_pitch1_yaw1.jpg"] != of["queries_real/000/000995_pitch1_yaw1.jpg"]
        assert len(set(of.values())) == TRAIN_PLACES + QUERY_PLACES

    def test_yaw_is_no_compass_heading(self, pitts: PaperRelease) -> None:
        assert np.isnan(everything(imported(pitts, "pitts-ial")[1]).headings).all()

    @pytest.mark.parametrize(
        ("own", "called"), [(None, ("pitts-ial", "Pitts-IAL")), ("my-pitts-part", ("my-pitts-part", "my-pitts-part"))]
    )
    def test_description(
        self, pitts: PaperRelease, monkeypatch: pytest.MonkeyPatch, own: str | None, called: tuple[str, str]
    ) -> None:
        publish_small(monkeypatch, "pitts-ial")
        description = imported(pitts, "pitts-ial", own=own)[1].description
        assert (description.name, description.title) == called
        assert (description.made_by["importer"], description.made_by["utm_zone"]) == ("pitts-ial", "17N")
        assert "research" in description.licence

    def test_coordinates_instead(self, pitts: PaperRelease) -> None:
        from_mats = imported(pitts, "pitts-ial")[1].digest
        path = pitts.root / "c.csv"
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["filename", "lat", "lon"])
            rows.writerows([key, lat, lon] for key, (lat, lon) in pitts.truth.items())
        _, data = imported(pitts, "pitts-ial", "--coords", str(path), "--force")
        photos = everything(data)
        np.testing.assert_allclose(photos.positions, [pitts.truth[key] for key in photos.ids], atol=1e-9)
        assert data.digest != from_mats  # the last digits differ

    def test_no_positions_at_all(self, pitts: PaperRelease) -> None:
        command = ["data", "import", "pitts-ial", *pitts.arguments, "--out", str(pitts.root / "out")]
        with pytest.raises(ConfigError, match="tell no positions") as caught:
            CliRunner().invoke(app, command, catch_exceptions=False)
        assert "--mats" in (caught.value.fix or "")

    def test_positions_twice(self, pitts: PaperRelease) -> None:
        command = ["data", "import", "pitts-ial", *pitts.arguments, "--mats", "m", "--coords", "c"]
        with pytest.raises(ConfigError, match="positions are given twice"):
            CliRunner().invoke(app, command, catch_exceptions=False)

    def test_not_finite_positions_are_listed(self, pitts: PaperRelease) -> None:
        utm = np.full((2, TRAIN_PLACES * VIEWS // 3), np.nan)
        write_mats(pitts, utmDb=utm)
        said, _ = imported(pitts, "pitts-ial", "--max-bad", "50%")
        assert f"{TRAIN_PLACES * VIEWS // 3} records not used" in said
        assert "not finite" in (pitts.root / "out" / REPORT).read_text()

    def test_missing_mat_is_told(self, pitts: PaperRelease) -> None:
        (pitts.root / "mats" / "pitts250k_val.mat").unlink()
        said, _ = imported(pitts, "pitts-ial", "--max-bad", "50%")
        assert "note: pitts250k_val.mat not in" in said

    def test_views_taken_apart_are_told(self, pitts: PaperRelease) -> None:
        """A shifted table of positions would show here."""
        keys = list(pitts.records["train"])
        pitts.truth[keys[5]] = (pitts.truth[keys[5]][0] + 1e-3, pitts.truth[keys[5]][1])
        write_mats(pitts)
        said, _ = imported(pitts, "pitts-ial")
        assert "note: 1 places have photos taken apart, by up to 111 m" in said


class TestSanFrancisco:
    @pytest.mark.parametrize("name", ["sf-ial-base", "sf-ial-large"])
    @pytest.mark.parametrize("folders", [True, False])
    def test_everything_arrives(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, folders: bool
    ) -> None:
        publish_small(monkeypatch, name)
        release = sf_release(tmp_path, folders)
        said, data = imported(release, name, own=None)
        assert "0 records not used" in said
        assert "note:" not in said
        photos = everything(data)
        assert {f"./{i}" for i in photos.ids} == set(release.truth)
        np.testing.assert_allclose(photos.positions, [release.truth[f"./{i}"] for i in photos.ids], atol=6e-6)
        assert photos.headings.tolist() == [int(i.split("@")[9]) for i in photos.ids]
        assert sorted(set(photos.headings.tolist())) == [30 * view for view in range(YAWS)]
        assert len(data.addresses) == len(ADDRESSES)
        assert {p.split("@")[7] for p in photos.ids} == set(data.texts("place_id").to_pylist())
        assert (data.name, data.description.made_by["importer"]) == (name, name)
        assert verify(data, quick=True).problems == []

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda name: name.replace("@@201311@@", "@201311@@"), "is not @ and 14 fields, each ending in @"),
            (lambda name: name.replace("@037.7", "@N37.7"), "latitude 'N37.70000' or longitude"),
            (lambda name: "photo.jpg", "is not @ and 14 fields"),
            (lambda name: name.replace("@037.70000@-122.45000@", "@0@0@"), "has the position 0, 0"),
            (lambda name: name.replace("@037.70000@", "@nan@"), "position not finite: nan, -122.45"),
            (lambda name: name.replace("@037.70000@", "@137.70000@"), "position out of range: 137.7, -122.45"),
        ],
    )
    def test_malformed_name_is_listed(self, sf: PaperRelease, change: object, reason: str) -> None:
        key = next(iter(sf.records["train"]))
        folder, _, name = key.rpartition("/")
        other = f"{folder}/{change(name)}"  # type: ignore[operator]
        assert other != key
        for records in (sf.records["train"], sf.records["database"]):
            records[other] = records.pop(key)
        sf.photo(other)
        _, data = imported(sf, "sf-ial-base")
        with (sf.root / "out" / REPORT).open(newline="") as file:
            rows = list(csv.reader(file))
        assert [row[:2] for row in rows[1:]] == [["sf_train.json", other]]
        assert reason in rows[1][2]
        assert len(data) == (TRAIN_PLACES + QUERY_PLACES) * YAWS - 1

    @pytest.mark.parametrize(
        ("written", "heading"), [("", None), ("north", None), ("nan", None), ("360", 0), ("-90", 270)]
    )
    def test_odd_headings(self, sf: PaperRelease, written: str, heading: float | None) -> None:
        key = next(iter(sf.records["train"]))
        other = key.replace("@@000@@", f"@@{written}@@")
        for records in (sf.records["train"], sf.records["database"]):
            records[other] = records.pop(key)
        sf.photo(other)
        photos = everything(imported(sf, "sf-ial-base")[1])
        found = photos.headings[photos.ids.index(other.removeprefix("./"))]
        assert np.isnan(found) if heading is None else found == heading


class TestKeysWithoutImage:
    def test_are_shown_with_the_folder_looked_in(self, sf: PaperRelease) -> None:
        gone = list(sf.records["queries"])[:12]
        for key in gone:
            (sf.root / "images" / key).unlink()
        said, _ = imported(sf, "sf-ial-base", "--max-bad", "20%")
        (note,) = [line for line in said.splitlines() if "match no image" in line]
        assert note.startswith(f"  note: 12 keys match no image below {sf.root / 'images'}: {gone[0]}, {gone[1]}")
        assert note.endswith(f"{gone[9]}, ...")
        with pytest.raises(DataError, match="12 keys match no image below") as caught:
            imported(sf, "sf-ial-base", "--force")
        assert gone[9] in caught.value.problem
        assert gone[10] not in caught.value.problem

    def test_all_of_them(self, sf: PaperRelease) -> None:
        """The wrong folder."""
        (sf.root / "images").rename(sf.root / "elsewhere")
        (sf.root / "images").mkdir()
        with pytest.raises(DataError, match=f"144 keys match no image below {sf.root / 'images'}: ./37.70/@"):
            imported(sf, "sf-ial-base")
        assert not (sf.root / "out" / "dataset.toml").exists()


class TestCounts:
    def test_differences_are_told_and_stop_nothing_under_a_name_of_its_own(self, sf: PaperRelease) -> None:
        said, data = imported(sf, "sf-ial-large", own="my-sf-part")
        assert said.startswith("my-sf-part: ")
        assert (data.name, data.description.made_by["importer"]) == ("my-sf-part", "sf-ial-large")
        assert "DIFFERS: 108 train, val and database photos (-100.0%); the paper: about 1,960,000" in said
        assert "DIFFERS: 3 addresses of query photos (-99.9%); the paper: 3,406" in said

    def test_of_pittsburgh(self, pitts: PaperRelease) -> None:
        said, _ = imported(pitts, "pitts-ial")
        assert "DIFFERS: 216 records of the train file (-99.9%); a public re-implementation: 177,840" in said
        assert "DIFFERS: 3 addresses (-99.3%); a public re-implementation: 428" in said
        assert said.count("DIFFERS") + said.count("as published") == 13

    @pytest.mark.parametrize(
        ("found", "met"), [(19_152, True), (19_500, True), (18_500, True), (19_501, False), (18_000, False)]
    )
    def test_rounding_of_the_published_number(self, found: int, met: bool) -> None:
        assert Expected("query photos", 19_000, 1_000).compare(found)[1] == met

    @pytest.mark.parametrize(("found", "met"), [(234_912, True), (234_000, True), (233_999, False), (235_000, False)])
    def test_published_number_that_is_cut_off(self, found: int, met: bool) -> None:
        """177,840 and 57,072 photos are given as 234K."""
        (photos,) = [e for e in dataset_cards()["pitts-ial"].expected if e.count == 234_000]
        assert photos.what == "train, val and database photos"
        assert photos.compare(found)[1] == met

    def test_published_counts_of_pittsburgh_add_up(self) -> None:
        """Three files of whole panoramas of 24 views are all of Pitts-250k's database."""
        published = {e.what: e.count for e in dataset_cards()["pitts-ial"].expected}
        records = [published[f"records of the {kind} file"] for kind in ("train", "database", "queries")]
        places = [published[f"places of the {kind} file"] for kind in ("train", "database", "queries")]
        assert sum(records) == published["records of all files"] == 254_064
        assert [24 * n for n in places] == records
        assert sum(places) == published["places"] == 10_586

    @pytest.mark.parametrize(("found", "met"), [(428, True), (427, False), (429, False)])
    def test_exact_number(self, found: int, met: bool) -> None:
        line, agrees = Expected("addresses", 428).compare(found)
        assert agrees == met
        assert ("%" in line) != met


KILLED = """
import os, signal, sys
from ial_bench.datasets import table
from ial_bench.cli.main import main
real = table.pq.ParquetWriter.write_table
def kill(self, *args, **kwargs):
    real(self, *args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv.pop(1) == "a table":
    table.pq.ParquetWriter.write_table = kill
else:
    table.write_text = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
main()
"""


@pytest.mark.parametrize("when", ["a table", "the description"])
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_killed_import_leaves_no_dataset_and_the_next_one_starts_clean(sf: PaperRelease, when: str) -> None:
    out = sf.root / "out"
    command = ["data", "import", "sf-ial-base", "--name", "small", *sf.arguments, "--out", str(out)]
    done = subprocess.run([sys.executable, "-c", KILLED, when, *command], capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(DataError, match="is not a dataset"):
        Dataset(out)
    assert bool(list(out.glob(".*.parquet.*.tmp"))) == (when == "a table")
    digest = imported(sf, "sf-ial-base")[1].digest
    names = ["addresses.parquet", "contents.parquet", "dataset.toml", REPORT, "photos.parquet"]
    assert sorted(p.name for p in out.iterdir()) == names
    assert imported(sf, "sf-ial-base", "--force")[1].digest == digest


@pytest.mark.parametrize("name", ["pitts-ial", "sf-ial-base", "sf-ial-large"])
def test_show_says_all_before_it_is_here(name: str) -> None:
    said = CliRunner().invoke(app, ["show", name], catch_exceptions=False).stdout
    for words in (
        "about: ",
        "cite: Xu, Zhang, ",
        "terms: for research",
        "disk: ",
        "published counts: ",
        "how to get it: ",
    ):
        assert f"\n{words}" in said
    assert f"  3. bench data import {name} --annotations ANNOTATIONS --images IMAGES" in said


def test_show_says_it_of_an_imported_one_too(sf: PaperRelease, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_small(monkeypatch, "sf-ial-base")
    home = sf.root / "home"
    command = ["data", "import", "sf-ial-base", *sf.arguments, "--data-home", str(home)]
    CliRunner().invoke(app, command, catch_exceptions=False)
    said = CliRunner().invoke(app, ["show", "sf-ial-base", "--data-home", str(home)], catch_exceptions=False).stdout
    assert "photos: " in said
    assert "\ncite: Xu, Zhang, " in said
