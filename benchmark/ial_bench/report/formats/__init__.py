"""Tables as Markdown, LaTeX, CSV, JSON and HTML. All text is escaped for its format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ial_bench.report.formats.latex import as_latex
from ial_bench.report.formats.markdown import as_markdown
from ial_bench.report.formats.programs import as_csv, as_json
from ial_bench.report.formats.shared import Style
from ial_bench.report.formats.web import as_html
from ial_bench.report.table import Table

Writer = Callable[[Sequence[Table], Style], str]

FORMATS: dict[str, Writer] = {
    "md": as_markdown, "markdown": as_markdown, "latex": as_latex, "csv": as_csv, "json": as_json, "html": as_html,
}  # fmt: skip
_SUFFIXES = {".md": "md", ".tex": "latex", ".csv": "csv", ".json": "json", ".html": "html", ".htm": "html"}


def format_for(file: Path | None) -> str:
    """The format that a file's name asks for; Markdown where it asks for none."""
    return "md" if file is None else _SUFFIXES.get(file.suffix.lower(), "md")


def text_of(tables: Sequence[Table], fmt: str, style: Style | None = None) -> str:
    """Tables one after another in one of `FORMATS`."""
    return FORMATS[fmt](tables, style or Style())
