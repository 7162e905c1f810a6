"""Texts of somebody else's on their way to the terminal."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from ial_bench.cli import console
from ial_bench.datasets.dataset import Dataset
from support.bench_command import Bench
from support.made_records import make_record, run_baselines, store

ESCAPES = "\x1b]0;title\x07\x1b[31mred\x1b[2J\x9b1m\x7f\x08\u202eover\u2066\u2028"


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x202E, 0x2066, 0xD800, 0xDFFF])
def test_whatever_steers_is_replaced_and_nothing_else(code: int) -> None:
    text = f"a{chr(code)}ß 東 \u200d é"
    kept = code in {9, 10}
    assert console.clean(text) == (text if kept else text.replace(chr(code), "\ufffd"))


def test_json_stays_the_same_value(capsys: pytest.CaptureFixture[str]) -> None:
    value = {ESCAPES: [ESCAPES, "ß 東"]}
    console.print_json(value)
    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert console.clean(out) == out


def test_the_gate_is_the_stream_behind_it_in_all_else() -> None:
    behind = io.StringIO()
    gate = console.Gate(behind)
    assert gate.write("a\x1bb") == 3
    gate.writelines(["c\x07", "d\n"])
    gate.flush()
    assert behind.getvalue() == "a\ufffdbc\ufffdd\n"
    assert not gate.isatty()


def said(bench: Bench, *arguments: str | Path) -> str:
    found = bench(*arguments)
    text = found.out + found.err
    assert "\x1b" not in text
    assert "\x07" not in text
    return text


def test_names_of_files_and_methods_do_not_steer(bench: Bench, tiny_city: Dataset, tmp_path: Path) -> None:
    run_baselines(tiny_city, tmp_path, ["majority"])
    results = tmp_path / "results"
    file = results / tiny_city.name / "majority" / "\x1b]0;title\x07\x1b[31m.json"
    file.write_text("{}")
    store(results, make_record("re\x1b[31m", title=ESCAPES, dataset=tiny_city.name))
    for command in (
        ("leaderboard",), ("list", "runs"), ("score", "-d", tiny_city.folder), ("compare", "--all-pairs"),
        ("show", "re\x1b[31m"), ("leaderboard", "-d", ESCAPES), ("leaderboard", "--check", file),
        ("run", "-d", ESCAPES), ("run", "-m", ESCAPES), ("data", "verify", ESCAPES),
    ):  # fmt: skip
        assert said(bench, *command, *(("--results", results) if command[0] not in {"show", "data"} else ()))


def test_a_title_does_not_steer(bench: Bench, tiny_city: Dataset, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(tiny_city.folder, tmp_path / "city")
    description = tmp_path / "city" / "dataset.toml"
    lines = description.read_text().splitlines()
    told = ['title = "\\u001b]0;title\\u0007\\u001b[31mRED"' if x.startswith("title =") else x for x in lines]
    description.write_text("\n".join(told))
    assert "RED" in said(bench, "show", tmp_path / "city")


def test_what_draws_itself_is_given_the_stream_behind_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    behind = Terminal()
    monkeypatch.setattr(sys, "stdout", behind)
    monkeypatch.setenv("TERM", "xterm")
    console.close_gates()
    console.print_rows(["method"], [[f"a{ESCAPES}b"]], title="runs")
    drawn = behind.getvalue()
    assert "method" in drawn
    assert "\x1b]0;" not in drawn
    assert "\x1b[31m" not in drawn
