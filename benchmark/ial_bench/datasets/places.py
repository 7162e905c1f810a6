"""Places: which photos share one, by their paths, and a validation split of whole places."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ial_bench.datasets.columns import mapped, numbered, texts
from ial_bench.errors import ConfigError
from ial_bench.geo.points import Points, haversine_m
from ial_bench.seeds import generator

SAME_PLACE_M = 1.0
"""Photos of one place share a camera position, up to rounding."""

_GLANCE = 100  # paths, enough to exclude most rules


@dataclass(frozen=True)
class PlaceRule:
    """How to read the place of a photo from its path.

    Attributes:
        name: short name.
        meaning: the rule in words.
        pattern: a regular expression with a group called ``place``, searched in the path.
    """

    name: str
    meaning: str
    pattern: re.Pattern[str]

    def place(self, path: str) -> str | None:
        """The place of the photo at `path`, None where the rule does not apply."""
        match = self.pattern.search(path)
        return match["place"] if match else None


RULES = (
    PlaceRule(
        "sf-xl",
        "the panorama id, 7th of the @-separated fields of the file name",
        re.compile(r"(?:^|/)@(?:[^@/]*@){6}(?P<place>[^@/]+)@[^/]*$"),
    ),
    PlaceRule(
        "pitts",
        "the file number, before _pitch…_yaw…",
        re.compile(r"(?P<place>[^/]+)_pitch\d+_yaw\d+\.\w+$"),
    ),
    PlaceRule("stem-view", "the file name before its last _number", re.compile(r"(?P<place>[^/]+)_\d+\.\w+$")),
    PlaceRule(
        "path-view",  # the same number in two folders is two places
        "the path before its last _number or _pitch…_yaw…",
        re.compile(r"(?P<place>.+?)(?:_pitch\d+_yaw|_)\d+\.\w+$"),
    ),
    PlaceRule("file", "every photo is a place of its own", re.compile(r"(?P<place>.+)$")),
)


def named_rule(text: str) -> PlaceRule:
    """The rule called `text`, or the one that `text` spells as a regular expression.

    Raises:
        ConfigError: neither a name nor an expression with a group called ``place``.
    """
    for rule in RULES:
        if rule.name == text:
            return rule
    names = ", ".join(r.name for r in RULES)
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ConfigError(
            f"place rule {text!r} is not a regular expression: {error}", f"or name one of {names}"
        ) from error
    if "place" not in pattern.groupindex:
        raise ConfigError(
            f"place rule {text!r} has no group called 'place'",
            f"write (?P<place>...), or name one of {names}",
        )
    return PlaceRule("pattern", f"the group 'place' of {text}", pattern)


def detect_rule(paths: Sequence[str] | pa.ChunkedArray, positions: Points) -> PlaceRule:
    """The first of `RULES` that applies to every path and puts photos together only where positions agree.

    Args:
        paths: photo paths.
        positions: [n, 2] degrees.
    """
    column = texts(paths)
    for rule in RULES:
        if not all(rule.place(path) for path in column.slice(0, _GLANCE).to_pylist()):
            continue
        places = mapped(column, rule.place)
        if not places.null_count and _agree(places, positions):
            return rule
    return RULES[-1]


def _agree(places: pa.ChunkedArray, positions: Points) -> bool:
    codes, _ = numbered(places)
    _, first = np.unique(codes, return_index=True)
    return bool((haversine_m(positions, positions[first][codes]) <= SAME_PLACE_M).all())


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
