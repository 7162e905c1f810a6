"""The command line as its user meets it; `tests/cli/conftest.py` has the fixture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


Bench = Callable[..., Said]
