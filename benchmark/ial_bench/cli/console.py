"""What the user sees: progress on stderr, results on stdout, and the gate that both go through.

Names of files, methods and datasets, titles and errors may come from anywhere, and a terminal takes some characters for
commands. All that the command line prints goes through one gate, which shows such characters as a replacement character
instead. Bars and tables draw on the stream behind the gate, from texts that were cleaned.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from rich.console import Console

    from ial_bench.progress import Advance

_LINE_SECONDS = 10.0
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, but for tab and line feed
    "\u2028\u2029\u202a-\u202e\u2066-\u2069"  # line separators, and what turns the direction of a text
    "\ud800-\udfff]"  # half characters, which no terminal can be sent
)


def clean(text: str) -> str:
    """`text` with a replacement character in place of each that would steer a terminal."""
    return _STEERING.sub("\ufffd", text)


class Gate:
    """A text stream that cleans what is written to it; in all else it is the stream behind it."""

    def __init__(self, stream: TextIO) -> None:
        self.behind = stream

    def write(self, text: str) -> int:
        """Write the text cleaned; returns its length before cleaning."""
        self.behind.write(clean(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each line cleaned."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)


def close_gates() -> None:
    """Put a gate before standard output and one before standard error, where there is none yet."""
    if not isinstance(sys.stdout, Gate):
        sys.stdout = cast("TextIO", Gate(sys.stdout))
    if not isinstance(sys.stderr, Gate):
        sys.stderr = cast("TextIO", Gate(sys.stderr))


def console(*, error: bool = False) -> Console:
    """A console that draws on standard output, or error, itself. Give it cleaned texts only."""
    from rich.console import Console

    stream: Any = sys.stderr if error else sys.stdout
    return Console(file=stream.behind if isinstance(stream, Gate) else stream)


class ConsoleReporter:
    """Progress on stderr; stdout is kept for results."""

    def log(self, text: str) -> None:
        """Print a line."""
        print(clean(text), file=sys.stderr, flush=True)

    @contextmanager
    def track(self, total: int, what: str, unit: str = "") -> Iterator[Advance]:
        """A bar with rate and time left on a terminal; else a line at the start, every ten seconds and at the end."""
        what = clean(what)
        tracked = _bar(total, what, unit) if sys.stderr.isatty() else _lines(total, what, unit)
        with tracked as advance:
            yield advance


@contextmanager
def _bar(total: int, what: str, unit: str) -> Iterator[Advance]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit),
        TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console(error=True)) as progress:
        task = progress.add_task(what, total=total, rate="")

        def advance(steps: int = 1) -> None:
            speed = progress.tasks[task].speed
            progress.update(task, advance=steps, rate=f"{speed:,.1f}/s" if speed else "")

        yield advance


@contextmanager
def _lines(total: int, what: str, unit: str) -> Iterator[Advance]:
    started = last = time.monotonic()
    done = 0

    def advance(steps: int = 1) -> None:
        nonlocal done, last
        done += steps
        now = time.monotonic()
        if now - last >= _LINE_SECONDS:
            last = now
            rate = done / (now - started)
            left = (total - done) / rate if rate else 0.0
            print(
                f"{what}: {done:,}/{total:,} {unit} ({rate:,.1f}/s, {left:,.0f} s left)",
                file=sys.stderr,
                flush=True,
            )

    yield advance
    seconds = time.monotonic() - started
    print(f"{what}: {done:,} {unit} in {seconds:,.1f} s", file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """JSON on stdout."""
    print(escaped(json.dumps(value, indent=2, ensure_ascii=False)))


def escaped(text: str) -> str:
    """JSON with such characters, all of them within its strings, escaped as JSON escapes them."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def print_rows(headers: list[str], rows: list[list[str]], title: str = "") -> None:
    """A table on stdout: drawn on a terminal, tab-separated elsewhere."""
    if not sys.stdout.isatty():
        for row in [headers, *rows]:
            print("\t".join(_plain(cell) for cell in row))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(*headers, title=title or None)
    for row in rows:
        table.add_row(*(Text(_plain(cell)) for cell in row))
    console().print(table)


def _plain(cell: str) -> str:
    """`cell` on one line, without characters that would steer the terminal."""
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(cell.split()))


def counted(counts: Mapping[str, int]) -> str:
    """Counts that are not 0, such as ``1,200 train, 300 query``."""
    return ", ".join(f"{n:,} {what}" for what, n in counts.items() if n)


def as_typed(name: str, folder: Path | None) -> str:
    """A dataset as the next command takes it: by name in the data home, else by its folder."""
    return name if folder is None else str(folder) if "/" in str(folder) else f"./{folder}"
