"""`bench report` as its user meets it."""

from __future__ import annotations

from pathlib import Path

from bench_command import Bench
from made_results import NAME, Method, made_truth, write_results


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
