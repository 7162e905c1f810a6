"""Worker processes: they answer in order, an error comes back as it was raised, and one that ends is missed at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ial_bench import processes
from ial_bench.errors import ConfigError, WorkerError
from ial_bench.processes import Workers
from support.worker_tasks import LARGE, Unreadable, doubled, ended, filled, gone, group_is_gone, unsendable

SECONDS = 5.0  # within which a dead worker must be missed


def all_of(answers: list[Future[Any]]) -> list[Any]:
    return [answer.result(SECONDS) for answer in answers]


def wait_for(moment: Callable[[], bool], seconds: float = SECONDS) -> None:
    until = time.monotonic() + seconds
    while not moment():
        assert time.monotonic() < until, "it does not come"
        time.sleep(0.01)


def test_they_answer_what_they_are_asked() -> None:
    with Workers(doubled, 2) as workers:
        assert [a.result() for a in [workers.submit(i) for i in range(50)]] == [2 * i for i in range(50)]


def test_arrays_come_as_they_are_and_may_be_written_to() -> None:
    with Workers(filled, 2) as workers:
        told = [a.result() for a in [workers.submit(i) for i in range(4)]]
    assert len({pid for pid, _ in told}) == 2
    for i, (_, array) in enumerate(told):
        np.testing.assert_array_equal(array, np.full((3, LARGE // 3), i, np.uint8))
        array[0, 0] = 9


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (signal.SIGKILL, "ended from outside by SIGKILL, for want of memory perhaps"),
        (signal.SIGTERM, "ended from outside by SIGTERM"),
        (3, "ended by itself, with status 3"),
    ],
)
def test_one_that_ends_is_missed_at_once(how: Any, why: str) -> None:
    with Workers(ended, 2) as workers:
        assert workers.submit("ready").result() == "ready"
        started = time.monotonic()
        answers = [workers.submit(h) for h in ("before", how, *["after"] * 50)]
        with pytest.raises(WorkerError, match=why) as caught:
            all_of(answers)
        assert time.monotonic() - started < SECONDS
    assert caught.value.fix is not None
    if isinstance(how, signal.Signals):
        assert "fewer --workers" in caught.value.fix


class KillsWhileItSends:
    """A worker's socket: the process is killed when the first bytes of its array have come."""

    def __init__(self, worker: Any) -> None:
        self.socket, self.process = worker._socket, worker._process

    def recv_into(self, block: memoryview, size: int, flags: int) -> int:
        if size < LARGE // 3:
            return int(self.socket.recv_into(block, size, flags))
        got = self.socket.recv_into(block[:1000], 1000)
        self.process.kill()
        return int(got)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.socket, name)


def test_one_that_is_killed_while_it_sends_its_answer_is_missed() -> None:
    """Who reads from a queue that several write to then waits for the rest for ever."""
    with Workers(filled, 2) as workers:
        assert len([a.result() for a in [workers.submit(i) for i in range(4)]]) == 4  # both are there
        workers._all[0]._socket = KillsWhileItSends(workers._all[0])  # type: ignore[assignment]
        answers = [workers.submit(i) for i in range(4)]
        with pytest.raises(WorkerError, match="SIGKILL"):
            all_of(answers)


def test_an_error_comes_back_with_its_traceback() -> None:
    with Workers(ended, 1) as workers:
        with pytest.raises(ConfigError) as caught:
            workers.submit(ConfigError("no such thing", "take another")).result()
        assert (caught.value.problem, caught.value.fix) == ("no such thing", "take another")
        assert "in ended" in str(caught.value.__cause__)
        with pytest.raises(SystemExit):
            workers.submit(SystemExit(3)).result()
        assert workers.submit("goes on").result() == "goes on"


def test_what_cannot_be_sent_is_told_in_words() -> None:
    with Workers(unsendable, 1) as workers, pytest.raises(RuntimeError, match="UnsendableError: not for you"):
        workers.submit(0).result()
    with Workers(Unreadable(), 1) as workers, pytest.raises(ValueError, match="invalid literal"):
        workers.submit(0).result()


def test_none_is_left_and_nothing_more_is_begun() -> None:
    with Workers(filled, 2) as workers:
        pids = {workers.submit(0).result()[0] for _ in range(8)}
        later = [workers.submit(i) for i in range(1000)]
    assert all(gone(pid) for pid in pids)
    assert later[-1].cancelled()


def test_one_that_does_not_end_by_itself_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_SECONDS_TO_END", 0.2)
    with Workers(time.sleep, 1) as workers:
        workers.submit(0).result()
        pid = workers._all[0]._process.pid
        workers.submit(60.0)
        time.sleep(0.1)
    assert pid is not None
    assert gone(pid)


IMPORTING = """
import os, signal, sys, time
import slow_import
from ial_bench.processes import Workers

if __name__ == "__main__":
    with Workers(bytes(10_000_000).find, 2, ["slow_import"]) as workers:
        workers.submit(b"x").result()
"""


def test_an_interrupt_while_they_are_started_is_left_to_this_process(tmp_path: Path) -> None:
    (tmp_path / "slow_import.py").write_text(
        "import pathlib, sys, time\n"
        "if 'forkserver' in ' '.join(sys.orig_argv):\n"
        "    pathlib.Path(__file__).with_name('begun').touch()\n"
        "    time.sleep(1.0)\n"
        "    pathlib.Path(__file__).with_name('done').touch()\n"
    )
    (tmp_path / "program.py").write_text(IMPORTING)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(
        [sys.executable, tmp_path / "program.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
        start_new_session=True,
    ) as process:  # fmt: skip
        wait_for((tmp_path / "begun").exists, 30)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=30)
        wait_for(lambda: group_is_gone(process.pid))
    assert (tmp_path / "done").exists()
    assert said.count("Traceback") == 1, said  # that of the program, which does not catch it


PROGRAM = """
import os, signal, sys, time
import test_processes
from ial_bench.processes import Workers

if __name__ == "__main__":
    with Workers(test_processes.filled, 2) as workers:
        print(*{workers.submit(0).result()[0] for _ in range(8)}, flush=True)
        while True:
            workers.submit(0).result()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_they_end_with_this_process(tmp_path: Path, how: signal.Signals) -> None:
    """Ctrl-C reaches the whole group, as at a terminal; they leave it to this process, and say nothing of it."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(
        [sys.executable, program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert pids
        (os.kill if how == signal.SIGKILL else os.killpg)(process.pid, how)
        _, said = process.communicate(timeout=30)
        wait_for(lambda: all(gone(pid) for pid in pids))
        wait_for(lambda: group_is_gone(process.pid))  # the server that forked them, too
    assert said.count("Traceback") == (how == signal.SIGINT), said
    assert said.rstrip().endswith("KeyboardInterrupt") or how == signal.SIGKILL
