"""Names of streets and neighbourhoods, put together from plain English words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ial_bench.errors import ConfigError
from ial_bench.seeds import generator

_HEADS = (
    "Amber", "Apple", "Ash", "Barley", "Beech", "Birch", "Black", "Bramble", "Bridge", "Bright", "Brook", "Cherry",
    "Clay", "Clover", "Copper", "Crane", "Dove", "Elder", "Elm", "Fern", "Flint", "Fox", "Glass", "Gold", "Green",
    "Hazel", "Heath", "Holly", "Iron", "Ivy", "Lark", "Lime", "Long", "Maple", "Mill", "Moss", "Oak", "Orchard",
    "Otter", "Pear", "Pine", "Plum", "Raven", "Reed", "Rose", "Rye", "Salt", "Silver", "Stone", "Swan", "Thorn",
    "Vine", "Wheat", "White", "Willow", "Winter",
)  # fmt: skip
_TAILS = (
    "bank", "bourne", "croft", "dale", "field", "ford", "gate", "grove", "ham", "hurst", "land", "mead", "mere",
    "moor", "ridge", "side", "stead", "ton", "well", "wood",
)  # fmt: skip
_PARTS = (
    "Bottoms", "Common", "Corner", "Cross", "Docks", "End", "Fields", "Flats", "Gardens", "Green", "Heights", "Hill",
    "Market", "Park", "Quarter", "Quay", "Rise", "Town", "Vale", "Village",
)  # fmt: skip

N_LINE_NAMES = len(_HEADS) * (1 + len(_TAILS))
"""Names for streets and avenues together: a head alone, or with a tail."""
N_PLACE_NAMES = len(_HEADS) * len(_PARTS)


def line_names(seed: int, n_avenues: int, n_streets: int) -> tuple[list[str], list[str]]:
    """Names of the avenues, from west to east, and of the streets, from south to north; none twice.

    An avenue and a street of one city never share their word, so "Ash Street" and "Ash Avenue" are not confused.

    Raises:
        ConfigError: more than there are names.
    """
    words = [head + tail for tail in ("", *_TAILS) for head in _HEADS]
    if n_avenues + n_streets > len(words):
        raise ConfigError(
            f"{n_avenues + n_streets:,} streets and avenues, and only {len(words):,} names", "ask for fewer blocks"
        )
    order = generator("synth-city", seed, "street names").permutation(len(words))
    drawn = [words[i] for i in order]
    return (
        [f"{word} Avenue" for word in drawn[:n_avenues]],
        [f"{word} Street" for word in drawn[n_avenues : n_avenues + n_streets]],
    )


def neighbourhood_names(seed: int, n: int) -> list[str]:
    """Names of `n` neighbourhoods; none twice.

    Raises:
        ConfigError: more than there are names.
    """
    words = [f"{head} {part}" for part in _PARTS for head in _HEADS]
    if n > len(words):
        raise ConfigError(f"{n:,} neighbourhoods, and only {len(words):,} names", "ask for fewer blocks")
    order: Sequence[int] = generator("synth-city", seed, "neighbourhood names").permutation(len(words)).tolist()
    return [words[i] for i in order[:n]]


def spelled(number: int) -> str:
    """A small number in words."""
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    return words[number] if 0 <= number < len(words) else str(np.int64(number))
