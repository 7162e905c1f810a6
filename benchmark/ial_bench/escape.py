"""Text made harmless: whatever a record holds is shown as it is, in every format, and names files safely."""

from __future__ import annotations

import html
import re

from ial_bench.json_files import digest

LONGEST = 400
"""Characters of a text that tables for people show; CSV and JSON have all of it."""
_LONGEST_TEXT = 20_000  # characters: a long traceback
_LONGEST_LABEL = 160
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
    # Bare, these would be read as options of the command before them, such as the end of a row, or be joined.
    **{c: f"{{{c}}}" for c in "[]*`"},
}
_MARKDOWN = re.compile(r"([\\`*_\[\]{}<>|~&$#!^]|^[-+=])")


def one_line(text: str) -> str:
    """`text` on one line, without control characters."""
    kept = text if text.isprintable() else "".join(c for c in text if c.isprintable() or c.isspace())
    return " ".join(kept.split())


def short_line(text: str) -> str:
    """`text` on one line, cut where it is very long."""
    line = one_line(text)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def escape_markdown(text: str) -> str:
    """`text` so that Markdown shows it as it is, on one line."""
    return _MARKDOWN.sub(r"\\\1", short_line(text))


def escape_latex(text: str) -> str:
    """`text` so that LaTeX prints it as it is."""
    line = "".join(_LATEX.get(c, c) for c in short_line(text))
    return re.sub("-(?=-)", "-{}", line)  # "--" would become one dash


def escape_html(text: str) -> str:
    """`text` so that HTML shows it as it is, in an element or an attribute."""
    return html.escape(short_line(text), quote=True)


def escape_csv(text: str) -> str:
    """`text`, on one line, so that no spreadsheet takes it for a formula."""
    line = one_line(text)
    return f"'{line}" if line[:1] in {"=", "+", "-", "@"} else line


def printable(text: str, longest: int = _LONGEST_TEXT) -> str:
    """`text` without control characters and characters that reorder what is written, cut where it is too long.

    Line ends and tabs stay. Single surrogates, which no file can hold, go too.
    """
    cut = text[:longest]
    if not cut.isprintable():
        cut = "".join(c if c.isprintable() or c in "\n\t\u3000\u00a0" else "\ufffd" for c in cut)
    return cut + "…" if len(text) > longest else cut


def short(text: str, longest: int = _LONGEST_LABEL) -> str:
    """`text` on one line, cut where it is too long."""
    return printable(" ".join(text[: 4 * longest].split()), longest)


def file_name(text: str) -> str:
    """A name for a file or folder and for a URL: `text` itself where it is plain, else a number made of it."""
    plain = _PLAIN.fullmatch(text) and not text.endswith(".")
    return text if plain else f"x{digest(text.encode(errors='surrogatepass').hex())[:16]}"
