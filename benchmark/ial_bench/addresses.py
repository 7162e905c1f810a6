"""Addresses in the paper's form: ``main street, neighbourhood (cross street[, cross street])``.

Example: ``Forbes Avenue, Oakland (Craig Street, Bellefield Avenue)`` is the piece of Forbes Avenue in
Oakland between its crossings with Craig Street and Bellefield Avenue.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property

from ial_bench.errors import AddressError

_FORM = re.compile(r"^(?P<street>[^,]+),(?P<neighbourhood>.+?)(?:\((?P<cross>[^()]*)\))?\s*$", re.DOTALL)
_NO_NEIGHBOURHOOD = re.compile(r"[^,()]*[^,() ][^,()]*(?:,\s*)?(?:\([^()]*\))?")
_EXPECTED = "write it as 'Main Street, Neighbourhood (Cross Street, Cross Street)'"
MAX_LENGTH = 500  # characters; the longest real street names are under 100


def fold(text: str) -> str:
    """`text` as it is compared: Unicode NFKC, case folded, runs of white space made one blank."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@dataclass(frozen=True)
class Address:
    """One sub-street: a piece of a main street between crossings.

    Attributes:
        street: the main street's name.
        neighbourhood: the part of the city.
        cross_streets: the streets at its ends, usually two; one at a dead end; none on a street that
            meets no other.
    """

    street: str
    neighbourhood: str
    cross_streets: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read the canonical form.

        Raises:
            AddressError: `text` has no neighbourhood, unbalanced brackets, empty parts or control characters.
        """
        clean = " ".join(text.split())
        if len(clean) > MAX_LENGTH:
            raise AddressError(f"address of {len(clean)} characters: {clean[:60]!r}…", _EXPECTED)
        if any(unicodedata.category(c) in {"Cc", "Cs"} for c in clean):
            raise AddressError(f"address with control characters: {clean!r}", _EXPECTED)
        if _NO_NEIGHBOURHOOD.fullmatch(clean):
            raise AddressError(f"address without a neighbourhood: {clean!r}", _EXPECTED)
        match = _FORM.match(clean)
        if match is None:
            raise AddressError(f"not an address: {clean!r}", _EXPECTED)
        street, neighbourhood = match["street"].strip(), match["neighbourhood"].strip()
        cross = () if match["cross"] is None else tuple(part.strip() for part in match["cross"].split(","))
        if not street or not neighbourhood or not all(cross):
            raise AddressError(f"address with an empty part: {clean!r}", _EXPECTED)
        if any(bracket in part for part in (street, neighbourhood, *cross) for bracket in "()"):
            raise AddressError(f"address with unbalanced brackets: {clean!r}", _EXPECTED)
        return cls(street, neighbourhood, cross)

    @property
    def text(self) -> str:
        """The canonical form."""
        cross = f" ({', '.join(self.cross_streets)})" if self.cross_streets else ""
        return f"{self.street}, {self.neighbourhood}{cross}"

    @property
    def verbose(self) -> str:
        """The spoken form that the released annotation carries beside the canonical one."""
        head = f"located in {self.neighbourhood}, specifically on a section of {self.street}"
        if not self.cross_streets:
            return head
        *first, last = self.cross_streets
        return f"{head} that lies between {', '.join(first)} and {last}" if first else f"{head} that lies near {last}"

    @cached_property
    def key(self) -> tuple[str, str, tuple[str, ...]]:
        """What makes two addresses the same sub-street.

        Cross streets are compared without order: "between A and B" is "between B and A".
        """
        return (*self.street_key, tuple(sorted(fold(c) for c in self.cross_streets)))

    @cached_property
    def street_key(self) -> tuple[str, str]:
        """What makes two addresses the same street: main street and neighbourhood (SA-k)."""
        return self.street_name_key, self.neighbourhood_key

    @cached_property
    def street_name_key(self) -> str:
        """What makes two main streets have the same name, in whatever neighbourhoods (street-SA-k)."""
        return fold(self.street)

    @cached_property
    def neighbourhood_key(self) -> str:
        """What makes two addresses of the same neighbourhood (neighbourhood-k)."""
        return fold(self.neighbourhood)

    def __str__(self) -> str:
        return self.text
