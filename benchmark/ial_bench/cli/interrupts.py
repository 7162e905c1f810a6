"""The end by ctrl-c, or by the signal of a batch system: the line that tells how to go on, at any moment.

The first signal unwinds what is going on, so that half-written files are removed. A second one, or an unwinding that
takes too long, ends the process at once. No worker process stays behind.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

_PATIENCE_S = 10
"""Seconds that unwinding may take."""
_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
_came: list[int] = []


def watch() -> None:
    """Begin to watch for the signals. One that is ignored, as in a shell's background, stays so."""
    for number in _WORDS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _first)


def hurry() -> None:
    """From here on the first signal ends the process at once: there is nothing left to unwind."""
    signal.alarm(0)
    for number in _WORDS:
        if signal.getsignal(number) == _first:
            signal.signal(number, _at_once)


def came() -> bool:
    """Whether there was one."""
    return bool(_came)


def end() -> NoReturn:
    """Tell that it ended early and how to go on, end all workers, and leave with 128 and the number of the signal."""
    number = _came[0] if _came else int(signal.SIGINT)
    for other in (*_WORDS, signal.SIGALRM):
        signal.signal(other, signal.SIG_IGN)
    _end_workers()
    told = f"error: {_WORDS[signal.Signals(number)]}\n  fix: the same command resumes where it stopped\n"
    for stream, text in ((sys.stdout, ""), (sys.stderr, told)):
        try:
            stream.write(text)
            stream.flush()
        except (OSError, ValueError):  # its reader went away; there is nobody to tell
            continue
    os._exit(128 + number)  # what waits for its threads at the end would keep the user waiting


def _first(number: int, _: FrameType | None) -> NoReturn:
    _came.append(number)
    for other in _WORDS:
        signal.signal(other, _at_once)
    signal.signal(signal.SIGALRM, _at_once)
    signal.alarm(_PATIENCE_S)
    raise KeyboardInterrupt


def _at_once(_: int, __: FrameType | None) -> NoReturn:
    end()


def _end_workers() -> None:
    if "multiprocessing" in sys.modules:
        import multiprocessing

        for worker in multiprocessing.active_children():
            worker.kill()
