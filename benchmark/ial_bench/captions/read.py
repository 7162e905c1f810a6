"""Captions that people bring in files, or that a captioner left on its way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ial_bench.datasets.columns import read_csv
from ial_bench.datasets.importing.photo_files import plain_path
from ial_bench.errors import DataError
from ial_bench.files import check_regular

_TABLES = {".csv", ".tsv"}
SUFFIXES = frozenset({".jsonl", *_TABLES})
"""Of files of captions."""
_IDS, _CAPTIONS = ("photo_id", "id", "path", "filename"), ("caption", "text")


def read_caption_file(file: Path) -> dict[str, str]:
    """Captions by photo id, from a table with the columns photo_id and caption, or lines as of `read_captions`.

    Raises:
        DataError: missing, of another form, or with two captions of one photo.
    """
    if file.suffix.lower() not in _TABLES:
        return read_captions(file)
    table = read_csv(file, "--captioner")
    ids, captions = table.first_of(_IDS), table.first_of(_CAPTIONS)
    if ids is None or captions is None:
        raise DataError(f"{file} has the columns {', '.join(table.header)}", "name them photo_id and caption")
    found: dict[str, str] = {}
    for photo, text in zip(table.texts(ids).to_pylist(), table.texts(captions).to_pylist(), strict=True):
        key, caption = plain_path(photo), " ".join(text.split())
        if found.setdefault(key, caption) != caption:
            raise DataError(f"{file} has two captions of {key}", "keep one row a photo")
    return {photo: caption for photo, caption in found.items() if caption}


def read_captions(file: Path, *, whole: bool = True) -> dict[str, str]:
    """Captions by photo id: lines ``{"photo_id": ..., "caption": ...}``.

    Args:
        file: where.
        whole: whether a last line that is cut off is an error; a killed process leaves such a line.

    Raises:
        DataError: missing, or a line of another form.
    """
    found: dict[str, str] = {}
    check_regular(file)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}", "give a file of captions") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8", "save it as UTF-8") from error
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        told = _parsed(line)
        if told is None:
            if not whole and number == len(lines):
                break
            raise DataError(
                f"{file}, line {number}: not an object with photo_id and caption, both texts",
                'write lines such as {"photo_id": "0001.jpg", "caption": "a street view of ..."}',
            )
        found[told[0]] = " ".join(told[1].split())
    return found


def _parsed(line: str) -> tuple[str, str] | None:
    try:
        value: Any = json.loads(line)
        "".join((value["photo_id"], value["caption"])).encode()  # no half characters
        return value["photo_id"], value["caption"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
