"""Captions of a dataset: read from a user's files, or made by a captioner.

Making them can be resumed, and nothing of the dataset changes until all captions are there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from ial_bench.captions.captioners import Captioner, CaptionLength
from ial_bench.datasets.columns import read_csv
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.importing.photo_files import plain_path
from ial_bench.datasets.photos import Photos
from ial_bench.datasets.table import DESCRIPTION, replace_column
from ial_bench.errors import DataError
from ial_bench.files import check_regular, check_target, make_folder, storage_errors, write_text
from ial_bench.folders import inside
from ial_bench.json_files import digest
from ial_bench.progress import Advance, chunks

FOLDER = "captions"
_DIGITS = 16  # of names of files in it
_TABLES = {".csv", ".tsv"}
_SUFFIXES = frozenset({".jsonl", *_TABLES})
_IDS, _CAPTIONS = ("photo_id", "id", "path", "filename"), ("caption", "text")


@dataclass(frozen=True)
class Captioned:
    """What was captioned.

    Attributes:
        written: captions put into the dataset.
        short: of them, those with fewer words than wanted.
        resumed: of them, those that an earlier, interrupted call made.
    """

    written: int
    short: int
    resumed: int = 0


def caption(
    dataset: Dataset, photos: Photos, captioner: Captioner, length: CaptionLength, batch_size: int, advance: Advance
) -> Captioned:
    """Caption photos, and put the captions into the dataset's table.

    Captions are kept in ``captions/`` of the dataset's folder as they are made; an interrupted call resumes from there.

    Args:
        dataset: where to write.
        photos: which of its photos.
        captioner: writes them.
        length: the wanted length; kept captions of another length do not count.
        batch_size: photos at once.
        advance: called with how many photos were just done.

    Raises:
        ImageError: a photo cannot be read.
        StorageError: the folder cannot be written to.
    """
    name = f"{digest([captioner.identity, length.least, length.most])[:_DIGITS]}.jsonl"
    kept = inside(dataset.folder, f"{FOLDER}/{name}")
    ids = photos.ids
    found = read_captions(kept, whole=False) if kept.is_file() else {}
    open_rows = [i for i, photo_id in enumerate(ids) if photo_id not in found]
    resumed = len(ids) - len(open_rows)
    advance(resumed)
    with _appending(kept) as file:
        for part in chunks(len(open_rows), batch_size):
            rows = open_rows[part]
            texts = captioner.captions([photos.image(i) for i in rows])
            for row, text in zip(rows, texts, strict=True):
                found[ids[row]] = text
                file.write(json.dumps({"photo_id": ids[row], "caption": text}, ensure_ascii=False) + "\n")
            file.flush()
            advance(len(rows))
    done = put_captions(dataset, {i: found[i] for i in ids}, captioner.identity, length)
    kept.unlink()
    return replace(done, resumed=resumed)


def put_captions(dataset: Dataset, captions: Mapping[str, str], source: str, length: CaptionLength) -> Captioned:
    """Write captions into the dataset's table, and their source into its description.

    Args:
        dataset: where to write; photos that are not in `captions` keep theirs.
        captions: by photo id.
        source: captioner or file.
        length: fewer words are counted as short.

    Raises:
        DataError: a photo id that the dataset does not have.
        StorageError: the folder cannot be written to.
    """
    ids = dataset.texts("photo_id").to_pylist()
    if strange := captions.keys() - set(ids):
        shown = ", ".join(sorted(strange)[:3])
        raise DataError(
            f"{len(strange):,} captions are of photos that {dataset.name} does not have: {shown}",
            "photo ids are those of the dataset: `bench data show` names it",
        )
    before = dataset.texts("caption").to_pylist()
    source_of = {"captions": {"from": source, "photos": len(captions)}}
    description = replace(dataset.description, made_by={**dataset.description.made_by, **source_of})
    # The table last: the same call resumes as long as photos lack captions there.
    write_text(dataset.folder / DESCRIPTION, description.to_toml())
    replace_column(dataset.folder, "caption", [captions.get(i, old) for i, old in zip(ids, before, strict=True)])
    return Captioned(len(captions), sum(len(text.split()) < length.least for text in captions.values()))


def drop_finished(dataset: Dataset) -> None:
    """Remove kept captions that are all in the table: a call was killed at its very end.

    Raises:
        StorageError: the folder cannot be written to.
    """
    there = dict(zip(dataset.texts("photo_id").to_pylist(), dataset.texts("caption").to_pylist(), strict=True))
    with storage_errors(dataset.folder):
        for file in inside(dataset.folder, FOLDER).glob(f"{'[0-9a-f]' * _DIGITS}.jsonl"):
            if read_captions(file, whole=False).items() <= there.items():
                file.unlink()


def is_file_spec(spec: str) -> bool:
    """Whether `spec` names a file of captions rather than a captioner."""
    return Path(spec).suffix.lower() in _SUFFIXES


def read_caption_file(file: Path) -> dict[str, str]:
    """Captions by photo id, from a table with the columns photo_id and caption, or lines as in `read_captions`.

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
        entry = _parsed(line)
        if entry is None:
            if not whole and number == len(lines):
                break
            raise DataError(
                f"{file}, line {number}: not an object with photo_id and caption, both texts",
                'write lines such as {"photo_id": "0001.jpg", "caption": "a street view of ..."}',
            )
        found[entry[0]] = " ".join(entry[1].split())
    return found


def _parsed(line: str) -> tuple[str, str] | None:
    try:
        value: Any = json.loads(line)
        "".join((value["photo_id"], value["caption"])).encode()  # no half characters
        return value["photo_id"], value["caption"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


@contextmanager
def _appending(file: Path) -> Iterator[TextIO]:
    """`file`, open at the end of its last whole line."""
    make_folder(file.parent)
    check_target(file)
    with storage_errors(file):
        if file.is_file():
            data = file.read_bytes()
            if not data.endswith(b"\n"):
                file.write_bytes(data[: data.rfind(b"\n") + 1])
        with file.open("a", encoding="utf-8", newline="\n") as opened:
            yield opened
