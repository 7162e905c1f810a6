"""Cutting a validation split from train, by place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ial_bench.datasets.columns import numbered, texts
from ial_bench.seeds import generator


def cut_val(
    places: Sequence[str] | pa.ChunkedArray,
    addresses: npt.NDArray[np.integer],
    fraction: float,
    seed: int,
    purpose: str = "val split",
) -> npt.NDArray[np.bool_]:
    """Choose whole places for validation until they hold `fraction` of the photos.

    Every address keeps at least one place for training, so the candidate set does not change. The choice
    depends on the set of places and the seed alone, not on the order of the photos.

    Args:
        places: [n] place of each photo.
        addresses: [n] address of each photo.
        fraction: share of the photos, 0 <= fraction < 1.
        seed: which cut.
        purpose: what it is for; cuts for other purposes do not depend on each other.

    Returns:
        [n], True for photos of the validation split.
    """
    column = texts(places)
    codes, names = numbered(column)
    _, numbers = np.unique(addresses, return_inverse=True)
    n_addresses = int(numbers.max(initial=-1)) + 1
    pairs = np.unique(codes * n_addresses + numbers)  # of a place and an address it has photos of
    addresses_of: dict[int, list[int]] = defaultdict(list)
    for pair in pairs.tolist():
        addresses_of[pair // n_addresses].append(pair % n_addresses)
    places_left = np.bincount(pairs % max(n_addresses, 1), minlength=n_addresses).tolist()
    photos_of = np.bincount(codes, minlength=len(names)).tolist()
    code_of = {name: code for code, name in enumerate(names.to_pylist())}

    wanted = round(fraction * len(column))
    taken = np.zeros(len(names), dtype=np.bool_)
    n_taken = 0
    for place in generator(purpose, seed).permutation(np.array(sorted(code_of), dtype=object)):
        if n_taken >= wanted:
            break
        code = code_of[place]
        if all(places_left[a] > 1 for a in addresses_of[code]):
            taken[code] = True
            n_taken += photos_of[code]
            for address in addresses_of[code]:
                places_left[address] -= 1
    return taken[codes]
