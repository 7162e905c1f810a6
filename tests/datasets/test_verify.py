"""Verification: a sound dataset passes, and each thing that can be wrong is found and named."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from ial_bench import images
from ial_bench.cli.main import app
from ial_bench.datasets.contents import CONTENTS, sums_of, write_contents
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.table import ADDRESSES, DESCRIPTION, PHOTOS
from ial_bench.datasets.verify import Problem, Verification, verify
from ial_bench.errors import DataError
from ial_bench.files import write_text
from support.made_contents import replace_photo


def content_of(file: Path) -> bytes:
    return file.read_bytes() if file.is_file() else b""


class City:
    """A copy of the tiny city that a test may spoil. Rows are known by photo id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, photo_id: str) -> Path:
        return self.folder / "images" / photo_id

    def row(self, photo_id: str) -> dict[str, Any]:
        (row,) = (r for r in self.rows() if r["photo_id"] == photo_id)
        return row

    def rows(self) -> list[dict[str, Any]]:
        return pq.read_table(self.folder / PHOTOS).to_pylist()  # type: ignore[no-any-return]

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Make it a dataset of these rows and of the photos as they are."""
        files = [self.file(row["photo_id"]) for row in rows]
        write_contents(self.folder, sums_of(len(files), lambda part: map(content_of, files[part])))
        pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(self.folder / PHOTOS)), self.folder / PHOTOS)

    def change(self, photo: str, **values: Any) -> None:
        self.write([r | values if r["photo_id"] == photo else r for r in self.rows()])

    def drop(self, which: Callable[[dict[str, Any]], bool]) -> None:
        self.write([r for r in self.rows() if not which(r)])

    def change_address(self, i: int, **values: Any) -> None:
        path = self.folder / ADDRESSES
        rows, schema = pq.read_table(path).to_pylist(), pq.read_schema(path)
        rows[i] |= values
        pq.write_table(pa.Table.from_pylist(rows, schema), path)

    def verify(self, **options: Any) -> Verification:
        return verify(Dataset(self.folder), **options)

    def only_problem(self, **options: Any) -> Problem:
        (problem,) = self.verify(**options).problems
        return problem


TRAIN, OTHER_TRAIN, VAL, QUERY = "000/001_0.png", "003/002_1.png", "000/000_0.png", "000/005_0.png"


@pytest.fixture
def city(tiny_city: Dataset, tmp_path: Path) -> City:
    """6 addresses of 5 train places (one of them val) and 2 query places, 2 views each: 84 photos."""
    shutil.copytree(tiny_city.folder, tmp_path / "city")
    city = City(tmp_path / "city")
    splits = {photo: city.row(photo)["split"] for photo in (TRAIN, OTHER_TRAIN, VAL, QUERY)}
    assert splits == {TRAIN: "train", OTHER_TRAIN: "train", VAL: "val", QUERY: "query"}
    return city


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The photos that are read."""
    names: list[str] = []

    def read_bytes(path: Path) -> bytes:
        names.append(str(path))
        return path.read_bytes()

    monkeypatch.setattr(images, "read_bytes", read_bytes)
    return names


class TestSound:
    @pytest.mark.parametrize("quick", [False, True])
    def test_city(self, tiny_city: Dataset, quick: bool) -> None:
        found = verify(tiny_city, quick=quick)
        assert found.problems == []
        assert found.notes == []
        assert found.counts == {"train": 48, "val": 12, "database": 0, "query": 24}
        assert (found.n_addresses, found.n_places) == (6, 6 * 7)
        assert found.decoded is not quick

    def test_every_photo_is_told_as_done(self, tiny_city: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ial_bench.datasets.verify._BLOCK", 50)
        steps: list[int] = []
        verify(tiny_city, advance=steps.append)
        assert steps == [50, 34]

    def test_quick_does_not_decode(self, tiny_city: Dataset, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        decoded: list[str] = []
        real = images.decode

        def decode(data: bytes, name: str) -> images.RGB:
            decoded.append(name)
            return real(data, name)

        monkeypatch.setattr(images, "decode", decode)
        verify(tiny_city, quick=True)
        assert (reads, decoded) == ([], [])
        verify(tiny_city)
        assert (len(reads), len(decoded)) == (84, 84)

    @pytest.mark.parametrize("workers", [1, 4])
    def test_threads_find_the_same(self, city: City, workers: int) -> None:
        city.file(TRAIN).unlink()
        city.file(QUERY).write_bytes(b"x" * city.file(QUERY).stat().st_size)
        shutil.copy(city.file(VAL), city.file(OTHER_TRAIN))
        city.change(OTHER_TRAIN, bytes=city.file(VAL).stat().st_size)
        kinds = [p.kind for p in city.verify(workers=workers).problems]
        assert sorted(kinds) == ["image missing", "image not decodable", "same content"]


class TestImages:
    @pytest.mark.parametrize("quick", [False, True])
    def test_missing(self, city: City, quick: bool) -> None:
        city.file(TRAIN).unlink()
        problem = city.only_problem(quick=quick)
        assert (problem.kind, problem.where) == ("image missing", str(city.file(TRAIN)))
        assert "No such file" in problem.detail

    def test_truncated(self, city: City) -> None:
        """And the size in the table is of the truncated file: only decoding can tell."""
        data = city.file(TRAIN).read_bytes()[:-300]
        city.file(TRAIN).write_bytes(data)
        city.change(TRAIN, bytes=len(data))
        problem = city.only_problem()
        assert (problem.kind, problem.where) == ("image not decodable", str(city.file(TRAIN)))
        assert "damaged" in problem.detail
        assert city.verify(quick=True).problems == []

    def test_empty(self, city: City) -> None:
        city.file(TRAIN).write_bytes(b"")
        city.change(TRAIN, bytes=0)
        assert city.only_problem().kind == "image not decodable"
        assert "0 bytes" in city.only_problem().detail

    @pytest.mark.parametrize("quick", [False, True])
    def test_changed_size(self, city: City, quick: bool) -> None:
        size = city.file(TRAIN).stat().st_size
        city.file(TRAIN).write_bytes(city.file(TRAIN).read_bytes() + b"\0")
        problem = city.only_problem(quick=quick)
        assert problem == Problem(
            "image changed", str(city.file(TRAIN)), f"{size + 1:,} bytes, {size:,} when the dataset was made"
        )

    def test_other_content_of_the_same_size(self, city: City) -> None:
        replace_photo(Dataset(city.folder).split("query"), 0)
        problem = city.only_problem()
        assert problem == Problem(
            "image changed", str(city.file(QUERY)), "other content than when the dataset was made"
        )
        assert city.verify(quick=True).problems == []

    @pytest.mark.parametrize("quick", [False, True])
    def test_without_content_digests_it_is_said_how_to_get_them(self, city: City, quick: bool) -> None:
        (city.folder / CONTENTS).unlink()
        found = city.verify(quick=quick)
        assert found.problems == []
        (note,) = found.notes
        assert note.startswith("there are no content digests: ")
        assert note.endswith(f"`bench data contents {city.folder}` takes them")

    def test_damaged_content_digests(self, city: City) -> None:
        """The photos are looked at all the same."""
        (city.folder / CONTENTS).write_bytes(b"PAR1")
        city.file(TRAIN).unlink()
        assert [p.kind for p in city.verify().problems] == ["content digests damaged", "image missing"]

    def test_other_format_than_the_suffix_is_only_noted(self, city: City) -> None:
        with Image.open(city.file(TRAIN)) as image:
            image.convert("RGB").save(city.folder / "x", "JPEG")
        (city.folder / "x").replace(city.file(TRAIN))
        city.change(TRAIN, bytes=city.file(TRAIN).stat().st_size)
        found = city.verify()
        assert found.problems == []
        assert found.notes == [f"{TRAIN} is a JPEG by its content (read as such)"]

    @pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "a/../../secret.png", ""])
    @pytest.mark.parametrize("quick", [False, True])
    def test_unsafe_path(self, city: City, path: str, quick: bool, reads: list[str]) -> None:
        shutil.copy(city.file(TRAIN), city.folder / "secret.png")
        city.change(TRAIN, path=path)
        problem = city.only_problem(quick=quick)
        assert (problem.kind, problem.where) == ("unsafe path", path)
        assert not any("secret" in read or "passwd" in read for read in reads)

    @pytest.mark.parametrize(
        ("first", "second", "splits"),
        [(TRAIN, QUERY, "query, train"), (TRAIN, VAL, "train, val"), (TRAIN, OTHER_TRAIN, "train")],
    )
    def test_same_content(self, city: City, first: str, second: str, splits: str) -> None:
        shutil.copy(city.file(first), city.file(second))
        city.change(second, bytes=city.file(first).stat().st_size)
        problem = city.only_problem()
        assert problem.kind == "same content"
        assert {problem.where, problem.detail.removeprefix("also ").split(" (")[0]} == {first, second}
        assert problem.detail.endswith(f"(in {splits})")


class TestTables:
    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            ({"lat": float("nan")}, "position not finite or out of range"),
            ({"lon": float("inf")}, "position not finite or out of range"),
            ({"lat": 90.5}, "position not finite or out of range"),
            ({"lon": -180.5}, "position not finite or out of range"),
            ({"lat": 41.5}, "position outside the city"),
            ({"lat": 0.0, "lon": 0.0}, "position outside the city"),
            ({"lat": -80.0, "lon": 40.0}, "position outside the city"),
        ],
    )
    def test_position(self, city: City, values: dict[str, float], kind: str) -> None:
        city.change(TRAIN, **values)
        problem = city.only_problem(quick=True)
        assert (problem.kind, problem.where) == (kind, TRAIN)

    @pytest.mark.parametrize(("other", "what"), [(QUERY, "train and query"), (VAL, "train and val")])
    def test_place_in_two_splits(self, city: City, other: str, what: str) -> None:
        place = city.row(TRAIN)["place_id"]
        city.change(other, place_id=place)
        problem = city.only_problem(quick=True)
        assert problem == Problem("place in two splits", place, f"photos in {what}")

    @pytest.mark.parametrize("split", ["val", "database"])
    def test_place_of_a_query_anywhere_else(self, city: City, split: str) -> None:
        place = city.row(QUERY)["place_id"]
        for row in city.rows():
            if row["photo_id"] == VAL:
                city.change(VAL, place_id=place, split=split)
        assert city.only_problem(quick=True) == Problem("place in two splits", place, "photos in train and query")

    @pytest.mark.parametrize(
        ("heading", "told"),
        [(360.0, "360"), (-0.5, "-0.5"), (720.25, "720.25"), (float("inf"), "inf"), (float("-inf"), "-inf")],
    )
    def test_heading_that_is_none(self, city: City, heading: float, told: str) -> None:
        city.change(TRAIN, heading=heading)
        assert city.only_problem(quick=True) == Problem("heading not in [0, 360)", TRAIN, f"{told} degrees")

    @pytest.mark.parametrize("heading", [0.0, 359.75, None, float("nan")])
    def test_heading_that_is_one_or_not_known(self, city: City, heading: float | None) -> None:
        city.change(TRAIN, heading=heading)
        assert city.verify(quick=True).problems == []

    @pytest.mark.parametrize("row", [-1, 6, 2_000_000_000])
    def test_address_row(self, city: City, row: int) -> None:
        city.change(TRAIN, address=row)
        assert city.only_problem(quick=True) == Problem("address out of range", TRAIN, f"row {row} of 6")

    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            ({"street": "Ash (Lane"}, "address not parsable"),
            ({"neighbourhood": ""}, "address not parsable"),
            ({"street": "Ash, Lane"}, "address not canonical"),
            ({"cross_streets": ["A, B"]}, "address not canonical"),
            ({"neighbourhood": "Old  Town"}, "address not canonical"),
        ],
    )
    def test_address(self, city: City, values: dict[str, Any], kind: str) -> None:
        city.change_address(2, **values)
        assert kind in {p.kind for p in city.verify(quick=True).problems}

    def test_address_twice(self, city: City) -> None:
        """A right answer would count as wrong where it names the other row."""
        first, second = Dataset(city.folder).addresses[:2]
        cross = [c.upper() for c in reversed(first.cross_streets)]
        city.change_address(1, street=first.street, neighbourhood=first.neighbourhood, cross_streets=cross)
        twice = [p for p in city.verify(quick=True).problems if p.kind == "address twice"]
        assert [(p.where, p.detail) for p in twice] == [
            (f"{first.street}, {first.neighbourhood} ({', '.join(cross)})", f"means the same as {first.text}")
        ]
        assert second.key != first.key

    def test_addresses_out_of_order(self, city: City) -> None:
        """Candidates are numbered in order of their texts, and ties go to the lower number."""
        city.change_address(0, street="Zoo Street")
        problem = city.only_problem(quick=True)
        assert problem.kind == "addresses not sorted"
        assert "stands after Zoo Street" in problem.detail

    def test_photo_id_twice(self, city: City) -> None:
        city.change(OTHER_TRAIN, photo_id=TRAIN)
        assert city.only_problem(quick=True) == Problem("photo id twice", TRAIN, "photo ids must be unique")

    @pytest.mark.parametrize("split", ["train", "query"])
    def test_empty_split(self, city: City, split: str) -> None:
        city.drop(lambda row: row["split"] == split)
        assert city.only_problem(quick=True) == Problem("empty split", split, "no photos")

    def test_no_val_and_no_database_is_fine(self, city: City) -> None:
        city.drop(lambda row: row["split"] == "val")
        assert city.verify(quick=True).problems == []

    def test_queries_without_candidate_are_noted(self, city: City) -> None:
        """They count as wrong; that is no fault of the dataset, but one should know."""
        city.drop(lambda row: row["split"] == "train" and row["address"] in {0, 3})
        found = city.verify(quick=True)
        assert found.problems == []
        assert found.notes == ["8 queries have an address that is no candidate; they count as wrong"]

    def test_all_problems_are_found_at_once(self, city: City) -> None:
        city.change(TRAIN, lat=float("nan"))
        city.change(OTHER_TRAIN, address=99)
        city.change(VAL, place_id=city.row("001/001_0.png")["place_id"])
        city.file(QUERY).unlink()
        kinds = [p.kind for p in city.verify().problems]
        assert sorted(kinds) == [
            "address out of range",
            "image missing",
            "place in two splits",
            "position not finite or out of range",
        ]

    def test_damaged_table_is_an_error(self, city: City) -> None:
        path = city.folder / PHOTOS
        path.write_bytes(path.read_bytes()[:-10])
        with pytest.raises(DataError, match="is damaged"):
            city.verify()


class TestCommand:
    """`bench data verify`, as typed."""

    @staticmethod
    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["data", "verify", *arguments], catch_exceptions=False)
        return done.exit_code, done.stdout

    def test_sound(self, city: City) -> None:
        code, out = self.run(str(city.folder))
        assert code == 0
        assert out.splitlines() == [
            "tiny-city: 48 train, 12 val, 0 database, 24 query photos; 6 addresses, 42 places",
            "sound, all photos decoded",
        ]

    def test_quick_says_so(self, city: City) -> None:
        assert self.run(str(city.folder), "--quick")[1].splitlines()[-1] == "sound, photos not decoded (--quick)"

    def test_not_sound(self, city: City) -> None:
        city.file(TRAIN).unlink()
        city.change(QUERY, lat=float("nan"))
        code, out = self.run(str(city.folder))
        assert code == 1
        assert "image missing" in out
        assert str(city.file(TRAIN)) in out
        assert f"position not finite or out of range\t{QUERY}" in out
        assert out.splitlines()[-1] == "2 problems, all photos decoded"

    def test_json(self, city: City) -> None:
        city.file(TRAIN).unlink()
        code, out = self.run(str(city.folder), "--json", "--workers", "2")
        found = json.loads(out)
        assert code == 1
        assert [p["kind"] for p in found["problems"]] == ["image missing"]
        assert (found["counts"]["query"], found["n_places"], found["decoded"]) == (24, 42, True)

    def test_by_name(self, city: City, tmp_path: Path) -> None:
        city.folder.rename(tmp_path / "home-city")
        assert self.run("home-city", "--data-home", str(tmp_path), "--quick")[0] == 0

    def test_exit_codes(self, city: City, tmp_path: Path) -> None:
        """As a program sees them: 0, 1 for bad data, 2 for a name nobody knows; never a traceback."""
        spoilt = tmp_path / "spoilt"
        shutil.copytree(city.folder, spoilt)
        write_text(spoilt / DESCRIPTION, "schema_version = 99\n")
        for argument, code, words in (
            (str(city.folder), 0, "tiny-city"),
            (str(spoilt), 1, "error: "),
            (str(tmp_path / "none"), 1, "error: no such dataset folder"),
            ("nobody-knows", 2, "error: unknown dataset 'nobody-knows'"),
        ):
            done = subprocess.run(
                ["bench", "data", "verify", argument], capture_output=True, text=True, check=False, timeout=60
            )
            assert done.returncode == code
            assert words in done.stdout + done.stderr
            assert "Traceback" not in done.stderr
            assert code == 0 or "  fix: " in done.stderr
