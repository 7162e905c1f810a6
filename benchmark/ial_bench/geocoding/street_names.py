"""Street names as different sources write them: spelt out, compared by their parts, matched to those of candidates.

``SAINT GERMAIN AVE``, ``St. Germain Av`` and ``Saint Germain Avenue`` are one, and so are ``5th Ave`` and ``Fifth
Avenue``. Abbreviations stand in ``street_words.toml``, by language.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import SequenceMatcher
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ial_bench.addresses import Address, fold
from ial_bench.errors import ConfigError, unknown_name
from ial_bench.files import read_toml
from ial_bench.geocoding.reverse import PlaceName

TABLES = Path(__file__).with_name("street_words.toml")
Words = Mapping[str, str]

_BRACKETED = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_FORBIDDEN = re.compile(r"[,()\[\]]")  # they part the pieces of an address
_LEADING_ZEROS = re.compile(r"^0+(?=\d+[a-z]{2}$)", re.IGNORECASE)
_PIECES = re.compile(r"([-/])")
_APOSTROPHES, _NO_WORD = re.compile("['\u2019`]"), re.compile(r"[^\w]+")


@dataclass(frozen=True)
class StreetWords:
    """How a language shortens the words of its street names; lower case, see ``street_words.toml``."""

    last: Words = field(default_factory=dict)
    first: Words = field(default_factory=dict)
    before: Words = field(default_factory=dict)
    anywhere: Words = field(default_factory=dict)
    endings: Words = field(default_factory=dict)
    directions: Words = field(default_factory=dict)
    ordinals: Words = field(default_factory=dict)
    small: frozenset[str] = frozenset()
    unnamed: tuple[str, ...] = ()
    capital_after: tuple[str, ...] = ()
    lettered: tuple[str, ...] = ()


def street_words(language: str, more: Path | None = None) -> StreetWords:
    """The tables of a language.

    Args:
        language: such as ``en``.
        more: a TOML file of the same layout, whose entries are added to the tables that come with the package, or
            go before them; it may hold languages of its own.

    Raises:
        ConfigError: a table that does not exist, or entries that are not texts.
        DataError: `more` cannot be read.
        UnknownNameError: no tables for that language.
    """
    own = _packaged()
    added = read_toml(more) if more is not None else {}
    for name, table in added.items():
        _check(name, table, more)
    if language not in own and language not in added:
        raise unknown_name("language of street names", language, [*own, *added], "add its tables with --street-words")
    merged: dict[str, Any] = {}
    for table in (own.get(language, {}), added.get(language, {})):
        for key, value in table.items():
            merged[key] = (
                {**merged.get(key, {}), **value} if isinstance(value, dict) else [*merged.get(key, ()), *value]
            )
    return StreetWords(
        **{k: v for k, v in merged.items() if isinstance(v, dict)},
        small=frozenset(merged.get("small", ())),
        unnamed=tuple(merged.get("unnamed", ())),
        capital_after=tuple(merged.get("capital_after", ())),
        lettered=tuple(merged.get("lettered", ())),
    )


@cache
def _packaged() -> dict[str, Any]:
    return read_toml(TABLES)


@cache
def _english() -> StreetWords:
    return street_words("en")


def _check(language: str, table: Any, source: Path | None) -> None:
    lists = ("small", "capital_after", "unnamed", "lettered")
    known = [f.name for f in fields(StreetWords)]
    for key, value in table.items() if isinstance(table, dict) else ():
        texts = value if isinstance(value, list) else [*value, *value.values()] if isinstance(value, dict) else [None]
        if key not in known or isinstance(value, list) != (key in lists) or not all(isinstance(t, str) for t in texts):
            raise ConfigError(
                f"{source}: [{language}] {key} is no table of words", f"tables are {', '.join(known)}, as in {TABLES}"
            )
    if not isinstance(table, dict):
        raise ConfigError(f"{source}: {language} is no table", f"write it as {TABLES} does")


class NameNormalizer:
    """Spells the names of streets out.

    Abbreviations are expanded by position: the kind of street at the end or before a direction, saints and the like
    before another word, directions at either end where more than a kind of street is left ("Avenue N" stays). Of
    several names in one text, parted by semicolons, the first counts. Names that are all capitals or all small are
    set with capitals; in others capitals stay as they are. Commas and brackets, which part an address, go. Names that
    say there is none ("UNNAMED 095") are empty.

    Args:
        words: the language's tables.
    """

    def __init__(self, words: StreetWords | None = None) -> None:
        self._words = words or _english()
        self._kinds = frozenset(self._words.last.values()) | frozenset(self._words.first.values())
        self._directions = frozenset(self._words.directions) | frozenset(self._words.directions.values())
        self._lettered = frozenset(self._words.lettered)
        self.display = lru_cache(maxsize=None)(self._display)

    def key(self, name: str) -> str:
        """What makes two names one street's: the spelt-out name without case, accents, apostrophes and full stops."""
        plain = unicodedata.normalize("NFKD", fold(self.display(name)))
        kept = "".join(c for c in plain if not unicodedata.combining(c) and c not in "'\u2019`.")
        return " ".join(kept.replace("-", " ").split())

    def _display(self, name: str) -> str:
        text = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in unicodedata.normalize("NFC", name))
        text = _FORBIDDEN.sub(" ", _BRACKETED.sub(" ", text.split(";")[0]))
        words = text.split()
        numberless = re.sub(r"\s+\d+$", "", " ".join(words)).casefold()
        if not words or numberless in self._words.unnamed:
            return ""
        bare = [self._bare(word) for word in words]
        if len(words) > 3 and len(bare[-1]) == len(bare[-2]) == 1 and bare[-2] + bare[-1] in self._words.directions:
            words[-2:], bare[-2:] = [words[-2] + words[-1]], [bare[-2] + bare[-1]]  # "S ST N W"
        letters = [c for c in text if c.isalpha()]
        plain = bool(letters) and (all(not c.islower() for c in letters) or all(not c.isupper() for c in letters))
        spelt = [self._spelt(words, bare, i) for i in range(len(words))]
        return " ".join(self._cased(word, i, plain) for i, word in enumerate(spelt))

    def _bare(self, word: str) -> str:
        """A word without case and its full stop; ``N.W.`` without both."""
        small = word.casefold().rstrip(".")
        plain = small.replace(".", "")
        return plain if plain in self._words.directions else small

    def _spelt(self, words: list[str], bare: list[str], i: int) -> str:
        """Word i, spelt out; a word of the tables is returned as it was where no table has it at this position."""
        tables, n, word = self._words, len(words), bare[i]
        ending = n - 1
        if n > 2 and bare[-1] in self._directions:
            ending = n - 2  # the kind of street stands before the direction
        expanded = tables.anywhere.get(word)
        if word in tables.directions and self._is_direction(bare, i):
            expanded = tables.directions[word]
        elif word in tables.last and (self._before_letter(bare, i) or 0 < i == ending):
            expanded = tables.last[word]
        elif i == 0 and n > 1 and word in tables.first:
            expanded = tables.first[word]
        elif i < ending and word in tables.before:
            expanded = tables.before[word]
        if expanded is None:
            expanded = self._with_ending(word)
        if expanded is None:
            return _LEADING_ZEROS.sub("", words[i])
        return expanded if words[i][:1].islower() and i else expanded[:1].upper() + expanded[1:]

    def _is_direction(self, bare: list[str], i: int) -> bool:
        """Whether word i, a direction by itself, is one here: at an end, with a name beside it."""
        rest = [w for k, w in enumerate(bare) if k != i]
        if i not in {0, len(bare) - 1} or len(rest) < 2 or i == self._letter(bare):
            return False
        kinds = [w for w in rest if w in self._words.last or w in self._kinds]
        return len(rest) > len(kinds)

    def _letter(self, bare: list[str]) -> int | None:
        """The word at an end that looks like a direction and is the name: 0 of "N Street NW", the last of "W Avenue E".

        None: the name is another word.
        """
        last = len(bare) - 1
        before = [self._words.last.get(w, w) for w in bare[:last]]
        if (
            len(bare[last]) == 1
            and {" ".join(before), " ".join(before[bare[0] in self._directions :])} & self._lettered
        ):
            return last
        named = [w for w in bare if w not in self._words.last and w not in self._kinds and w not in self._directions]
        between = bare[1] in self._directions or bare[-2] in self._directions  # "S E St": that one is the name
        if named or (between and last > 1):
            return None
        if bare[0] not in self._directions:
            return last
        both = bare[last] in self._directions and len(bare[last]) == 1
        return last if both and self._is_between(bare[0]) else 0

    def _before_letter(self, bare: list[str], i: int) -> bool:
        """Whether word i, a kind, begins a name that a letter ends: "Ave E"."""
        return i == 0 and len(bare) == 2 and len(bare[1]) == 1 and self._words.last[bare[0]] in self._lettered

    def _is_between(self, word: str) -> bool:
        """Whether a direction lies between two others, such as northwest; no letter stands for it."""
        return any(len(short) > 1 and word in {short, long} for short, long in self._words.directions.items())

    def _with_ending(self, word: str) -> str | None:
        for short, long in self._words.endings.items():
            if len(word) > len(short) + 2 and word.endswith(short):
                return word.removesuffix(short) + long
        return None

    def _cased(self, word: str, i: int, plain: bool) -> str:
        if not plain:
            return word
        small = word.lower()
        if i and small in self._words.small:
            return small
        return "".join(part if part in "-/" else self._capital(part) for part in _PIECES.split(small))

    def _capital(self, word: str) -> str:
        for start in self._words.capital_after:
            if word.startswith(start) and len(word) > len(start) + 1:
                return self._capital(start) + self._capital(word.removeprefix(start))
        return word[:1].upper() + word[1:]


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
        kinds, compass = _kinds_and_directions()
        # A name of nothing but such words, "North Avenue" or "The Parade", keeps its first as the core.
        kind = spelt[-1] if len(spelt) > 1 and spelt[-1] in kinds else ""
        rest = spelt[:-1] if kind else spelt
        directions = frozenset(w for w in rest if w in compass)
        core = [w for w in rest if w not in compass]
        if not kind and directions and core and core[-1] in kinds and len(core) > 1:  # "Craig Street South"
            kind = core.pop()
        if not core:
            core, directions = rest, frozenset()
        return cls(" ".join(core), kind, directions)


def _spelt(word: str, place: int, n: int) -> str:
    tables = _english()
    if place == 0 and n > 1 and word in tables.first:
        return tables.first[word]
    return tables.ordinals.get(word) or tables.directions.get(word) or (tables.last.get(word, word) if place else word)


@cache
def _kinds_and_directions() -> tuple[frozenset[str], frozenset[str]]:
    return frozenset(_english().last.values()), frozenset(_english().directions.values())


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
