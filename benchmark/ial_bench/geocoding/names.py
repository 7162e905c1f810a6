"""Street names as different sources write them: ``5th Ave``, ``Fifth Avenue``, ``St James's Pl.``."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ial_bench.addresses import Address, fold
from ial_bench.geocoding.street_words import street_words

_WORDS = street_words("en")
_TYPES, _DIRECTIONS, _FIRST, _ORDINALS = _WORDS.last, _WORDS.directions, _WORDS.first, _WORDS.ordinals
_TYPE_NAMES, _DIRECTION_NAMES = frozenset(_TYPES.values()), frozenset(_DIRECTIONS.values())
_APOSTROPHES, _NO_WORD = re.compile("['\u2019`]"), re.compile(r"[^\w]+")

# Where services put the name of a street, and those of the parts of a city, from the smallest to the largest.
_STREET_KEYS = ("road", "street", "route", "pedestrian", "footway", "residential", "path", "square", "streetname")
_AREA_KEYS = (
    "neighbourhood", "neighborhood", "quarter", "suburb", "locality", "sublocality", "city_district", "district",
    "borough", "hamlet", "village", "town", "city",
)  # fmt: skip


@dataclass(frozen=True)
class PlaceName:
    """What a geocoder calls a position.

    Attributes:
        streets: names of the street it is on, the likeliest first; none where it is on no named one.
        areas: names of parts of the city it lies in, the smallest first.
    """

    streets: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()


def parts_of(raw: Any, text: str = "") -> PlaceName:
    """The names in a service's answer.

    Read are the layouts of Nominatim (``address``), Photon (``properties``) and Google (``address_components``), and
    whatever else has keys of their names. Without any, the parts between the commas of `text` may be either.

    Args:
        raw: the answer, JSON.
        text: its address in one line.
    """
    found = _named(raw)
    streets = [found[key] for key in _STREET_KEYS if key in found]
    areas = [found[key] for key in _AREA_KEYS if key in found]
    if not found:
        # A line may begin with a house number.
        streets = areas = [clean for part in text.split(",") if (clean := re.sub(r"^\s*\d+\w?\s+", "", part).strip())]
    return PlaceName(tuple(dict.fromkeys(streets)), tuple(dict.fromkeys(areas)))


def _named(raw: Any) -> dict[str, str]:
    if not isinstance(raw, Mapping):
        return {}
    if isinstance(components := raw.get("address_components"), list):
        return {
            str(kind): str(one["long_name"])
            for one in reversed(components)  # the first of a kind counts
            if isinstance(one, Mapping) and one.get("long_name")
            for kind in one.get("types", ())
        }
    parts = next((raw[k] for k in ("address", "properties") if isinstance(raw.get(k), Mapping)), raw)
    return {
        k.casefold(): v for k, v in parts.items() if k.casefold() in {*_STREET_KEYS, *_AREA_KEYS} and isinstance(v, str)
    }


@dataclass(frozen=True)
class StreetName:
    """A street's name in its parts: ``South Craig St`` is ``craig``, ``street``, ``south``."""

    core: str
    kind: str
    directions: frozenset[str]

    @classmethod
    def of(cls, text: str) -> StreetName:
        """Read a name: accents, punctuation and case aside, abbreviations spelt out."""
        plain = "".join(c for c in unicodedata.normalize("NFKD", fold(text)) if not unicodedata.combining(c))
        words = [w for w in _NO_WORD.split(_APOSTROPHES.sub("", plain)) if w]
        spelt = [_spelt(word, place, len(words)) for place, word in enumerate(words)]
        # A name of nothing but such words, "North Avenue" or "The Parade", keeps its first as the core.
        kind = spelt[-1] if len(spelt) > 1 and spelt[-1] in _TYPE_NAMES else ""
        rest = spelt[:-1] if kind else spelt
        directions = frozenset(w for w in rest if w in _DIRECTION_NAMES)
        core = [w for w in rest if w not in _DIRECTION_NAMES]
        if not kind and directions and core and core[-1] in _TYPE_NAMES and len(core) > 1:  # "Craig Street South"
            kind = core.pop()
        if not core:
            core, directions = rest, frozenset()
        return cls(" ".join(core), kind, directions)


def _spelt(word: str, place: int, n: int) -> str:
    if place == 0 and n > 1 and word in _FIRST:
        return _FIRST[word]
    return _ORDINALS.get(word) or _DIRECTIONS.get(word) or (_TYPES.get(word, word) if place else word)


def likeness(a: StreetName, b: StreetName) -> float:
    """How alike two street names are, 0 to 1.

    Numbers must be equal, and so must kinds (Street, Avenue) and directions where both names have them; then it is
    the share of letters that the rest has in common (Ratcliff and Obershelp), and a little less for a kind or
    direction that one of them lacks. Only names equal in all parts have 1.
    """
    if (a.kind and b.kind and a.kind != b.kind) or (a.directions and b.directions and a.directions != b.directions):
        return 0.0
    if re.findall(r"\d+", a.core) != re.findall(r"\d+", b.core):
        return 0.0
    first, second = sorted((a.core, b.core))  # the matcher's answer depends on the order
    alike = 1.0 if first == second else SequenceMatcher(None, first, second, autojunk=False).ratio()
    return alike - 0.01 * (a.kind != b.kind) - 0.02 * (a.directions != b.directions)


class StreetMatcher:
    """Finds the candidates on a named street.

    Args:
        addresses: the candidates'.
        threshold: least likeness of a street's name, and of a neighbourhood's.
    """

    def __init__(self, addresses: Sequence[Address], threshold: float) -> None:
        self._threshold = threshold
        self._streets, self._on = _grouped([a.street for a in addresses])
        self._areas, self._in = _grouped([a.neighbourhood for a in addresses])
        self._alike = lru_cache(maxsize=4096)(self._best)  # a city has few streets, and services name them often

    def match(self, name: PlaceName | None) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Candidates whose street is the most like the named one, int64 [m], and which lie in a named area, [m].

        The first of the named streets that any candidate's is like counts.
        """
        listed: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        for street in () if name is None else name.streets:
            if best := self._alike(street, "street"):
                listed = np.flatnonzero(np.isin(self._on, best))
                break
        areas = [] if name is None or not len(listed) else [g for a in name.areas for g in self._alike(a, "area")]
        return listed, np.isin(self._in[listed], areas)

    def _best(self, text: str, what: str) -> tuple[int, ...]:
        """Numbers of the names that are most like `text`; none where none is like enough."""
        wanted = StreetName.of(text)
        scores = [likeness(wanted, other) for other in (self._streets if what == "street" else self._areas)]
        best = max(scores, default=0.0)
        return tuple(i for i, s in enumerate(scores) if s == best) if best >= self._threshold else ()


def _grouped(texts: Sequence[str]) -> tuple[list[StreetName], npt.NDArray[np.int64]]:
    """The different names among `texts`, and the number of each text's name."""
    names = [StreetName.of(t) for t in texts]
    numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return list(numbers), np.array([numbers[n] for n in names], dtype=np.int64)
