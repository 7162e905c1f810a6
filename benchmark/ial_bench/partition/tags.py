"""Tags of ways and properties of features: what they say, however they were stored, and which lines are streets.

Tables that went through pandas, ArcGIS or a database hold lists as texts (``['Oak Street', 'Elm Street']``), whole
numbers with a decimal point, and words where they have nothing (``nan``, ``None``, ``<Null>``).
"""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from ial_bench.escape import one_line

Tags = Mapping[str, Any]
"""Properties of a feature, or tags of a way."""

_NOTHING = frozenset({
    "nan", "none", "null", "<null>", "(null)", "<none>", "<na>", "nat", "n/a", "#n/a", "undefined",
})  # fmt: skip
_DEEPEST = 4  # lists in lists
_TRUTHS = frozenset({"true", "false"})
_PAIRED = {"[": "]", "{": "}", "(": ")"}
_ITEM = re.compile(
    r"""\s* (?: '((?:[^'\\]|\\.)*)' | "((?:[^"\\]|\\.)*)" | ([^\s,'"\[\]{}()][^,\[\]{}()]*) ) \s* (?:,|(?=['"])|$)""",
    re.VERBOSE,
)
_BEGUN = ("['", '["')
_COUNTED = re.compile(r"\(\d+:")  # GDAL's "(2:Oak Street,Elm Street)"
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))")
_WHOLE = re.compile(r"([+-]?\d+)\.0+")

STREETS = frozenset({
    "motorway", "trunk", "primary", "secondary", "tertiary",
    "motorway_link", "trunk_link", "primary_link", "secondary_link", "tertiary_link",
    "unclassified", "residential", "living_street", "pedestrian", "service", "road", "busway", "bus_guideway",
})  # fmt: skip
"""All others are left out: ways for feet and cycles alone, what is planned or gone, and what is beside a street."""

ROUNDABOUTS = frozenset({"roundabout", "circular", "mini_roundabout"})

_NAMED = frozenset({"service"})  # driveways and car parks; a named one is a lane
_SQUARES = frozenset({"pedestrian"})  # a closed one is drawn round a square
_YES = frozenset({"yes", "true"})
_SHOWN_TEXT = 40
_SKIPPED_LEVELS = frozenset({"", "0", "no", "false"})


class ObjectValueError(ValueError):
    """An object in place of a text; its argument is the names of its entries."""

    def __init__(self, entries: list[str]) -> None:
        super().__init__(entries)
        self.entries = entries


def texts_of(value: Any) -> list[str]:
    """The texts that a value holds, in its order; none where it holds nothing.

    Lists, and texts that are lists, give those of their items. Numbers are written without an empty fraction, truths as
    ``true`` and ``false``.

    Raises:
        ObjectValueError: it is, or holds, an object.
    """
    return list(_texts(value))


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    if isinstance(value, str):
        stored = _stored(text := value.strip())
        if stored is not None:
            yield from _texts(stored, depth + 1)
        elif text and text.casefold() not in _NOTHING and text != "NA":
            yield text
    elif isinstance(value, list | tuple):
        for item in value if depth < _DEEPEST else ():
            yield from _texts(item, depth + 1)
    elif isinstance(value, Mapping) and value:
        raise ObjectValueError(sorted(map(str, value)))
    elif isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        yield _figure(value)


def _figure(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).lower()


def _stored(text: str) -> list[Any] | dict[Any, Any] | None:
    """The list or object that a text is; None where it is a text. A field may be too narrow for all of a list."""
    if text.startswith(_BEGUN) and not text.endswith("]"):
        return _items(text + "]", cut=True)
    if len(text) < 2 or _PAIRED.get(text[0]) != text[-1]:
        return None
    for read in (json.loads, _items, _literal):
        try:
            found = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list | dict):
            return found
    return None


def _items(text: str, *, cut: bool = False) -> list[str] | None:
    """The items of a list as Python, numpy and databases write it, the whole ones of a list that is `cut` off.

    None where brackets are only brackets.
    """
    counted = _COUNTED.match(text)
    inner = text[counted.end() if counted else 1 : -1].rstrip()
    place, quoted = 0, counted is not None
    found: list[str] = []
    while place < len(inner):
        item = _ITEM.match(inner, place)
        if item is None:
            return found if cut and found else None
        single, double, bare = item.groups()
        quoted |= bare is None
        found.append(bare.strip() if bare is not None else _ESCAPE.sub(_escaped, single or double or ""))
        place = item.end()
    plain = all(i.casefold() in _NOTHING or re.fullmatch(r"[+-]?\d+(\.\d*)?", i) for i in found)
    return found if quoted or (text[0] != "(" and (plain or len(found) > 1)) else None


def _escaped(match: re.Match[str]) -> str:
    four, two, plain = match.groups()
    return plain if plain is not None else chr(int(four or two, 16))


def _literal(text: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes that are none
        return ast.literal_eval(text)


def text_of(value: Any) -> str:
    """The first text that a value holds, or nothing; raises as `texts_of` does."""
    return next(_texts(value), "")


def id_of(value: Any) -> str:
    """The identity that a value is, ``7.0`` being ``7``; nothing for several, or a truth; raises as `texts_of` does."""
    found = texts_of(value)
    if len(found) != 1 or found[0].casefold() in _TRUTHS:
        return ""
    whole = _WHOLE.fullmatch(found[0])
    return whole[1] if whole else found[0]


def list_of(value: Any) -> list[Any] | None:
    """The list that a value is or is the text of; None where it is none."""
    found = _stored(value.strip()) if isinstance(value, str) else value
    return found if isinstance(found, list) else None


def name_of(tags: Tags, key: str) -> str:
    """The name at a key; without one at ``name:en``, that at ``name``. Truths are no names.

    Raises:
        ObjectValueError: an object is there.
    """
    for one in name_keys(key):
        for text in texts_of(value_at(tags, one)):
            if text.casefold() not in _TRUTHS:
                return text
    return ""


def name_keys(key: str) -> tuple[str, ...]:
    """The keys that may hold a name, in order: ``name:en``, then ``name``."""
    return tuple(dict.fromkeys((key, key.partition(":")[0])))


def value_at(tags: Tags, key: str) -> Any:
    """The value at a key; ``names.primary`` is also an entry of an object, or of one in a text. None: there is none."""
    return _found(tags, key)[1]


def has_key(tags: Tags, key: str) -> bool:
    """Whether there is such a key, as `value_at` finds it."""
    return _found(tags, key)[0]


def _found(tags: Tags, key: str) -> tuple[bool, Any]:
    if key in tags:
        return True, tags[key]
    for dot in (m.start() for m in re.finditer(r"\.", key)):
        inner = _object(tags.get(key[:dot]))
        if inner is not None and (found := _found(inner, key[dot + 1 :]))[0]:
            return found
    return False, None


def keys_of(tags: Tags) -> Iterator[str]:
    """The keys of properties, and those in their objects."""
    for key, value in tags.items():
        yield key
        yield from (f"{key}.{entry}" for entry in _object(value) or ())


def _object(value: Any) -> Tags | None:
    found = _stored(value.strip()) if isinstance(value, str) else value
    return found if isinstance(found, Mapping) else None


def why_no_street(tags: Tags, name: str, *, closed: bool) -> str | None:
    """Why a line is no street by its tags; None: it is one, or they do not say.

    Of several kinds, such as those of lines that were joined, one that is a street is enough.

    Args:
        tags: or properties; the kind is ``highway``, or in Overture's layout ``class`` of ``subtype`` road.
        name: how it is called.
        closed: whether it ends where it starts.

    Raises:
        ObjectValueError: one of them is an object.
    """
    key, kinds = _kinds(tags)
    streets = [k for k in kinds if k in STREETS]
    if kinds and (not streets or (not name and _NAMED.issuperset(streets))):
        return f"{key}={one_line(kinds[0])[:_SHOWN_TEXT]}"
    area = set(_words(tags, "area"))
    around = closed and bool(streets) and _SQUARES.issuperset(streets) and not texts_of(tags.get("junction"))
    return "an area" if area & _YES or (around and "no" not in area) else None


def is_roundabout(tags: Tags) -> bool:
    """Whether a line is part of one; raises as `why_no_street` does."""
    return not ROUNDABOUTS.isdisjoint(_words(tags, "junction"))


def _kinds(tags: Tags) -> tuple[str, list[str]]:
    """The key of the kind, and the kinds."""
    if kinds := _words(tags, "highway"):
        return "highway", kinds
    subtype = _words(tags, "subtype")
    if subtype and subtype[0] in {"rail", "water"}:
        return "subtype", subtype
    return "class", ["road" if k == "unknown" else k for k in _words(tags, "class")] if subtype == ["road"] else []


def _words(tags: Tags, key: str) -> list[str]:
    return [word.strip() for text in texts_of(tags.get(key)) for word in text.casefold().split(";") if word.strip()]


def level_of(tags: Tags) -> str:
    """What keeps lines apart that cross; San Francisco's ``layer`` of words is none."""
    parts = []
    for key in ("layer", "bridge", "tunnel"):
        text = text_of(tags.get(key)).casefold()
        if text not in _SKIPPED_LEVELS and (key != "layer" or text.lstrip("-+").isdigit()):
            parts.append(f"{key}={text}")
    return " ".join(parts)
