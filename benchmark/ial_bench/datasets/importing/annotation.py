"""The released annotation: its records and their addresses, as columns rather than objects, so that two million fit."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ial_bench.addresses import Address
from ial_bench.datasets.columns import numbered
from ial_bench.datasets.importing.report import Reject
from ial_bench.datasets.photos import SPLITS
from ial_bench.errors import AddressError, DataError
from ial_bench.files import safe_relative
from ial_bench.json_files import read_members
from ial_bench.progress import Reporter

KINDS = {"train": "train", "database": "database", "queries": "query"}
"""The split that the records of each kind of file are of."""
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Texts:
    """The distinct texts of a release, which records point into.

    Attributes:
        addresses: parsed canonical addresses; several may be spellings of one.
        verbose: verbose addresses, the empty one among them.
    """

    addresses: list[Address] = field(default_factory=list)
    verbose: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Records:
    """Usable records, by column, [n] each.

    Attributes:
        texts: what `address` and `verbose` point into.
        path: the photo's path as the annotation has it, in plain form; text.
        caption: text.
        address: int32, row of `texts.addresses`.
        verbose: int32, row of `texts.verbose`.
        split: int8, place in `SPLITS`.
        dotted: bool, whether the key is the path behind ``./``.
        number: int32, running number in the files.
        odd_keys: by number, keys that are neither the path nor the path behind ``./``.
        sources: name of the file that the records of a split come from.
    """

    texts: Texts
    path: pa.ChunkedArray
    caption: pa.ChunkedArray
    address: npt.NDArray[np.int32]
    verbose: npt.NDArray[np.int32]
    split: npt.NDArray[np.int8]
    dotted: npt.NDArray[np.bool_]
    number: npt.NDArray[np.int32]
    odd_keys: dict[int, str]
    sources: dict[int, str]

    def __len__(self) -> int:
        return len(self.split)

    def where(self, mask: npt.NDArray[np.bool_]) -> Records:
        """The records where `mask` [n] is True."""
        if mask.all():
            return self
        return replace(
            self,
            path=self.path.filter(pa.array(mask)), caption=self.caption.filter(pa.array(mask)),
            address=self.address[mask], verbose=self.verbose[mask], split=self.split[mask], dotted=self.dotted[mask],
            number=self.number[mask],
        )  # fmt: skip

    def rejected(self, i: int, reason: str) -> Reject:
        """Record `i` with the reason why it cannot be used."""
        path = self.path[i].as_py()
        key = f"./{path}" if self.dotted[i] else self.odd_keys.get(int(self.number[i]), path)
        return self.sources[int(self.split[i])], key, reason


def find_annotations(folder: Path) -> dict[str, Path]:
    """The annotation files in `folder`, by kind: train, database, queries.

    Raises:
        DataError: no train or queries file, or several of one kind.
    """
    if not folder.is_dir():
        raise DataError(f"no such folder of annotations: {folder}", "give --annotations DIR")
    found: dict[str, Path] = {}
    for kind in KINDS:
        matches = sorted(folder.glob(f"*_{kind}.json"))
        if len(matches) > 1:
            names = ", ".join(m.name for m in matches)
            raise DataError(f"several *_{kind}.json in {folder}: {names}", "keep one dataset's files in the folder")
        if matches:
            found[kind] = matches[0]
    for kind in ("train", "queries"):
        if kind not in found:
            raise DataError(f"no *_{kind}.json in {folder}", "point --annotations at the released JSON files")
    return found


def read_records(files: dict[str, Path], rejects: list[Reject], reporter: Reporter) -> tuple[Records, dict[str, int]]:
    """The usable records of all files, and how many records each kind of file has.

    A database photo that is in train as well, at the same address, is a train photo.

    Args:
        files: annotation files by kind.
        rejects: records that cannot be used are added.
        reporter: shows progress.

    Raises:
        DataError: a file is no JSON object, or has a key twice.
    """
    columns = _Columns()
    counts: dict[str, int] = {}
    for kind, file in files.items():
        counts[kind] = columns.read(kind, file, rejects, reporter)
    records = columns.records()
    return records.where(one_a_photo(records, records.path, rejects)), counts


class _Columns:
    """Records on their way into columns: Python objects for a chunk of them, Arrow for the rest."""

    def __init__(self) -> None:
        self._rows_of: dict[str, int] = {}  # of a canonical text
        self._verbose_rows: dict[str, int] = {}
        self._addresses: list[Address] = []
        self._paths: list[str] = []
        self._captions: list[str] = []
        self._path_chunks: list[pa.Array] = []
        self._caption_chunks: list[pa.Array] = []
        self._address, self._verbose = array("i"), array("i")
        self._split, self._dotted = array("b"), array("b")
        self._odd_keys: dict[int, str] = {}
        self._sources: dict[int, str] = {}

    def read(self, kind: str, file: Path, rejects: list[Reject], reporter: Reporter) -> int:
        """Take in a file; gives the number of its records."""
        split = SPLITS.index(KINDS[kind])
        self._sources[split] = file.name
        hashes = array("q")
        with reporter.track(_size(file), f"read {file.name}", "bytes") as advance:
            for key, value in read_members(file, advance):
                hashes.append(hash(key))
                if reason := self._add(split, key, value):
                    rejects.append((file.name, key, reason))
        _refuse_double_keys(file, np.asarray(hashes))
        return len(hashes)

    def _add(self, split: int, key: str, value: Any) -> str | None:
        """Take in a record, or say what is wrong with it."""
        if not (isinstance(value, list) and len(value) == 3 and all(isinstance(v, str) for v in value)):
            return "not [caption, verbose address, canonical address]"
        caption, verbose, canonical = value
        try:
            "".join((key, *value)).encode()
            path = safe_relative(key)
            row = self._rows_of.get(canonical)
            if row is None:
                self._addresses.append(Address.parse(canonical))
                row = self._rows_of[canonical] = len(self._addresses) - 1
        except (AddressError, DataError) as error:
            return error.problem
        except UnicodeEncodeError:
            return "half a character (a lone surrogate) in its texts"
        dotted = key[:2] == "./" and key[2:] == path
        if not dotted and key != path:
            self._odd_keys[len(self._split)] = key
        self._address.append(row)
        self._verbose.append(self._verbose_rows.setdefault(verbose.strip(), len(self._verbose_rows)))
        self._split.append(split)
        self._dotted.append(dotted)
        self._paths.append(path)
        self._captions.append(caption.strip())
        if len(self._paths) == _CHUNK:
            self._close_chunk()
        return None

    def _close_chunk(self) -> None:
        self._path_chunks.append(pa.array(self._paths, pa.string()))
        self._caption_chunks.append(pa.array(self._captions, pa.string()))
        self._paths, self._captions = [], []

    def records(self) -> Records:
        self._close_chunk()
        return Records(
            Texts(self._addresses, list(self._verbose_rows)),
            pa.chunked_array(self._path_chunks), pa.chunked_array(self._caption_chunks),
            np.asarray(self._address), np.asarray(self._verbose), np.asarray(self._split),
            np.asarray(self._dotted).astype(np.bool_), np.arange(len(self._split), dtype=np.int32),
            self._odd_keys, self._sources,
        )  # fmt: skip


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error


def _refuse_double_keys(file: Path, hashes: npt.NDArray[np.int64]) -> None:
    """JSON leaves open which value counts where a key stands twice. Equal keys have equal hashes."""
    ordered = np.sort(hashes)
    suspects = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    if not suspects:
        return
    counts = Counter(key for key, _ in read_members(file) if hash(key) in suspects)
    if twice := next((key for key, count in counts.items() if count > 1), None):
        raise DataError(
            f"{file} is not valid JSON (the key {twice!r} stands twice in an object)",
            "get the file again, or keep one of the two",
        )


def one_a_photo(records: Records, photos: pa.ChunkedArray, rejects: list[Reject]) -> npt.NDArray[np.bool_]:
    """[n]: one record a photo, its first. A later one is listed, unless it is a database record that agrees.

    Args:
        records: n records.
        photos: text [n], the same for records of one photo.
        rejects: added to.
    """
    codes, _ = numbered(photos)
    _, first = np.unique(codes, return_index=True)
    again = np.flatnonzero(first[codes] != np.arange(len(codes)))
    keys = [a.key for a in records.texts.addresses]
    for i in again.tolist():
        earlier = first[codes[i]]
        same = keys[records.address[earlier]] == keys[records.address[i]]
        if clash := _clash(SPLITS[records.split[earlier]], SPLITS[records.split[i]], same):
            rejects.append(records.rejected(i, clash))
    keep = np.ones(len(records), dtype=np.bool_)
    keep[again] = False
    return keep


def _clash(earlier: str, split: str, same_address: bool) -> str | None:
    """What is wrong with a second record of a photo; None where train and database agree on it."""
    if earlier == split:
        return f"photo is twice in {split}"
    if split != "database":
        return f"photo is in {earlier} as well"
    return None if same_address else f"photo is in {earlier} as well, with another address"


def number_addresses(records: Records, notes: list[str]) -> tuple[list[Address], npt.NDArray[np.int32]]:
    """Distinct addresses sorted by text, and each record's row among them. Spellings of one key are merged.

    The spelling of most records is kept; their order does not matter. Merging is mentioned in `notes`.
    """
    parsed = records.texts.addresses
    times = np.bincount(records.address, minlength=len(parsed)).tolist()
    spellings: dict[Any, Counter[str]] = {}
    for address, count in zip(parsed, times, strict=True):
        if count:
            spellings.setdefault(address.key, Counter())[address.text] += count
    if merged := sum(len(texts) - 1 for texts in spellings.values()):
        notes.append(f"{merged:,} other spellings of an address (case, blanks, order of cross streets) were merged")
    addresses = [Address.parse(text) for text in sorted(_most_frequent(texts.items()) for texts in spellings.values())]
    row_of = {address.key: row for row, address in enumerate(addresses)}
    rows = np.array([row_of.get(address.key, -1) for address in parsed], dtype=np.int32)
    return addresses, rows[records.address]


def verbose_forms(records: Records, rows: npt.NDArray[np.int32], addresses: list[Address]) -> list[str]:
    """The form that most records of an address give, in any order; its own where none gives one.

    Args:
        records: n records.
        rows: [n], row of each among `addresses`.
        addresses: all of them.
    """
    given: dict[int, list[tuple[str, int]]] = {}
    n = len(records.texts.verbose)
    pairs, counts = np.unique(rows.astype(np.int64) * n + records.verbose, return_counts=True)
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        if text := records.texts.verbose[pair % n]:
            given.setdefault(pair // n, []).append((text, count))
    return [_most_frequent(given[row]) if row in given else address.verbose for row, address in enumerate(addresses)]


def _most_frequent(texts: Iterable[tuple[str, int]]) -> str:
    """Of texts with counts the most frequent; of several, the first in the alphabet."""
    return min(texts, key=lambda text: (-text[1], text[0]))[0]
