"""The gate before the terminal: no text of somebody else's steers it.

Names of files, methods and datasets, titles and errors may come from anywhere, and a terminal takes some characters for
commands. All that the command line prints goes through one gate, which shows such characters as a replacement character
instead; what draws on the terminal itself, bars and tables, is handed the stream behind the gate, and texts that were
cleaned.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from rich.console import Console

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, but for tab and line feed
    "\u2028\u2029\u202a-\u202e\u2066-\u2069"  # line separators, and what turns the direction of a text
    "\ud800-\udfff]"  # half characters, which no terminal can be sent
)


def clean(text: str) -> str:
    """`text` with a replacement character in the place of each that would steer a terminal."""
    return _STEERING.sub("\ufffd", text)


def escaped(text: str) -> str:
    """JSON with such characters, which all stand in its strings, written as JSON writes them by number."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class Gate:
    """A text stream that cleans what is written to it, and is the stream behind it in all else."""

    def __init__(self, stream: TextIO) -> None:
        self.behind = stream

    def write(self, text: str) -> int:
        """Write the text cleaned; the characters that were asked for."""
        self.behind.write(clean(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)


def close_gates() -> None:
    """Put gates before standard output and error, where there are none yet."""
    if not isinstance(sys.stdout, Gate):
        sys.stdout = cast("TextIO", Gate(sys.stdout))
    if not isinstance(sys.stderr, Gate):
        sys.stderr = cast("TextIO", Gate(sys.stderr))


def console(*, error: bool = False) -> Console:
    """What draws on standard output, or error, itself. It is to be given cleaned texts."""
    from rich.console import Console

    stream: Any = sys.stderr if error else sys.stdout
    return Console(file=stream.behind if isinstance(stream, Gate) else stream)
