"""Abbreviations in street names, by language: the one home of the tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from ial_bench.errors import ConfigError, unknown_name
from ial_bench.files import read_toml

TABLES = Path(__file__).with_name("street_words.toml")
Words = Mapping[str, str]


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


@lru_cache(maxsize=1)
def _packaged() -> dict[str, Any]:
    return read_toml(TABLES)


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
