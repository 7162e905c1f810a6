"""`bench run` on no dataset, on several, and with the encoder that a dataset names."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from ial_bench.cli import main as cli
from ial_bench.cli.console import ConsoleReporter
from ial_bench.datasets import known
from ial_bench.datasets.known import DatasetCard
from ial_bench.datasets.table import DESCRIPTION
from ial_bench.folders import LOCK
from ial_bench.progress import Reporter
from ial_bench.synth import options
from ial_bench.testing import CHECK_BACKBONE, make_tiny_city

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    small = replace(options.PRESETS["synth-city"], blocks=(2, 2), size=32, train_places=4, train_views=2)
    monkeypatch.setattr(options, "PRESETS", {**options.PRESETS, "synth-city": small})
    monkeypatch.setenv("IAL_BENCH_DATA", str(tmp_path / "data"))

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", "run", "--no-timing", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


def test_without_a_dataset_a_city_is_drawn_once(run: Run, tmp_path: Path) -> None:
    code, out, err = run("-m", "majority,gps-oracle")
    assert code == 0, err
    said = "synth-city is a drawn city, a control whose truth is known; it says nothing about real ones"
    assert err.count("a drawn city") == 1
    assert err.splitlines()[-1].startswith(said)
    assert "`bench run --dataset sf-ial-large`" in err.splitlines()[-1]
    assert "| Most frequent address |" in out
    made = (tmp_path / "data" / "synth-city" / DESCRIPTION).stat().st_mtime_ns
    code, again, err = run("-m", "majority,gps-oracle")
    assert (code, again) == (0, out)
    assert "2 done already" in err
    assert err.splitlines()[-1].startswith(said)
    assert (tmp_path / "data" / "synth-city" / DESCRIPTION).stat().st_mtime_ns == made


def test_two_runs_at_once_draw_one_city(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second waits for the first to have drawn it, and says so."""
    home = tmp_path / "data" / "synth-city"
    home.mkdir(parents=True)
    held, waits, said = threading.Event(), threading.Event(), ConsoleReporter.log

    def hold() -> None:
        with FileLock(home / LOCK):
            held.set()
            waits.wait(60)

    def log(reporter: ConsoleReporter, text: str) -> None:
        said(reporter, text)
        if "waiting" in text:
            waits.set()

    monkeypatch.setattr(ConsoleReporter, "log", log)
    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    code, _, err = run("-m", "majority")
    other.join()
    assert code == 0, err
    assert f"another process writes to {home}; waiting for it" in err


def test_what_is_left_is_told_after_each_run(run: Run, tmp_path: Path) -> None:
    make_tiny_city(tmp_path / "data" / "tiny-city")
    arguments = ("-m", "random,majority,gps-oracle", "--seeds", "0,1", "--dataset", "tiny-city")
    _, _, err = run(*arguments)
    told = [line for line in err.splitlines() if " runs left" in line]
    assert told == ["3 runs left, 1 of them about 1 s; the rest was never timed here", "2 runs left"]
    _, _, err = run(*arguments, "--rerun")
    told = [line for line in err.splitlines() if " left, about " in line]
    assert [line.split(",")[0] for line in told] == ["3 runs left", "2 runs left"]
    assert "a drawn city" not in err


def test_wrong_names_are_told_before_the_city_is_drawn(run: Run, tmp_path: Path) -> None:
    code, _, err = run("-m", "majorty")
    assert code == 2
    assert "did you mean 'majority'" in err
    assert not (tmp_path / "data").exists()


def test_several_datasets(run: Run, tmp_path: Path) -> None:
    make_tiny_city(tmp_path / "data" / "tiny-city")
    other = make_tiny_city(tmp_path / "elsewhere", n_addresses=4).folder
    toml = other / DESCRIPTION
    toml.write_text(toml.read_text().replace('name = "tiny-city"', 'name = "other-city"'))
    code, out, _ = run("-m", "majority", "--dataset", f"tiny-city,{other}", "--json")
    assert code == 0
    assert [r["dataset"]["name"] for r in json.loads(out)] == ["tiny-city", "other-city"]
    code, out, _ = run("-m", "majority", "--dataset", "all", "--dry-run", "--json")
    assert [(p["dataset"], p["state"]) for p in json.loads(out)["runs"]] == [("tiny-city", "done")]


def test_no_dataset_at_all(run: Run) -> None:
    assert run("--dataset", "all")[0] == 2
    assert run("--dataset", " , ")[0] == 2


@pytest.mark.parametrize("given", [None, "timm:test_vit/random-init"])
def test_a_dataset_may_name_its_encoder(run: Run, tmp_path: Path, given: str | None) -> None:
    folder = make_tiny_city(tmp_path / "data" / "tiny-city").folder
    toml = folder / DESCRIPTION
    toml.write_text(f'backbone = "{CHECK_BACKBONE}"\n' + toml.read_text())
    extra: Any = ("--backbone", given) if given else ()
    code, out, err = run("-m", "linear-probe", "--dataset", "tiny-city", "--set", "linear-probe.c=1", "--json", *extra)
    assert code == 0, err
    (record,) = json.loads(out)
    assert record["method"]["backbone"] == (given or CHECK_BACKBONE)


def test_a_dataset_that_its_card_makes(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def make(folder: Path, report: Reporter) -> None:
        report.log("drawing my-city")
        made.append(make_tiny_city(folder).folder)

    card = DatasetCard("my-city", "My City", "drawn on the spot", "", (), "my-city --draw", make=make)
    monkeypatch.setattr(known, "dataset_cards", lambda: {"my-city": card})
    for _ in range(2):
        code, _, err = run("-m", "majority", "--dataset", "my-city")
        assert code == 0, err
    assert made == [tmp_path / "data" / "my-city"]
