"""The template of a leaderboard's repository: its workflow's steps, run one by one as they are written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ial_bench.datasets.dataset import Dataset
from ial_bench.errors import ConfigError
from ial_bench.packs.pack import make_pack
from ial_bench.packs.template import write_template
from support.made_records import run_baselines
from support.tampered_packs import tamper

BENCH = f"""#!/bin/sh
exec "{sys.executable}" -c 'from ial_bench.cli.main import main; main()' "$@"
"""


@pytest.fixture
def repository(tiny_city: Dataset, tmp_path: Path) -> Path:
    """A leaderboard of one dataset, which its script copies, with one pack."""
    folder = tmp_path / "board"
    write_template(folder)
    copied = f'test -e "data/{tiny_city.name}" || cp -r "{tiny_city.folder}" "data/{tiny_city.name}"'
    (folder / "datasets.sh").write_text(f"mkdir -p data\n{copied}\n")
    run_baselines(tiny_city, tmp_path, seeds=(0, 1))
    (folder / "packs" / tiny_city.name).mkdir()
    make_pack(tmp_path / "results", tiny_city.name, [], folder / "packs" / tiny_city.name / "first.ialpack")
    command = tmp_path / "bin" / "bench"
    command.parent.mkdir()
    command.write_text(BENCH)
    command.chmod(0o755)
    return folder


def steps_of(folder: Path) -> list[dict[str, Any]]:
    """The workflow's commands, but for the installation."""
    workflow = yaml.safe_load((folder / ".github/workflows/leaderboard.yml").read_text())
    return [s for s in workflow["jobs"]["verify"]["steps"] if "run" in s and s["name"] != "Install"]


def run(folder: Path, step: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("IAL_BENCH_")}
    env |= {"PATH": f"{folder.parent / 'bin'}:{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "-e", "-c", step["run"]], cwd=folder, env=env, capture_output=True, text=True, check=False
    )  # fmt: skip


def test_the_workflow_verifies_merges_and_makes_the_pages(repository: Path, tiny_city: Dataset) -> None:
    steps = steps_of(repository)
    assert [s["name"] for s in steps] == ["Verify", "Merge and make the pages"]
    for step in steps:
        done = run(repository, step)
        assert done.returncode == 0, done.stderr
    assert len(list((repository / "results" / tiny_city.name).glob("*/*.json"))) == 4
    assert "Most frequent address" in (repository / "site" / "index.html").read_text()


def test_a_changed_number_stops_it(repository: Path, tiny_city: Dataset, tmp_path: Path) -> None:
    folder = repository / "packs" / tiny_city.name
    tamper(folder / "first.ialpack", "SSA-1", 0, tmp_path / "changed.ialpack")
    shutil.move(tmp_path / "changed.ialpack", folder / "second.ialpack")
    done = run(repository, steps_of(repository)[0])
    assert done.returncode == 1
    assert "second.ialpack" in done.stderr
    assert "lies outside of its interval" in done.stderr


def test_a_pull_request_can_read_and_no_more(repository: Path) -> None:
    text = (repository / ".github/workflows/leaderboard.yml").read_text()
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in text
    assert "secrets" not in text
    assert workflow["jobs"]["publish"]["if"] == "github.event_name == 'push'"


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(ConfigError, match="there already"):
        write_template(tmp_path)
    assert (tmp_path / "mine").read_text() == "mine"


def test_what_a_kill_left_is_gone_on_with(tmp_path: Path) -> None:
    written = write_template(tmp_path / "straight")
    folder = tmp_path / "board"
    folder.mkdir()
    shutil.copy(written[0], folder)
    (folder / ".datasets.sh.a1b2.tmp").touch()
    (folder / "packs").mkdir()
    write_template(folder)
    for file in [p for p in (tmp_path / "straight").rglob("*") if p.is_file()]:
        assert (folder / file.relative_to(tmp_path / "straight")).read_bytes() == file.read_bytes()
    written = write_template(folder)  # killed when all was there
    written[0].write_text("mine")
    with pytest.raises(ConfigError, match="there already"):
        write_template(folder)
    assert written[0].read_text() == "mine"
