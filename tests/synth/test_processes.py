"""`bench data synth` among processes: two that want one folder, and kill -9 half-way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.verify import verify
from ial_bench.errors import DataError, StorageError
from ial_bench.folders import LOCK
from ial_bench.synth.options import CityOptions
from ial_bench.synth.write import make_city
from support.worker_tasks import group_is_gone

CITY = CityOptions(seed=11, blocks=(2, 3), size=64, train_places=8)
TINY = CityOptions(seed=11, blocks=(1, 2), size=16, train_places=1, query_places=1)
Files = dict[str, bytes]


def synth(folder: Path) -> subprocess.Popen[bytes]:
    """In a group of its own, which its workers join."""
    command = [
        sys.executable, "-m", "ial_bench.cli", "data", "synth", "--out", str(folder), "--name", "synth-city",
        "--seed", "11", "--blocks", "2x3", "--places", "8", "--workers", "2",
    ]  # fmt: skip
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(os.environ), start_new_session=True
    )


def finish(process: subprocess.Popen[bytes]) -> str:
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said.decode()
    return said.decode()


def wait_for(moment: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not moment():
        assert process.poll() is None, "it ended before that moment"
        assert time.monotonic() < deadline
        time.sleep(0.002)


def files(folder: Path) -> Files:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("straight") / "city"
    make_city(folder, CITY)
    return files(folder)


def test_a_second_process_waits_and_finds_it_done(straight: Files, tmp_path: Path) -> None:
    folder = tmp_path / "city"
    first = synth(folder)
    wait_for(lambda: any(folder.rglob("*.jpg")), first)
    second = synth(folder)
    said_first, said_second = finish(first), finish(second)
    assert "waiting" not in said_first
    assert f"another process writes to {folder}; waiting for it" in said_second
    assert files(folder) == straight
    assert verify(Dataset(folder)).problems == []


@pytest.mark.parametrize("whom", ["the process alone", "its workers too"])
def test_a_killed_city_resumes_to_the_same_bytes(straight: Files, tmp_path: Path, whom: str) -> None:
    folder = tmp_path / "city"
    process = synth(folder)
    wait_for(lambda: any(folder.glob("rows/*.json")) and len(list(folder.rglob("*.jpg"))) > 80, process)
    (os.kill if whom == "the process alone" else os.killpg)(process.pid, signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 10
    while not group_is_gone(process.pid):
        assert time.monotonic() < deadline, "its workers outlive it"
        time.sleep(0.01)
    done = {p: p.stat() for p in folder.rglob("*.jpg")}
    assert 80 < len(done) < CITY.n_photos
    assert not (folder / "dataset.toml").exists()
    (folder / "rows" / ".00000.json.abc.tmp").write_text("half")  # what a kill leaves of a file being written
    assert "waiting" not in finish(synth(folder))
    assert files(folder) == straight
    for path, before in done.items():
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_no_lock_is_laid_into_folders_of_others_or_of_whole_cities(tmp_path: Path) -> None:
    theirs, whole = tmp_path / "theirs", tmp_path / "whole"
    theirs.mkdir()
    (theirs / "thesis.tex").write_text("years of work")
    (theirs / LOCK).touch()  # a lock alone makes no city
    with pytest.raises(DataError, match="not a synth city"):
        make_city(theirs, TINY)
    assert files(theirs).keys() == {"thesis.tex", LOCK}
    make_city(whole, TINY)
    assert not (whole / LOCK).exists()
    whole.chmod(0o555)
    try:
        make_city(whole, TINY)
    finally:
        whole.chmod(0o755)


def test_who_waited_for_a_city_of_other_options_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "city"
    folder.mkdir()
    other = FileLock(folder / LOCK)
    other.acquire()

    def meanwhile(_: str) -> None:
        other.release()
        make_city(folder, TINY)

    with pytest.raises(DataError, match="other options"):
        make_city(folder, replace(TINY, seed=12), say=meanwhile)
    assert verify(Dataset(folder), quick=True).problems == []


@pytest.mark.parametrize("link", ["images", "images/train", "rows"])
def test_a_city_of_somebody_elses_is_not_drawn_through_links(tmp_path: Path, link: str) -> None:
    make_city(tmp_path / "city", TINY)
    (tmp_path / "city" / "dataset.toml").unlink()
    mine = tmp_path / "mine"
    shutil.move(tmp_path / "city" / link, mine)
    for file in [p for p in mine.rglob("*") if p.is_file()]:
        file.write_bytes(b"mine")
    (mine / ".letter.tmp").write_text("mine")
    (tmp_path / "city" / link).symlink_to(mine)
    before = files(mine)
    with pytest.raises(StorageError, match="is a link"):
        make_city(tmp_path / "city", TINY)
    assert files(mine) == before
