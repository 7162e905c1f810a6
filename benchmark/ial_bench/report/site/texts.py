"""Texts of somebody else's, made fit to be shown: printable, of bounded length, in names of files."""

from __future__ import annotations

import re

from ial_bench.json_files import digest

LONGEST = 20_000  # characters: a long traceback
SHORT = 160  # a title, a label
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")


def printable(text: str, longest: int = LONGEST) -> str:
    """`text` without control characters and characters that reorder what is written, cut where it is too long.

    Line ends and tabs stay. Single surrogates, which no file can hold, go too.
    """
    cut = text[:longest]
    if not cut.isprintable():
        cut = "".join(c if c.isprintable() or c in "\n\t\u3000\u00a0" else "\ufffd" for c in cut)
    return cut + "…" if len(text) > longest else cut


def short(text: str, longest: int = SHORT) -> str:
    """`text` on one line, cut where it is too long."""
    return printable(" ".join(text[: 4 * longest].split()), longest)


def file_name(text: str) -> str:
    """A name for a file or folder and for a URL: `text` itself where it is plain, else a number made of it."""
    plain = _PLAIN.fullmatch(text) and not text.endswith(".")
    return text if plain else f"x{digest(text.encode(errors='surrogatepass').hex())[:16]}"
