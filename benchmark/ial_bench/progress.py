"""Progress: how the user sees that long work goes on, and the pieces in which it is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol


class Reporter(Protocol):
    """Shows the user how work goes on."""

    def log(self, text: str) -> None:
        """Print a line."""
        ...

    def track(self, total: int, what: str, unit: str = "") -> AbstractContextManager[Advance]:
        """Show progress through `total` steps; the block gets a function to call with the steps just done."""
        ...


class Advance(Protocol):
    """Called with the number of steps just done."""

    def __call__(self, steps: int = 1) -> None:
        """Count the steps."""
        ...


@dataclass
class NoReport:
    """A reporter that says nothing, for tests and for embedding."""

    lines: list[str] = field(default_factory=list)

    def log(self, text: str) -> None:
        """Keep the line."""
        self.lines.append(text)

    def track(self, total: int, what: str, unit: str = "") -> AbstractContextManager[Advance]:  # noqa: ARG002
        """Show nothing."""

        def advance(steps: int = 1) -> None:
            """Count nothing."""

        return nullcontext(advance)


def chunks(n: int, size: int) -> Iterator[slice]:
    """Slices that cover 0..n in pieces of `size`."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
