"""Stored JSON: whole or absent, without NaN or keys that stand twice, and with a sum where it matters."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from ial_bench.errors import DataError
from ial_bench.files import MOST_BYTES, read_file, write_text

_SEAL = "sha256"
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def write_json(target: Path, value: Any) -> None:
    """Write `value` as JSON that a person can read. NaN and infinity are refused: they are not JSON."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, most: int = MOST_BYTES, *, strict: bool = False) -> Any:
    """The JSON value in `path`; `most` and `strict` are as of `read_file` and `parse_json`.

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
        DataError: as of `read_json`, or it is not what was written.
    """
    value = read_json(path)
    seal = value.pop(_SEAL, None) if isinstance(value, dict) else None
    if seal is None or digest(value) != seal:
        raise DataError(f"{path} is damaged: its contents do not have the SHA-256 that was written with them")
    return dict(value)


def parse_json(data: bytes, name: str, *, strict: bool = False) -> Any:
    """The JSON value in `data`, which errors call `name`; if `strict`, NaN and infinity are refused: they are not JSON.

    Raises:
        DataError: as of `read_json`.
    """
    with suppress(ValueError):  # the slower reader says what is wrong
        return _read_fast(data, strict=strict)
    try:
        return json.loads(data, object_pairs_hook=_unique, parse_constant=_no_number if strict else None)
    except (ValueError, RecursionError) as error:  # among them JSONDecodeError and UnicodeDecodeError
        raise DataError(f"{name} is not valid JSON ({error})", "the file may be cut off: get it again") from error


def _read_fast(data: bytes, *, strict: bool) -> Any:
    """What `parse_json` reads, in a third of its time, of JSON without escapes.

    This reader keeps the last of two equal keys. Without escapes, quotation marks stand around keys and texts and
    nowhere else: written again, a value that has lost a key has fewer of them.

    Raises:
        ValueError: no JSON, with escapes, or with a key twice.
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
    """The object of `pairs`; JSON leaves open which value counts where a key stands twice."""
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
