"""The addresses of a dataset out of the many spellings in its records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from ial_bench.addresses import Address
from ial_bench.datasets.annotation import Records


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
