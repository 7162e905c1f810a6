"""The report's folder: its pages, what hostile results do to them, what is left out, what is overwritten."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ial_bench.addresses import Address
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.record import RunRecord
from ial_bench.engine.records import read_record, write_record
from ial_bench.errors import ConfigError, DataError, ImageError
from ial_bench.progress import NoReport
from ial_bench.report.site import pages
from ial_bench.report.site.build import Options, build
from ial_bench.report.site.folder import MARK, SiteFolder, Thumbnails, chosen, thumbnail
from support.made_city import write_city
from support.made_records import identified, run_baselines
from support.made_results import NAME, Method, made_truth, write_results

HOSTILE = "</script><script src=//evil.example/x.js></script><img src=x onerror=alert(1)>\u2028'\"{{7*7}}<!--"
EVENTS = re.compile(r"^on", re.IGNORECASE)


class Page(HTMLParser):
    """What is in a page: tags with their attributes, and all text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [a for t, a in self.tags if t == tag]


def make(
    tmp_path: Path, *, out: str = "out", thumbnails: int | None = None, datasets: tuple[str, ...] = (NAME,)
) -> Path:
    """A report that nothing is left out of."""
    _, problems = build(
        tmp_path / out, datasets, Options(tmp_path / "results", tmp_path / "data", None, thumbnails), NoReport()
    )
    assert problems == []
    return tmp_path / out


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def change(results: Path, method: str, edit: Callable[[dict[str, Any]], None]) -> Path:
    """Edit a stored record as JSON; it gets the id and the file name that it then has."""
    (path,) = (results / NAME / method).glob("*.json")
    value = json.loads(path.read_text())
    edit(value)
    value["run_id"] = identified(RunRecord.model_validate(value)).run_id
    path.unlink()
    path = path.with_stem(value["run_id"])
    path.write_text(json.dumps(value))
    return path


@pytest.fixture
def results(tmp_path: Path) -> list[RunRecord]:
    methods = [Method("a", "Alpha", 0.7), Method("b", "Beta", 0.5), Method("b", "Beta", 0.4, 1), Method("c", "Gamma")]
    return write_results(tmp_path / "results", made_truth(60), methods)


def check_harmless(folder: Path) -> None:
    """No page runs or asks for anything but the report's own files."""
    for path in folder.rglob("*.html"):
        page = Page(path.read_text(encoding="utf-8"))
        (policy,) = [a["content"] for a in page.of("meta") if a.get("http-equiv") == "Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'" in (policy or "")
        assert not [a for _, a in page.tags for name in a if EVENTS.match(name) or name == "style"]
        links = [a.get(n) for _, a in page.tags for n in ("src", "href") if a.get(n) is not None]
        assert [x for x in links if not re.fullmatch(r"[\w./+-]*(#[\w./+=,-]*)?", x or "")] == []
        for link in links:
            target = (path.parent / (link or "").partition("#")[0]).resolve()
            assert target == path.parent.resolve() or target.is_file(), (path, link)
            assert target.is_relative_to(folder.resolve())
        assert {t for t, _ in page.tags}.isdisjoint({"iframe", "object", "embed", "base", "style", "img"})


def test_every_page_is_there_and_links_to_what_is_there(tmp_path: Path, results: list[RunRecord]) -> None:
    out = make(tmp_path)
    check_harmless(out)
    board = Page((out / "index.html").read_text())
    for title in ("Alpha", "Beta", "Gamma", "seed 1", "SSA-1 %", "56 places"):
        assert title in board.text
    own = out / "datasets" / NAME
    assert {p.name for p in own.glob("*.html")} == {"queries.html", "map.html", "compare.html"}
    assert len(list((own / "runs").glob("*.html"))) == len(results)
    page = Page((own / "runs" / f"a-{results[0].run_id}.html").read_text()).text
    for fact in ("Alpha", "Quarter 0", "within 25 m", "fast machine", "SA-5"):
        assert fact in page


def test_the_same_results_give_the_same_bytes(tmp_path: Path, results: list[RunRecord]) -> None:
    one, other = files(make(tmp_path)), files(make(tmp_path, out="other"))
    assert one == other
    assert files(make(tmp_path)) == one  # over an earlier one
    assert str(tmp_path).encode() not in b"".join(one.values())


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    address = HOSTILE.translate(str.maketrans("", "", ",()\u2028"))
    truth = made_truth(
        12, [Address(address, address, (address,)), Address("B", "C"), Address("D", "E")], [HOSTILE] * 12
    )
    write_results(tmp_path / "results", truth, [Method("a", HOSTILE), Method("b", HOSTILE * 20_000)])

    def edit(value: dict[str, Any]) -> None:
        value["method"] |= {"config": {HOSTILE: HOSTILE, "__proto__": {HOSTILE: [HOSTILE]}}, "backbone": HOSTILE}
        value["method"]["facts"] = {"training": {"epochs": [{"losses": {HOSTILE: 1.0}, "val_ssa1": 0.5}]}}
        value["provenance"]["hardware"] = {"cpu": HOSTILE + "\x00"}

    change(tmp_path / "results", "a", edit)
    change(tmp_path / "results", "b", lambda v: v.update(status="failed", reason=HOSTILE, traceback=HOSTILE * 9_999))
    out = make(tmp_path)
    check_harmless(out)
    assert "<script src=//evil" in Page((out / "index.html").read_text()).text
    assert all("evil.example" not in (a.get("src") or "") for a in Page((out / "index.html").read_text()).of("script"))
    for path in out.rglob("*.js"):
        if path.parent.name == "data":
            assert not set(b"<>&\xe2") & set(path.read_bytes())
    assert max(p.stat().st_size for p in out.rglob("*.html")) < 600_000
    assert "{{7*7}}" in Page((out / "index.html").read_text()).text


def test_folders_of_hostile_names_are_numbered(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>"
    write_results(tmp_path / "results", made_truth(12), [Method("<b>")], name)
    out = make(tmp_path, datasets=(name,))
    check_harmless(out)
    assert name in Page((out / "index.html").read_text()).text
    (own,) = (out / "datasets").iterdir()
    assert own.name.isalnum()


def test_records_that_cannot_be_read_are_named_and_the_rest_stays(tmp_path: Path, results: list[RunRecord]) -> None:
    home = tmp_path / "results"
    cut = home / NAME / "a" / "cut.json"
    cut.write_text('{"schema_version": 1')
    newer = home / NAME / "a" / "newer.json"
    newer.write_text('{"schema_version": 99}')
    stranger = home / NAME / "c" / "ffff.json"
    write_record(stranger, read_record(home / NAME / "c" / f"{results[3].run_id}.json"))
    _, problems = build(tmp_path / "out", [NAME], Options(home, tmp_path), NoReport())
    assert [[p.name in text for p in (cut, newer, stranger)].index(True) for text in problems] == [0, 1, 2]
    board = Page((tmp_path / "out" / "index.html").read_text()).text
    assert all(text in board for text in ("Alpha", "Gamma", "cut.json", "schema_version 99", "record of another run"))
    assert str(tmp_path) not in board


def test_a_record_cannot_name_folders_elsewhere(tmp_path: Path, results: list[RunRecord]) -> None:
    change(tmp_path / "results", "a", lambda v: v["dataset"].update(name="../../elsewhere"))
    change(tmp_path / "results", "c", lambda v: v["predictions"].update(path="../../../../secret.parquet"))
    _, problems = build(tmp_path / "out", [NAME], Options(tmp_path / "results", tmp_path), NoReport())
    assert len(problems) == 2
    assert "record of another run" in problems[0]
    assert "secret.parquet" in problems[1]


def test_answers_that_changed_are_left_out(tmp_path: Path, results: list[RunRecord]) -> None:
    (tmp_path / "results" / NAME / "a" / f"{results[0].run_id}.predictions.parquet").write_bytes(b"other")
    _, problems = build(tmp_path / "out", [NAME], Options(tmp_path / "results", tmp_path), NoReport())
    assert len(problems) == 1
    assert "was changed" in problems[0]
    own = tmp_path / "out" / "datasets" / NAME
    assert "Alpha" not in (own / "data" / "index.js").read_text()
    assert "Alpha" not in (own / "data" / "compare.js").read_text()
    assert "missing, damaged or changed" in Page((own / "runs" / f"a-{results[0].run_id}.html").read_text()).text


def test_without_ground_truth_leaderboard_and_runs_are_left(tmp_path: Path, results: list[RunRecord]) -> None:
    for path in (tmp_path / "results" / NAME / "ground-truth").iterdir():
        path.unlink()
    _, problems = build(tmp_path / "out", [NAME], Options(tmp_path / "results", tmp_path), NoReport())
    assert ["no ground truth" in p for p in problems] == [True]
    own = tmp_path / "out" / "datasets" / NAME
    assert not (own / "queries.html").exists()
    assert len(list((own / "runs").glob("*.html"))) == len(results)


# ------------------------------------------------------------------------------------------------ the dataset's photos


def test_photos_of_the_dataset_are_shown_small(tiny_city: Dataset, tmp_path: Path) -> None:
    run_baselines(tiny_city, tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / tiny_city.name).symlink_to(tiny_city.folder)
    out = make(tmp_path, datasets=(tiny_city.name,))
    check_harmless(out)
    photos = list((out / "datasets" / tiny_city.name / "photos").rglob("*.jpg"))
    assert len(photos) == len(tiny_city.rows("query"))
    with Image.open(photos[0]) as image:
        assert image.format == "JPEG"
        assert not image.getexif()
    index = (out / "datasets" / tiny_city.name / "data" / "index.js").read_text()
    assert (tiny_city.streets is None) == ('"hasLines":false' in index)


def test_where_ground_truth_is_missing_the_dataset_tells_it(tiny_city: Dataset, tmp_path: Path) -> None:
    run_baselines(tiny_city, tmp_path, names=["majority"])
    for path in (tmp_path / "results" / tiny_city.name / "ground-truth").iterdir():
        path.unlink()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / tiny_city.name).symlink_to(tiny_city.folder)
    assert (make(tmp_path, datasets=(tiny_city.name,)) / "datasets" / tiny_city.name / "queries.html").is_file()


def test_another_version_of_the_dataset_shows_no_photos(tiny_city: Dataset, tmp_path: Path) -> None:
    run_baselines(tiny_city, tmp_path, names=["majority"])
    (path,) = (tmp_path / "results" / tiny_city.name / "majority").glob("*.json")
    value = json.loads(path.read_text())
    old = value["dataset"]["digest"]
    value["dataset"]["digest"] = "0" * 64
    moved = identified(RunRecord.model_validate(value))
    path.unlink()
    answers = path.with_suffix(".predictions.parquet")
    answers.rename(answers.with_name(f"{moved.run_id}.predictions.parquet"))
    stored = moved.predictions and moved.predictions.model_copy(update={"path": f"{moved.run_id}.predictions.parquet"})
    write_record(path.with_stem(moved.run_id), moved.model_copy(update={"predictions": stored}))
    for file in (tmp_path / "results" / tiny_city.name / "ground-truth").iterdir():
        file.rename(file.with_name(file.name.replace(old[:16], "0" * 16)))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / tiny_city.name).symlink_to(tiny_city.folder)
    out = make(tmp_path, datasets=(tiny_city.name,))
    assert not list(out.rglob("*.jpg"))
    assert "another version" in (out / "datasets" / tiny_city.name / "queries.html").read_text()


def test_thumbnails_keep_small_photos_and_shrink_large_ones() -> None:
    for shape, size in (((48, 64), (64, 48)), ((600, 900), (320, 213)), ((2000, 10), (2, 320))):
        with Image.open(io.BytesIO(thumbnail(np.zeros((*shape, 3), np.uint8)))) as image:
            assert image.size == size
            assert image.mode == "RGB"


@pytest.mark.parametrize("path", ["../secret.jpg", "/etc/hostname", "a/../../secret.jpg", "..\\secret.jpg", "gone.jpg"])
def test_photo_paths_that_lead_out_give_no_thumbnail(tmp_path: Path, path: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.jpg")
    city = write_city(
        tmp_path / "city", [Address("A", "B")], split=["train", "query"], place=["p", "q"], address=[0, 0],
        lat=[1.0, 1.0], lon=[1.0, 1.0], ids=["x.jpg", path],
    )  # fmt: skip
    (tmp_path / "images").mkdir()
    thumbnails = Thumbnails(tmp_path / "out", "key", city.split("query"))
    with pytest.raises((DataError, ImageError)):
        thumbnails.make(0)
    assert len(thumbnails.make_all(chosen(1, None), NoReport(), "city")) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("n", "most", "count"), [(10, None, 10), (10, 20, 10), (1000, 30, 30), (10, 0, 0), (0, None, 0)]
)
def test_some_queries_are_spread_over_all(n: int, most: int | None, count: int) -> None:
    found = chosen(n, most)
    assert len(found) == len(set(found.tolist())) == count
    if 1 < count < n:
        assert (found[0], found[-1]) == (0, n - 1)
        assert np.diff(found).max() - np.diff(found).min() <= 1


def test_without_jinja2_it_says_what_to_install(
    tmp_path: Path, results: list[RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    pages._environment.cache_clear()
    with pytest.raises(ConfigError, match="needs jinja2") as told:
        build(tmp_path / "out", [NAME], Options(tmp_path / "results"), NoReport())
    assert told.value.fix == "pip install 'ial-bench[report]'"
    assert not (tmp_path / "out").exists()


# ----------------------------------------------------------------------------------------------------- the folder


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ConfigError, match="other things"):
        SiteFolder(tmp_path)
    (tmp_path / MARK).write_text("{}")
    with pytest.raises(ConfigError, match="other things"):
        SiteFolder(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_what_is_not_written_again_is_removed_and_nothing_else(tmp_path: Path) -> None:
    first = SiteFolder(tmp_path / "out")
    first.write("a/old.html", "x")
    first.write("b.html", "x")
    first.close()
    (tmp_path / "out" / "note.txt").write_text("mine")
    (tmp_path / "outside.txt").write_text("mine")
    mark = tmp_path / "out" / MARK
    told = json.loads(mark.read_text())
    told["files"] += ["../outside.txt", str(tmp_path / "outside.txt")]
    mark.write_text(json.dumps(told))
    second = SiteFolder(tmp_path / "out")
    second.write("b.html", "y")
    second.close()
    assert {p.name for p in (tmp_path / "out").rglob("*")} == {"b.html", MARK, "note.txt"}
    assert (tmp_path / "outside.txt").read_text() == "mine"
