"""`bench` in processes of their own that start at once: forked by one that has done the imports and nothing else.

For tests that kill a command and give it again: the imports of torch and of the methods, seconds a process, would be
most of their time. A process that is forked so has no threads but its own, is a session of its own, and ends as the
interpreter does. What a command does before it is at work is shown by tests that start Python itself.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Started:
    """A command at work, in a process group of its own.

    Attributes:
        pid: of the process, and the number of its group.
        said: where its standard error goes.
        code: its exit status, negative of a signal; None while it is not known to have ended.
    """

    server: Server
    pid: int
    said: Path
    code: int | None = None

    def poll(self) -> int | None:
        if self.code is None:
            self.code = self.server.ask(ended=self.pid)
        return self.code

    def wait(self, seconds: float = 120.0) -> int:
        deadline = time.monotonic() + seconds
        while (code := self.poll()) is None:
            assert time.monotonic() < deadline, f"it does not end: {self.said.read_text(errors='replace')}"
            time.sleep(0.005)
        return code

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        assert self.wait() == -signal.SIGKILL

    def finish(self, code: int = 0, seconds: float = 120.0) -> str:
        """Wait for it to end with `code`; what it said on standard error."""
        found, said = self.wait(seconds), self.said.read_text(errors="replace")
        assert found == code, said
        return said


class Server:
    """What the processes are forked from."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Started] = []
        env = {**os.environ, "HF_HUB_OFFLINE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
            start_new_session=True,
        )  # fmt: skip

    def start(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Started:
        """Begin ``bench ARGUMENTS...``, in this process's folder and with its environment and `env`."""
        said = self._folder / f"{len(self._started)}.txt"
        call = {"arguments": list(map(str, arguments)), "env": {**os.environ, **(env or {})}, "cwd": str(Path.cwd())}
        self._started.append(Started(self, self.ask(call=call, said=str(said)), said))
        return self._started[-1]

    def ask(self, **what: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        told = self._process.stdout.readline()
        assert told, "the process that forks has ended"
        return json.loads(told)

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
        self._process.communicate(timeout=60)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server, until the block ends; what the processes say lies in `folder`."""
    server = Server(folder)
    try:
        yield server
    finally:
        server.close()


def _serve() -> None:
    """In the server: fork, and tell of those that ended, until nobody is there to ask; in what it forked: the call."""
    for line in sys.stdin:
        asked = json.loads(line)
        if "call" not in asked:
            pid, status = os.waitpid(asked["ended"], os.WNOHANG)
            told = os.waitstatus_to_exitcode(status) if pid else None
        elif (told := os.fork()) == 0:
            _become(asked["call"], asked["said"])
            return
        print(json.dumps(told), flush=True)


def _become(call: dict[str, Any], said: str) -> None:
    """Call `bench` in this process, and leave it to raise `SystemExit`."""
    os.setsid()
    for stream, path in ((0, os.devnull), (1, os.devnull), (2, said)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), stream)
    os.chdir(call["cwd"])
    os.environ.clear()
    os.environ.update(call["env"])
    sys.argv = ["bench", *call["arguments"]]
    from ial_bench.cli.start import main

    main()


def _import() -> None:
    """All of the harness and of the methods that come with it, and what an encoder's functions import."""
    import ial_bench
    import ial_methods

    for package in (ial_bench, ial_methods):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    for name in ("open_clip", "pyproj", "scipy.stats"):
        importlib.import_module(name)
    gc.freeze()  # what is imported is not looked through, and thereby copied, in each process


if __name__ == "__main__":
    _import()
    _serve()
