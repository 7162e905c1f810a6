"""Ctrl-C and the signal of a batch system, at moments of their own choosing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

LINE = "the same command resumes where it stopped"


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """A command as a terminal starts it: heeding ctrl-c, and in a group of its own."""
    env = {**os.environ, "IAL_BENCH_DATA": str(folder / "data"), "IAL_BENCH_CACHE": str(folder / "cache")}
    return subprocess.Popen(
        [sys.executable, "-m", "ial_bench.cli", *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env, cwd=folder, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 - no threads here
    )  # fmt: skip


def in_group(group: int) -> list[int]:
    """Processes that are alive in a group, zombies aside."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, err = process.communicate(timeout=30)
    deadline = time.monotonic() + 5
    while sys.platform == "linux" and (left := in_group(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert sys.platform != "linux" or not left
    return process.returncode, err


DRAW = ("data", "synth", "--seed", "5", "--size", "48", "--out", "city", "--workers", "2", "--blocks")


def begun(folder: Path) -> bool:
    return any((folder / "city").rglob("*.jpg")) if (folder / "city").exists() else False


@pytest.mark.parametrize("wait", [0.25, 0.5, 1.0])
def test_at_any_moment_it_tells_how_to_go_on(tmp_path: Path, wait: float) -> None:
    process = started(tmp_path, *DRAW, "3x3")
    time.sleep(wait)
    process.send_signal(signal.SIGINT)
    code, err = ended(process)
    assert (code, LINE in err) == (130, True), err
    assert "Traceback" not in err


def three_times(process: subprocess.Popen[str]) -> None:
    for _ in range(3):
        os.killpg(process.pid, signal.SIGINT)


@pytest.mark.parametrize(
    ("send", "code", "word"),
    [
        (lambda p: os.killpg(p.pid, signal.SIGINT), 130, "interrupted"),
        (three_times, 130, "interrupted"),
        (lambda p: p.send_signal(signal.SIGTERM), 143, "terminated"),
    ],
    ids=["to workers too, as of a terminal", "pressed three times", "of a batch system"],
)
def test_at_work_it_ends_with_its_workers(
    tmp_path: Path, send: Callable[[subprocess.Popen[str]], None], code: int, word: str
) -> None:
    process = started(tmp_path, *DRAW, "2x2")
    deadline = time.monotonic() + 30
    while not begun(tmp_path):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    send(process)
    found, err = ended(process)
    assert (found, f"error: {word}" in err, LINE in err) == (code, True, True), err
    assert "Traceback" not in err
    again = started(tmp_path, *DRAW, "2x2")
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """A shell starts commands in its background so."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ial_bench.cli", "list", "methods"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # noqa: PLW1509
    )  # fmt: skip
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
