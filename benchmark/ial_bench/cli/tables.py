"""Tables from a folder of results: printed, written with the options that made them, held against a file."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ial_bench.cli.console import console
from ial_bench.cli.leaderboard import Asked
from ial_bench.engine.record import RunRecord, datasets_with_results, records
from ial_bench.errors import ConfigError, DataError, unknown_name
from ial_bench.files import read_file, write_text
from ial_bench.report.blocks import blocks, difference, enclosed, made_anew
from ial_bench.report.formats import FORMATS, format_for, text_of
from ial_bench.report.formats.shared import Style
from ial_bench.report.layout import Layout
from ial_bench.report.model import Table
from ial_bench.report.published import bibliography, published_rows
from ial_bench.report.quantities import check_words
from ial_bench.report.rows import possible
from ial_bench.report.stale import NO_CODE, Code
from ial_bench.report.table import lay_out


def show_tables(home: Path, asked: Asked, out: Path | None, bib: Path | None, code: Code = NO_CODE) -> bool:
    """Print the tables, or write them; whether all records could be read.

    Args:
        home: folder of results.
        asked: what to show.
        out: file to write to; None: print.
        bib: file for the cited papers; None: beside a LaTeX table with citations.
        code: that of methods as it is here.
    """
    _check_format(asked.fmt)
    layout = asked.as_layout()
    tables, whole = tables_of(home, layout, code)
    if not tables:
        return whole
    cited = bibliography({row.cite for table in tables for row in table.rows if row.cite})
    if out is None:
        print_tables(tables, layout, asked.fmt)
    else:
        fmt = asked.fmt or format_for(out)
        _write(out, enclosed(_text(tables, layout, fmt), fmt, _kept(asked, layout, home, out)))
        if bib is None and cited and fmt == "latex":
            bib = out.with_suffix(".bib")
    if bib is not None:
        _write(bib, cited)
    return whole


def tables_of(home: Path, layout: Layout, code: Code = NO_CODE) -> tuple[list[Table], bool]:
    """The tables of a layout, and whether all records could be read and none was contradicted by its answers.

    What could not be read is told on stderr.

    Raises:
        DataError: there are no results.
        UnknownNameError: a dataset, method, metric or setting that they do not have.
        ConfigError: a row for which there is nothing.
    """
    names = _datasets(home, layout)
    wanted = {row.method for row in layout.rows if row.method}
    if wanted:
        known = sorted({path.parent.name for name in names for path in (home / name).glob("*/*.json")})
        for method in sorted(wanted.difference(known)):
            raise unknown_name("method with runs", method, known, f"there are runs of {', '.join(known)}")
    only_published = bool(layout.rows) and not wanted
    good: list[RunRecord] = []
    whole = True
    with _uncollected():
        for name in names:
            for _, record in records(home, name):
                if isinstance(record, DataError):
                    whole = False
                    print(f"not read: {record}", file=sys.stderr)
                elif not only_published and (not wanted or record.method.name in wanted):
                    good.append(record)
    published = [row for name in names for row in published_rows(name)] if layout.published else []
    _check_rows(layout, possible(layout, good, published))
    check_words([*(layout.metrics or ()), *(layout.columns or ())], good)
    having = {r.dataset.name for r in good} | {p.dataset for p in published if only_published}
    shown = [name for name in names if name in having]
    tables = []
    for part in [shown] if layout.side_by_side and shown else [[name] for name in shown]:
        own = [r for r in good if r.dataset.name in part]
        cited = [p for p in published if p.dataset in part]
        table = lay_out(own, part, possible(layout, own, cited), cited, home, code)
        whole &= all(row.kind != "contradicted" for row in table.rows)
        tables.append(table)
    return tables, whole


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without looks for rings of objects, then or later: what is read is kept, and they go through it in vain."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if before:
            gc.enable()


def print_tables(tables: Sequence[Table], layout: Layout, fmt: str | None) -> None:
    """Tables on stdout: as `fmt` says, else drawn on a terminal and Markdown elsewhere."""
    if fmt is None and sys.stdout.isatty():
        from ial_bench.report.formats.terminal import drawn

        for table in tables:
            console().print(drawn(table, _style(layout)))
    elif tables:
        print(_text(tables, layout, fmt or "md"), end="")


def check_file(home: Path, asked: Asked, file: Path, update: bool, code: Code = NO_CODE) -> bool:
    """Make the tables in a file anew; whether all records could be read.

    Args:
        home: folder of results.
        asked: what a file without comments shows: CSV and JSON.
        file: to hold against the records.
        update: write what differs instead of failing.
        code: that of methods as it is here.

    Raises:
        DataError: it differs, it cannot be read, or it does not say how it was made.
    """
    try:
        text = read_file(file).decode()
    except ValueError as error:
        raise DataError(f"cannot read {file}: {error}") from error
    all_read = True

    def make(one: Asked) -> str:
        nonlocal all_read
        _check_format(one.fmt)
        layout = one.as_layout(file.parent)
        tables, whole = tables_of(home, layout, code)
        all_read &= whole
        if not tables:
            raise DataError(f"{file} has a table for which {home} has no finished runs", "`bench list runs` shows all")
        return _text(tables, layout, one.fmt or format_for(file))

    if blocks(text):
        new = made_anew(text, lambda words: make(Asked.read(list(words))))
    elif (asked.fmt or format_for(file)) in {"csv", "json"}:
        layout = None if asked.layout is None else asked.layout.resolve()
        new = make(replace(asked, layout=layout))
    else:
        raise DataError(
            f"{file} does not say how its table was made",
            f"`bench leaderboard ... --out {file}` writes that beside the table, docs/results.md shows how",
        )
    if new == text:
        print(f"{file} follows from the records in {home}", file=sys.stderr)
    elif update:
        _write(file, new)
    else:
        print(difference(text, new, str(file)), end="")
        raise DataError(
            f"{file} does not follow from the records in {home}",
            f"where the records are right: bench leaderboard --check {file} --update",
        )
    return all_read


def _datasets(home: Path, layout: Layout) -> list[str]:
    known = datasets_with_results(home)
    if not known:
        raise DataError(f"no results in {home}", "`bench run` makes some; --results names another folder")
    for name in layout.datasets:
        if name not in known:
            raise unknown_name("dataset with results", name, known, f"results in {home}: {', '.join(known)}")
    return list(layout.datasets) or known


def _check_rows(layout: Layout, there: Layout) -> None:
    """Raises where nothing is there for a row; a method that was skipped or failed is told below the table."""
    for row in layout.rows:
        named_alone = row.method and row.preset is None and row.backbone is None and not row.settings
        if row not in there.rows and not named_alone and (row.method or layout.published):
            raise ConfigError(f"nothing is there for the row {row.said}", "`bench list runs` shows what was run")


def _check_format(fmt: str | None) -> None:
    if fmt is not None and fmt not in FORMATS:
        raise unknown_name("format", fmt, FORMATS, f"one of {', '.join(FORMATS)}")


def _text(tables: Sequence[Table], layout: Layout, fmt: str) -> str:
    return text_of(tables, fmt, _style(layout))


def _style(layout: Layout) -> Style:
    return Style(intervals=layout.intervals, siunitx=layout.siunitx)


def _kept(asked: Asked, layout: Layout, home: Path, out: Path) -> list[str]:
    """The options that a file keeps: all datasets by name, the layout file as seen from the table."""
    names = None if asked.dataset is None and layout.datasets else ",".join(_datasets(home, layout))
    fmt = None if asked.fmt is None or FORMATS[asked.fmt] is FORMATS[format_for(out)] else asked.fmt
    layout_file = None
    if asked.layout is not None:
        layout_file = Path(os.path.relpath(asked.layout.resolve(), out.resolve().parent)).as_posix()
    return replace(asked, dataset=names, fmt=fmt).words(layout_file)


def _write(file: Path, text: str) -> None:
    write_text(file, text)
    print(f"wrote {file}", file=sys.stderr)
