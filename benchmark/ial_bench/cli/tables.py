"""Tables from a folder of results, as `bench leaderboard` and `bench run` show them."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ial_bench.cli.console import console
from ial_bench.engine.record import RunRecord
from ial_bench.engine.records import datasets_with_results, records
from ial_bench.errors import ConfigError, DataError, unknown_name
from ial_bench.report.columns import check_words
from ial_bench.report.formats import FORMATS, text_of
from ial_bench.report.layout import Layout, possible
from ial_bench.report.leaderboard import lay_out
from ial_bench.report.published import published_rows
from ial_bench.report.stale import Code
from ial_bench.report.table import Style, Table


def tables_of(home: Path, layout: Layout, code: Code) -> tuple[list[Table], bool]:
    """The tables of a layout, and whether all records could be read and none was contradicted by its answers.

    What could not be read is named on stderr.

    Raises:
        DataError: there are no results.
        UnknownNameError: a dataset, method, metric or setting that they do not have.
        ConfigError: a row for which there is nothing.
    """
    names = datasets_of(home, layout)
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
    """No garbage collection here, and none ever of what is made here: records are kept, so it finds nothing."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if before:
            gc.enable()


def print_tables(tables: Sequence[Table], layout: Layout, fmt: str | None) -> None:
    """Print tables in a format; by default drawn on a terminal, and Markdown elsewhere."""
    if fmt is None and sys.stdout.isatty():
        from ial_bench.report.formats.markup import drawn

        for table in tables:
            console().print(drawn(table, _style(layout)))
    elif tables:
        print(formatted(tables, layout, fmt or "md"), end="")


def datasets_of(home: Path, layout: Layout) -> list[str]:
    """The datasets of a layout; all that have results where it names none.

    Raises:
        DataError: there are no results.
        UnknownNameError: a dataset without results.
    """
    known = datasets_with_results(home)
    if not known:
        raise DataError(f"no results in {home}", "`bench run` makes some; --results names another folder")
    for name in layout.datasets:
        if name not in known:
            raise unknown_name("dataset with results", name, known, f"results in {home}: {', '.join(known)}")
    return list(layout.datasets) or known


def _check_rows(layout: Layout, there: Layout) -> None:
    """Refuse a row with nothing to show; a method that was skipped or failed is named below the table instead."""
    for row in layout.rows:
        named_alone = row.method and row.preset is None and row.backbone is None and not row.settings
        if row not in there.rows and not named_alone and (row.method or layout.published):
            raise ConfigError(f"nothing is there for the row {row.said}", "`bench list runs` shows what was run")


def check_format(fmt: str | None) -> None:
    """Refuse an unknown format.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if fmt is not None and fmt not in FORMATS:
        raise unknown_name("format", fmt, FORMATS, f"one of {', '.join(FORMATS)}")


def formatted(tables: Sequence[Table], layout: Layout, fmt: str) -> str:
    """The text of tables in a format."""
    return text_of(tables, fmt, _style(layout))


def _style(layout: Layout) -> Style:
    return Style(intervals=layout.intervals, siunitx=layout.siunitx)
