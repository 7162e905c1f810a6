"""What the user sees while work goes on: bars on a terminal, plain lines elsewhere. All on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ial_bench.cli.terminal import clean, console, escaped
from ial_bench.progress import Advance

_LINE_SECONDS = 10.0


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
    """`cell` on one line, without characters that would steer the terminal: it may be somebody else's file name."""
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(cell.split()))
