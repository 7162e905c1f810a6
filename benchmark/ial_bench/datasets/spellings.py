"""What is spelled in several ways and means one thing: the addresses of a dataset's records, and the names of files.

Names with accents are written with whole letters (Unicode's NFC) by most systems, and in letters and marks (NFD) by
some; annotation, positions, captions and the disk may each have either. A name is looked for as it is written first, so
that two files that differ in nothing else stay two.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ial_bench.addresses import Address

if TYPE_CHECKING:
    from ial_bench.datasets.importing.annotation import Records

Value = TypeVar("Value")


def number_addresses(records: Records, notes: list[str]) -> tuple[list[Address], npt.NDArray[np.int32]]:
    """Distinct addresses sorted by text, and each record's row among them. Spellings of one key are merged.

    The spelling of most records is kept, whatever their order. Merging is told in `notes`.
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
    """The form most of an address's records give, whatever their order; its own where none gives one.

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


def composed(name: str) -> str:
    """`name` in the one spelling that its others share."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def rows_of(names: pa.ChunkedArray, known: pa.Array) -> npt.NDArray[np.int64]:
    """[n]: the row of each of `names` in `known`, as it is written or in the one other spelling; -1 for none.

    Args:
        names: text [n].
        known: text, each once.
    """
    found = pc.fill_null(pc.index_in(names, value_set=known), -1)
    rows: npt.NDArray[np.int64] = found.to_numpy().astype(np.int64)
    odd = np.flatnonzero((rows < 0) & ~pc.string_is_ascii(names).to_numpy())
    if len(odd):
        spelled = np.flatnonzero(~pc.string_is_ascii(known).to_numpy(zero_copy_only=False))
        only = only_ones((composed(known[row].as_py()), row) for row in spelled.tolist())
        rows[odd] = [only.get(composed(name), -1) for name in names.take(pa.array(odd)).to_pylist()]
    return rows


def keyed_as(found: Mapping[str, Value], known: Iterable[str]) -> dict[str, Value]:
    """`found` under the keys of `known`, where it has one of them in another spelling alone."""
    there = set(known)
    strange = [key for key in found if key not in there and not key.isascii()]
    if not strange:
        return dict(found)
    only = only_ones((composed(key), key) for key in there if not key.isascii())
    other = {key: only[composed(key)] for key in strange if composed(key) in only}
    free = only_ones((name, key) for key, name in other.items() if name not in found)
    of_key = {key: name for name, key in free.items()}
    return {of_key.get(key, key): value for key, value in found.items()}


def only_ones(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """By composed name what it is the name of; not those of several: which is meant?"""
    found: dict[str, Any] = {}
    several = set()
    for name, value in pairs:
        if name in found:
            several.add(name)
        found[name] = value
    return {name: value for name, value in found.items() if name not in several}


class FileNames:
    """Names of files below a folder, as the disk spells them. Folders are listed once."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = os.fspath(root)
        self._listed: dict[str, dict[str, str]] = {}

    def spelled(self, path: str) -> str:
        """`path` as it is on the disk, where that has one file of the name in another spelling; else as it is."""
        if path.isascii() or os.path.lexists(f"{self._root}/{path}"):
            return path
        folder = ""
        for part in path.split("/"):
            below = f"{self._root}/{folder}{part}"
            folder += f"{part if os.path.lexists(below) else self._names(folder).get(composed(part), part)}/"
        return folder[:-1]

    def has(self, path: str) -> bool:
        """Whether there is a file at `path`, in whatever spelling."""
        return os.path.isfile(f"{self._root}/{self.spelled(path)}")  # noqa: PTH113 - Path.is_file raises at long names

    def _names(self, folder: str) -> dict[str, str]:
        if folder not in self._listed:
            try:
                names = os.listdir(f"{self._root}/{folder}")  # noqa: PTH208 - names alone, as the disk has them
            except OSError:
                names = []  # nothing is found there: what was looked for is reported as missing
            self._listed[folder] = only_ones((composed(name), name) for name in names)
        return self._listed[folder]
