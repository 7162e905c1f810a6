"""Ending on ctrl-c or on a batch system's signal, with a line that says how to go on.

The first signal unwinds the work, so that half-written files are removed. A second one, or an unwinding that takes too
long, ends the process at once. No worker process stays behind.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

_PATIENCE_S = 10
"""The longest that unwinding may take, in seconds."""
_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
_came: list[int] = []


def watch() -> None:
    """Handle the signals from now on. One that is ignored, as in a shell's background, stays ignored."""
    for number in _WORDS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _first)


def hurry() -> None:
    """From now on, end the process on the first signal: there is nothing left to unwind."""
    signal.alarm(0)
    for number in _WORDS:
        if signal.getsignal(number) == _first:
            signal.signal(number, _at_once)


def came() -> bool:
    """Whether a signal has arrived."""
    return bool(_came)


def end() -> NoReturn:
    """Say that the command was cut short, end all workers, and exit with 128 plus the number of the signal."""
    number = _came[0] if _came else int(signal.SIGINT)
    for other in (*_WORDS, signal.SIGALRM):
        signal.signal(other, signal.SIG_IGN)
    _end_workers()
    message = f"error: {_WORDS[signal.Signals(number)]}\n  fix: the same command resumes where it stopped\n"
    for stream, text in ((sys.stdout, ""), (sys.stderr, message)):
        try:
            stream.write(text)
            stream.flush()
        except (OSError, ValueError):  # its reader is gone
            continue
    os._exit(128 + number)  # a normal exit would wait for threads


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
