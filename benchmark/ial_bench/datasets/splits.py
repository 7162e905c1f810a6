"""Cutting a validation split from train, by place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ial_bench.seeds import generator


def cut_val(
    places: Sequence[str], addresses: npt.NDArray[np.integer], fraction: float, seed: int
) -> npt.NDArray[np.bool_]:
    """Choose whole places for validation until they hold `fraction` of the photos.

    Every address keeps at least one place for training, so the candidate set does not change. The choice
    depends on the set of places and the seed alone, not on the order of the photos.

    Args:
        places: [n] place of each photo.
        addresses: [n] address of each photo.
        fraction: share of the photos, 0 <= fraction < 1.
        seed: which cut.

    Returns:
        [n], True for photos of the validation split.
    """
    photos_of: dict[str, int] = defaultdict(int)
    addresses_of: dict[str, set[int]] = defaultdict(set)
    for place, address in zip(places, addresses.tolist(), strict=True):
        photos_of[place] += 1
        addresses_of[place].add(address)
    places_left: dict[int, int] = defaultdict(int)
    for held in addresses_of.values():
        for address in held:
            places_left[address] += 1

    wanted = round(fraction * len(places))
    taken: set[str] = set()
    n_taken = 0
    for place in generator("val split", seed).permutation(np.array(sorted(photos_of), dtype=object)):
        if n_taken >= wanted:
            break
        held = addresses_of[place]
        if all(places_left[a] > 1 for a in held):
            taken.add(place)
            n_taken += photos_of[place]
            for address in held:
                places_left[address] -= 1
    return np.fromiter((p in taken for p in places), dtype=np.bool_, count=len(places))
