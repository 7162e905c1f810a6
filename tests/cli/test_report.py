"""`bench report` and `bench plot` as their user meets them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ial_bench.datasets.dataset import Dataset
from ial_bench.plots import kinds
from support.bench_command import Bench
from support.made_answers import a_run
from support.made_records import run_baselines
from support.made_results import NAME, Method, made_truth, write_results


def test_it_writes_a_folder_and_says_where(bench: Bench, tmp_path: Path) -> None:
    write_results(tmp_path / "results", made_truth(40), [Method("a", "Alpha"), Method("b", "Beta")])
    said = bench("report", "--out", str(tmp_path / "out"), "--results", str(tmp_path / "results"))
    assert said.code == 0
    assert "index.html" in said.err
    assert "Alpha" in (tmp_path / "out" / "index.html").read_text()
    assert "Beta" in (tmp_path / "out" / "datasets" / NAME / "data" / "index.js").read_text()


def test_a_broken_record_is_named_and_sets_the_exit_code(bench: Bench, tmp_path: Path) -> None:
    write_results(tmp_path / "results", made_truth(40), [Method("a", "Alpha")])
    (tmp_path / "results" / NAME / "a" / "cut.json").write_text("{")
    said = bench("report", "--out", str(tmp_path / "out"), "--results", str(tmp_path / "results"), "--dataset", NAME)
    assert said.code == 1
    assert "cut.json" in said.err
    assert "Alpha" in (tmp_path / "out" / "index.html").read_text()


def test_what_it_cannot_do_is_said(bench: Bench, tmp_path: Path) -> None:
    empty = bench("report", "--out", str(tmp_path / "out"), "--results", str(tmp_path))
    assert (empty.code, "no results" in empty.err) == (1, True)
    write_results(tmp_path / "results", made_truth(12), [Method("a")])
    options = ("--results", str(tmp_path / "results"))
    wrong = bench("report", "--dataset", "made-ctiy", *options)
    assert (wrong.code, "did you mean 'made-city'" in wrong.err) == (2, True)
    wrong = bench("report", "--thumbnails", "some", *options)
    assert (wrong.code, "a number, all or none" in wrong.err) == (2, True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    wrong = bench("report", "--out", str(tmp_path / "full"), *options)
    assert (wrong.code, "other things" in wrong.err) == (2, True)


@pytest.fixture(scope="module")
def runs(tiny_city: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two configurations of a method, and one whose name is a formula; read only."""
    results = tmp_path_factory.mktemp("drawn")
    a_run(results, tiny_city, "retrieval", 0.6, run=3, neighbours=1)
    a_run(results, tiny_city, "retrieval", 0.9, run=4, neighbours=9)
    a_run(results, tiny_city, "$elsewhere", 2.0, run=5)
    return results


def test_all_says_what_it_leaves_out(bench: Bench, tiny_city: Dataset, tmp_path: Path) -> None:
    run_baselines(tiny_city, tmp_path)
    out = tmp_path / "pictures"
    said = bench("plot", "all", "--results", tmp_path / "results", "--out", out, "--format", "svg")
    assert said.code == 0, said.err
    drawn = {p.stem for p in out.iterdir()}
    left = set(re.findall(r"left out: ([\w-]+):", said.err))
    assert drawn | left == set(kinds.KINDS)
    assert not drawn & left
    assert {"ssa-k", "distance", "map", "reliability"} <= drawn
    assert {"loss", "ablation", "coverage", "latency"} <= left


def test_one_picture_of_a_hostile_title(bench: Bench, runs: Path, tmp_path: Path) -> None:
    file = tmp_path / "new" / "one.svg"
    said = bench("plot", "ssa-k", "$elsewhere", "--results", runs, "--out", file, "--width", "double")
    assert said.code == 0, said.err
    assert "$elsewhere" in file.read_text()
    assert 'width="515.52pt"' in file.read_text()  # 7.16 inches


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("latancy",), "did you mean 'latency'"),
        (("latency", "--out", "a.jpg"), "png, svg, pdf"),
        (("latency", "--width", "triple"), "unknown width"),
        (("all", "--out", "a.png"), "is a file"),
        (("all", "--format", "gif"), "unknown format"),
        (("map", "--format", "svg"), "--out map.svg"),
        (("ablation", "--metric", "nothing"), "hold no nothing"),
    ],
)
def test_what_cannot_be_drawn_is_said(bench: Bench, runs: Path, arguments: tuple[str, ...], says: str) -> None:
    said = bench("plot", *arguments, "--results", runs)
    assert said.code == 2
    assert says in said.err
