"""A large JSON object, member by member, in the memory of a few of them."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from io import BufferedReader
from json.decoder import JSONDecodeError
from pathlib import Path
from typing import Any

from ial_bench.errors import DataError
from ial_bench.files import check_regular

_BLOCK = 1 << 22  # bytes
_LONGEST = 1 << 24  # characters of a member; a longer one is taken for a fault in the file
_BLANKS = re.compile(r"[ \t\n\r]*")
_KINDS = {"[": "a list", '"': "a text", "n": "null", "t": "a truth value", "f": "a truth value"}
_raw_decode = json.JSONDecoder().raw_decode


def read_members(path: Path, advance: Callable[[int], object] = lambda _: None) -> Iterator[tuple[str, Any]]:
    """The members of the JSON object in `path`, in the file's order. A key that stands twice comes twice.

    Args:
        path: a file of one JSON object.
        advance: told how many bytes were just read.

    Raises:
        DataError: the file is missing, of another encoding, not JSON (cut off, say), or no object.
    """
    check_regular(path)
    try:
        with path.open("rb") as file:
            yield from _members(_Window(file, advance), path)
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _damaged(path, str(error)) from error


class _Window:
    """The part of a file's text that is being looked at.

    Attributes:
        text: the part; only ever longer, until `forget`.
        ended: whether it reaches the end of the file.
    """

    def __init__(self, file: BufferedReader, advance: Callable[[int], object]) -> None:
        self._file, self._advance = file, advance
        self._decoder = codecs.getincrementaldecoder(json.detect_encoding(file.peek(4)[:4]))("surrogatepass")
        self._before = 0
        self.text, self.ended = "", False
        self.more()

    def more(self) -> None:
        block = self._file.read(_BLOCK)
        self.ended = not block
        self.text += self._decoder.decode(block, final=self.ended)
        self._advance(len(block))

    def forget(self, at: int) -> None:
        """Drop the text before `at`."""
        self._before += at
        self.text = self.text[at:]

    def place(self, at: int) -> str:
        return f"character {self._before + at + 1:,}"


def _members(window: _Window, path: Path) -> Iterator[tuple[str, Any]]:
    at, first = _start(window, path), True
    while True:
        try:
            member, at = _member(window.text, at, first)
        except (JSONDecodeError, IndexError, RecursionError) as error:
            if not window.ended and len(window.text) - at < _LONGEST:  # it may end in the next block
                window.forget(at)
                window.more()
                at = 0
                continue
            raise _damaged(path, _reason(error, window, at)) from error
        if member is None:
            break
        first = False
        yield member
    while not window.ended and not window.text[at:].strip():
        window.forget(len(window.text))
        window.more()
        at = 0
    if window.text[at:].strip():
        raise _damaged(path, f"more text after the object, at {window.place(at)}")


def _start(window: _Window, path: Path) -> int:
    """Behind the object's opening brace."""
    while not window.text.strip() and not window.ended:
        window.more()
    at = _skip(window.text, 0)
    first = window.text[at : at + 1]
    if first == "{":
        return at + 1
    if first in _KINDS or first.isdigit() or first == "-":
        raise DataError(f"{path} holds {_KINDS.get(first, 'a number')}, not an object of records", "get the right file")
    raise _damaged(path, "no JSON object at its start")


def _member(text: str, at: int, first: bool) -> tuple[tuple[str, Any] | None, int]:
    """The member at `at` and where it ends, at a comma or a brace; None at the closing brace.

    Raises:
        JSONDecodeError: not JSON, as far as `text` goes.
        IndexError: `text` ends.
    """
    at = _skip(text, at)
    if text[at] == "}":
        return None, at + 1
    if not first:  # a comma: the member before ended at it
        at = _skip(text, at + 1)
    if text[at] != '"':
        raise JSONDecodeError("Expecting a key in double quotes", text, at)
    key, at = _raw_decode(text, at)
    at = _skip(text, at)
    if text[at] != ":":
        raise JSONDecodeError("Expecting ':'", text, at)
    value, at = _raw_decode(text, _skip(text, at + 1))
    end = _skip(text, at)
    if text[end] not in ",}":
        raise JSONDecodeError("Expecting ',' or '}'", text, end)
    return (key, value), end


def _skip(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    return match.end() if match else at


def _reason(error: Exception, window: _Window, at: int) -> str:
    if isinstance(error, JSONDecodeError):
        return f"{error.msg} at {window.place(error.pos)}"
    return (
        f"it ends at {window.place(at)}" if isinstance(error, IndexError) else f"nested too deep at {window.place(at)}"
    )


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(f"{path} is not valid JSON ({reason})", "the file may be cut off: get it again")
