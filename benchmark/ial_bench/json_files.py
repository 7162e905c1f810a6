"""JSON files: complete or absent, without NaN or repeated keys, and with a checksum where it matters.

`read_members` reads a large object member by member, and holds only a few in memory.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from io import BufferedReader
from json.decoder import JSONDecodeError
from pathlib import Path
from typing import Any, NoReturn

from ial_bench.errors import DataError
from ial_bench.files import MOST_BYTES, check_regular, read_file, write_text

_BLOCK = 1 << 22  # bytes
_LONGEST = 1 << 24  # characters of a member; a longer one is taken for a fault in the file
_BLANKS = re.compile(r"[ \t\n\r]*")
_KINDS = {"[": "a list", '"': "a text", "n": "null", "t": "a truth value", "f": "a truth value"}
_raw_decode = json.JSONDecoder().raw_decode
_SEAL = "sha256"
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def write_json(target: Path, value: Any) -> None:
    """Write `value` as JSON that a person can read. NaN and infinity are refused: they are not JSON."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, most: int = MOST_BYTES, *, strict: bool = False) -> Any:
    """The JSON value in `path`; `most` is as in `read_file`, `strict` as in `parse_json`.

    Raises:
        DataError: the file is missing, too large, not UTF-8, not JSON (cut off, say) or has a key twice.
    """
    return parse_json(read_file(path, most), str(path), strict=strict)


def write_sealed(target: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object with the SHA-256 of its other values, for `read_sealed`."""
    write_json(target, {**value, _SEAL: digest(value)})


def read_sealed(path: Path) -> dict[str, Any]:
    """What `write_sealed` wrote.

    Raises:
        DataError: as `read_json`, or the contents are not what was written.
    """
    value = read_json(path)
    seal = value.pop(_SEAL, None) if isinstance(value, dict) else None
    if seal is None or digest(value) != seal:
        raise DataError(f"{path} is damaged: its contents do not have the SHA-256 that was written with them")
    return dict(value)


def parse_json(data: bytes, name: str, *, strict: bool = False) -> Any:
    """The JSON value in `data`, which errors call `name`; if `strict`, NaN and infinity are refused: they are not JSON.

    Raises:
        DataError: as `read_json`.
    """
    with suppress(ValueError):  # the slower reader says what is wrong
        return _read_fast(data, strict=strict)
    try:
        return json.loads(data, object_pairs_hook=_unique, parse_constant=_no_number if strict else None)
    except (ValueError, RecursionError) as error:  # among them JSONDecodeError and UnicodeDecodeError
        raise DataError(f"{name} is not valid JSON ({error})", "the file may be cut off: get it again") from error


def _read_fast(data: bytes, *, strict: bool) -> Any:
    """Read JSON without escapes as `parse_json` does, in a third of the time.

    This reader keeps the last of two equal keys. Without escapes, quotation marks only enclose keys and texts: written
    again, a value that lost a key has fewer of them.

    Raises:
        ValueError: not JSON, or with escapes or a repeated key.
    """
    from pydantic_core import from_json, to_json

    if b"\\" in data:
        raise ValueError("with escapes, a quotation mark may be part of a text")
    value = from_json(data, allow_inf_nan=not strict)
    if to_json(value).count(b'"') < data.count(b'"'):
        raise ValueError("a key stands twice")
    return value


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of `pairs`. A repeated key is refused: JSON does not say which of its values counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice!r} stands twice in an object")
    return found


def canonical_json(value: Any) -> bytes:
    """`value` as JSON with sorted keys and no blanks: equal values give equal bytes."""
    return _CANONICAL.encode(value).encode()


def digest(value: Any) -> str:
    """SHA-256, in hexadecimal, of `value`'s canonical JSON."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def read_members(path: Path, advance: Callable[[int], object] = lambda _: None) -> Iterator[tuple[str, Any]]:
    """The members of the JSON object in `path`, in the file's order. A repeated key is given each time.

    Args:
        path: a file of one JSON object.
        advance: called with the number of bytes just read.

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
    """The part of a file's text that is in memory.

    Attributes:
        text: that part, which grows until `forget`.
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
    """The index after the object's opening brace."""
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
