"""Street names in one spelling: ``SAINT GERMAIN AVE``, ``St. Germain Av`` and ``Saint Germain Avenue`` are one."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from ial_bench.addresses import fold
from ial_bench.geocoding.street_words import StreetWords, street_words

_BRACKETED = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_FORBIDDEN = re.compile(r"[,()\[\]]")  # they part the pieces of an address
_LEADING_ZEROS = re.compile(r"^0+(?=\d+[a-z]{2}$)", re.IGNORECASE)
_PIECES = re.compile(r"([-/])")


class StreetNamer:
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
        self._words = words or street_words("en")
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
