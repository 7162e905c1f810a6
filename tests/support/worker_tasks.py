"""What worker processes are given to do in tests: of a module that they can import, as no file of tests is."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ial_bench.images import RGB

LARGE = 40_000_000  # bytes that no socket holds at once: who sends them waits for the reader


def doubled(number: int) -> int:
    return 2 * number


def filled(value: int) -> tuple[int, Any]:
    """The process that made it, and more than fits into a socket."""
    return os.getpid(), np.full((3, LARGE // 3), value, np.uint8)


def ended(how: Any) -> Any:
    """`how` to end: a signal, an exit status, or an error to raise."""
    if isinstance(how, signal.Signals):
        os.kill(os.getpid(), how)
    if isinstance(how, int):
        os._exit(how)
    if isinstance(how, BaseException):
        raise how
    return how


def unsendable(_: int) -> None:
    class UnsendableError(Exception):
        """Of a class that is found in no module."""

    raise UnsendableError("not for you")


class Unreadable:
    """Can be pickled, and not be read again."""

    def __call__(self, _: int) -> int:
        return 0

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


@dataclass(frozen=True)
class Marked:
    """A photo's mean colour, and its row."""

    def __call__(self, photo: RGB, row: int) -> torch.Tensor:
        return torch.tensor([*photo.mean(axis=(0, 1)), row], dtype=torch.float64)


@dataclass(frozen=True)
class Mapped:
    """The process that makes it, and whether it has mapped shared memory."""

    def __call__(self, photo: RGB, row: int) -> torch.Tensor:
        large = torch.zeros(3, 500, 500, dtype=torch.float64)
        large[0, 0, :2] = torch.tensor([float(os.getpid()), float(shares_memory())])
        return large


@dataclass(frozen=True)
class Killed:
    """Made, but for one row, whose maker is killed."""

    fatal: int

    def __call__(self, photo: RGB, row: int) -> torch.Tensor:
        if row == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.tensor([os.getpid()])


def shares_memory() -> bool:
    """Whether files of shared memory are mapped; a semaphore of some library is none to speak of."""
    mapped = Path("/proc/self/maps").read_text().splitlines()
    return any("memfd:" in line or ("/dev/shm/" in line and "/dev/shm/sem." not in line) for line in mapped)  # noqa: S108


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def group_is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # what macOS says of a group of zombies
        return True
    return False
