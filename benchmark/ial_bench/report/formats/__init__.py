"""Tables as Markdown, LaTeX, CSV, JSON and HTML, and files with tables that say by which command they were made.

All text is escaped for its format. In Markdown and HTML a table stands between comments
``<!-- bench leaderboard OPTIONS -->`` and ``<!-- end of bench leaderboard -->``, in LaTeX between
``% bench leaderboard OPTIONS`` and ``% end of bench leaderboard``, so that it can be made again and compared. What
stands around them is the author's. CSV and JSON have no comments.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ial_bench.errors import ConfigError, DataError
from ial_bench.report.formats.latex import as_latex
from ial_bench.report.formats.markup import as_html, as_markdown
from ial_bench.report.formats.programs import as_csv, as_json
from ial_bench.report.table import PLAIN, Style, Table

Writer = Callable[[Sequence[Table], Style], str]

FORMATS: dict[str, Writer] = {
    "md": as_markdown, "markdown": as_markdown, "latex": as_latex, "csv": as_csv, "json": as_json, "html": as_html,
}  # fmt: skip
_SUFFIXES = {".md": "md", ".tex": "latex", ".csv": "csv", ".json": "json", ".html": "html", ".htm": "html"}


def format_for(file: Path | None) -> str:
    """The format that a file's name ends in; Markdown for other endings."""
    return "md" if file is None else _SUFFIXES.get(file.suffix.lower(), "md")


def text_of(tables: Sequence[Table], fmt: str, style: Style | None = None) -> str:
    """Tables one after another in one of `FORMATS`."""
    return FORMATS[fmt](tables, style or PLAIN)


COMMAND = "bench leaderboard"
_END = f"end of {COMMAND}"
_COMMENTS = {"md": ("<!-- ", " -->"), "markdown": ("<!-- ", " -->"), "html": ("<!-- ", " -->"), "latex": ("% ", "")}
_OPENS = re.compile(rf"(?:<!-- {COMMAND}(?P<web> .*)? -->|% {COMMAND}(?P<tex> .*)?)")
_CLOSES = {f"<!-- {_END} -->", f"% {_END}"}


@dataclass(frozen=True)
class Block:
    """A table in a file.

    Attributes:
        words: the options that it was made with.
        text: the table.
        first: number of its first line, from 0.
        last: number of the line after its last.
    """

    words: tuple[str, ...]
    text: str
    first: int
    last: int


def enclosed(text: str, fmt: str, words: Sequence[str]) -> str:
    """`text` between comments that say how it was made; unchanged in a format without comments.

    Raises:
        ConfigError: an option has a character that would end the comment.
    """
    if fmt not in _COMMENTS:
        return text
    opens, closes = _COMMENTS[fmt]
    # Within a comment of HTML the end of one may not stand, not even between quotation marks of the shell.
    command = " ".join([COMMAND, *map(shlex.quote, words)]).replace("-->", "--'\">\"'")
    if not command.isprintable():
        raise ConfigError(
            f"an option has a character that cannot be printed: {command!r}", "rename the file or dataset"
        )
    return f"{opens}{command}{closes}\n{text}{opens}{_END}{closes}\n"


def blocks(text: str) -> list[Block]:
    """The tables in a file that say how they were made.

    Raises:
        DataError: one has no end, or options that cannot be read.
    """
    lines = text.split("\n")
    found: list[Block] = []
    opened: tuple[int, tuple[str, ...]] | None = None
    for i, line in enumerate(lines):
        if match := _OPENS.fullmatch(line.rstrip()):
            if opened is not None:
                break
            try:
                opened = i + 1, tuple(shlex.split(match["web"] or match["tex"] or ""))
            except ValueError as error:
                raise DataError(
                    f"line {i + 1}: options that cannot be read: {error}", "write them as for a shell"
                ) from error
        elif line.rstrip() in _CLOSES and opened is not None:
            first, words = opened
            found.append(Block(words, "".join(f"{x}\n" for x in lines[first:i]), first, i))
            opened = None
    if opened is not None:
        raise DataError(f"line {opened[0]}: the table has no end", f"close it by a comment: {_END}")
    return found


def made_anew(text: str, make: Callable[[Sequence[str]], str]) -> str:
    """A file's text with all its tables remade from their options.

    Args:
        text: of the file.
        make: from options to a table.
    """
    lines = text.split("\n")
    for block in reversed(blocks(text)):
        lines[block.first : block.last] = make(block.words).split("\n")[:-1]
    return "\n".join(lines)


def difference(old: str, new: str, name: str) -> str:
    """The differences, as a unified diff; empty if there are none."""
    found = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), name, f"{name} made from the records", n=1
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in found)
