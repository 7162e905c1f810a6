"""`bench data caption`: captions in the dataset, from models and files, through interruptions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from ial_bench.captions.captioners import CaptionLength
from ial_bench.captions.captioning import caption, read_caption_file, read_captions
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.table import PHOTOS, replace_column
from ial_bench.errors import DataError, StorageError
from ial_bench.folders import LOCK
from ial_bench.images import RGB
from ial_bench.testing import make_tiny_city
from support.bench_command import Bench
from support.tiny_captioners import save_tiny_blip

LENGTH = CaptionLength(3, 30)


class Counting:
    """Says how bright a photo is; gives up after so many."""

    identity = "counting"

    def __init__(self, most: int = 10**9) -> None:
        self.asked, self._most = 0, most

    def captions(self, photos: Sequence[RGB]) -> list[str]:
        if self.asked + len(photos) > self._most:
            raise KeyboardInterrupt
        self.asked += len(photos)
        return [f"A street view of {int(p.mean())}" for p in photos]


@pytest.fixture
def city(tmp_path: Path) -> Dataset:
    return make_tiny_city(tmp_path / "city")


def nothing(steps: int = 1) -> None:
    """Count nothing."""


def test_an_interrupted_call_goes_on_and_changes_nothing_before_its_end(city: Dataset, tmp_path: Path) -> None:
    photos = city.split("train")
    before = (city.folder / PHOTOS).read_bytes()
    first = Counting(most=7)
    with pytest.raises(KeyboardInterrupt):
        caption(city, photos, first, LENGTH, 3, nothing)
    assert (city.folder / PHOTOS).read_bytes() == before
    kept = next((city.folder / "captions").iterdir())
    kept.write_bytes(kept.read_bytes()[:-5])  # as a killed process leaves it
    second = Counting()
    done = caption(city, photos, second, LENGTH, 3, nothing)
    assert (first.asked, second.asked) == (6, len(photos) - 5)
    assert (done.written, done.resumed) == (len(photos), 5)
    anew = Dataset(city.folder)
    brightness = [int(photos.image(i).mean()) for i in range(len(photos))]
    assert anew.split("train").captions == [f"A street view of {b}" for b in brightness]
    assert anew.split("query").captions == city.split("query").captions
    assert anew.digest != city.digest
    assert anew.description.made_by["captions"] == {"from": "counting", "photos": len(photos)}
    columns = [c for c in pq.read_schema(anew.folder / PHOTOS).names if c != "caption"]
    assert anew.hash_rows(tuple(columns), None) == city.hash_rows(tuple(columns), None)
    assert not kept.exists()


def test_by_a_model(bench: Bench, city: Dataset, tmp_path: Path) -> None:
    model = save_tiny_blip(tmp_path / "blip")
    said = bench("data", "caption", city.folder, "--captioner", f"blip:{model}", "--overwrite", "--splits", "val")
    assert said.code == 0, said.err
    found = Dataset(city.folder).split("val").captions
    assert f"{len(found)} captions by blip" in said.out
    assert all(text.startswith("A street view of") and 4 < len(text.split()) <= 30 for text in found)
    again = bench("data", "caption", city.folder, "--captioner", f"blip:{model}", "--splits", "val")
    assert "no photo of val lacks a caption" in again.out


def test_from_a_file(bench: Bench, city: Dataset, tmp_path: Path) -> None:
    ids = city.split("train").ids
    lines = [json.dumps({"photo_id": i, "caption": f"A  street view of a house, {n}"}) for n, i in enumerate(ids[1:])]
    file = tmp_path / "mine.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    said = bench("data", "caption", city.folder, "--captioner", file, "--overwrite", "--splits", "train")
    assert said.code == 0, said.err
    assert f"{len(ids) - 1} captions from {file}, {len(ids) - 1} of fewer than 10 words" in said.out
    assert "1 photos have none in the file" in said.out
    assert Dataset(city.folder).split("train").captions[1] == "A street view of a house, 0"


def test_from_a_table(bench: Bench, city: Dataset, tmp_path: Path) -> None:
    ids = city.split("train").ids
    file = tmp_path / "mine.csv"
    rows = [f'"{i}";"A street view of a house; number {n}"' for n, i in enumerate(ids)]
    file.write_text("\ufeffPhoto_ID;Caption\r\n" + "\r\n".join(rows) + "\r\n", encoding="utf-8")
    said = bench("data", "caption", city.folder, "--captioner", file, "--overwrite", "--splits", "train")
    assert said.code == 0, said.err
    assert list(Dataset(city.folder).split("train").captions[:1]) == ["A street view of a house; number 0"]
    file.write_text(f"photo_id,caption\n{ids[0]},one\n{ids[0]},two\n", encoding="utf-8")
    with pytest.raises(DataError, match="two captions of"):
        read_caption_file(file)
    file.write_text(f"photo_id,words\n{ids[0]},one\n", encoding="utf-8")
    with pytest.raises(DataError, match="columns photo_id, words"):
        read_caption_file(file)


def test_from_a_file_that_spells_names_otherwise(bench: Bench, city: Dataset, tmp_path: Path) -> None:
    """Letters and marks in the dataset, whole letters in the file."""
    ids = city.texts("photo_id").to_pylist()
    first = city.split("train").ids[0]
    named = normalize("NFD", "Señor.png")
    replace_column(city.folder, "photo_id", [named if i == first else i for i in ids])
    file = tmp_path / "mine.jsonl"
    told = {"photo_id": normalize("NFC", named), "caption": "a street"}
    file.write_text(json.dumps(told, ensure_ascii=False) + "\n", encoding="utf-8")
    said = bench("data", "caption", city.folder, "--captioner", file, "--overwrite", "--splits", "train")
    assert said.code == 0, said.err
    train = Dataset(city.folder).split("train")
    assert train.captions[train.ids.index(named)] == "a street"


@pytest.mark.parametrize(
    "line",
    ["{", "[1]", '{"photo_id": 3, "caption": "x"}', '{"photo_id": "a"}', '{"photo_id": "a", "caption": "\\ud800"}'],
)
def test_a_file_of_another_form_is_refused_with_its_line(line: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"photo_id": "a", "caption": "x"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2"):
        read_captions(file)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--captioner", "missing.jsonl"), 1, "cannot read missing.jsonl"),
        (("--splits", "trian"), 2, "did you mean 'train'"),
        (("--least", "9", "--most", "8"), 2, "--least 9 is more than --most 8"),
        (("--captioner", "blip-large"), 2, "Salesforce/blip-image-captioning-large"),
    ],
)
def test_what_is_wrong_is_said(bench: Bench, city: Dataset, arguments: tuple[str, ...], code: int, says: str) -> None:
    said = bench("data", "caption", city.folder, "--overwrite", *arguments)
    assert said.code == code, said.err
    assert says in said.err


def test_captions_of_strangers_are_refused(bench: Bench, city: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "strange.jsonl"
    file.write_text('{"photo_id": "nobody.jpg", "caption": "x"}\n', encoding="utf-8")
    before = (city.folder / PHOTOS).read_bytes()
    said = bench("data", "caption", city.folder, "--overwrite", "--captioner", file)
    assert said.code == 1
    assert "nobody.jpg" in said.err
    assert (city.folder / PHOTOS).read_bytes() == before


def test_two_at_once(bench: Bench, city: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps({"photo_id": city.split("train").ids[0], "caption": "x"}) + "\n", encoding="utf-8")
    before = (city.folder / PHOTOS).read_bytes()
    with FileLock(city.folder / LOCK):
        said = bench("data", "caption", city.folder, "--captioner", file, "--overwrite")
    assert said.code == 2
    assert f"another process writes to {city.folder}" in said.err
    assert (city.folder / PHOTOS).read_bytes() == before
    assert bench("data", "caption", city.folder, "--captioner", file, "--overwrite").code == 0


def test_what_was_kept_on_the_way_goes_when_all_is_in_the_table(bench: Bench, city: Dataset) -> None:
    """Killed when the table was written, and before what it was made of was removed."""
    train = dict(zip(city.split("train").ids, city.split("train").captions, strict=True))
    assert all(train.values())
    (city.folder / "captions").mkdir()
    whole, own, open_ = (city.folder / "captions" / f"{name}.jsonl" for name in ("0" * 16, "mine", "1" * 16))
    lines = [json.dumps({"photo_id": i, "caption": text}) + "\n" for i, text in train.items()]
    for file in (whole, own):
        file.write_text("".join(lines), encoding="utf-8")
    open_.write_text(lines[0].replace("a drawn", "another"), encoding="utf-8")
    said = bench("data", "caption", city.folder, "--captioner", "blip-large")
    assert (said.code, "lacks a caption" in said.out) == (0, True)
    assert sorted(p.name for p in (city.folder / "captions").iterdir()) == [open_.name, own.name]


def test_captions_are_not_kept_through_links(city: Dataset, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (city.folder / "captions").symlink_to(tmp_path / "mine")
    with pytest.raises(StorageError, match="is a link"):
        caption(city, city.split("train"), Counting(), LENGTH, 3, nothing)
    assert list((tmp_path / "mine").iterdir()) == []
