"""`bench leaderboard`: tables of results, printed, written with the options that made them, or held against a file."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ial_bench import folders
from ial_bench.cli import options
from ial_bench.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ial_bench.engine.record import RunRecord
    from ial_bench.registry import Registry
    from ial_bench.report.layout import Layout
    from ial_bench.report.stale import Code

_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""Typer's, or click's where typer has none of its own."""
_PLAIN = (
    "sort", "published", "limit", "side_by_side", "settings_as_columns", "digits", "separable", "intervals", "siunitx",
)  # fmt: skip
"""Options with the name and the value of a key of the layout."""


@dataclass(frozen=True)
class TableOptions:
    """The options that decide what a table shows; a file with a table keeps them."""

    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Names. [default: every dataset with results]")
    ] = None
    fmt: Annotated[
        str | None,
        typer.Option(
            "--format", "-f", help="md, latex, csv, json or html. [default: as --out is named; drawn on a terminal, md]"
        ),
    ] = None
    methods: Annotated[
        str, typer.Option("--methods", "-m", help="Comma-separated names, in the order of the rows, or all.")
    ] = "all"
    metrics: Annotated[
        str | None, typer.Option(help="Accuracy columns, comma-separated. [default: SSA-1,SSA-5,SA-1,SA-5]")
    ] = None
    columns: Annotated[
        str | None,
        typer.Option(help="All columns in their order: metrics, sd, sd:METRIC, set:KEY, backbone, seeds, latency, ..."),
    ] = None
    sort: Annotated[str | None, typer.Option(help="A column, best first, or given. [default: first metric]")] = None
    layout: Annotated[Path | None, typer.Option(help="A TOML file that says all this; options go before it.")] = None
    published: Annotated[
        bool | None, typer.Option("--published/--no-published", help="Append published numbers. [default: yes]")
    ] = None
    limit: Annotated[int | None, typer.Option(help="Show runs with this limit.")] = None
    side_by_side: Annotated[
        bool | None, typer.Option("--side-by-side/--one-each", help="Several datasets in one table.")
    ] = None
    settings_as_columns: Annotated[
        bool | None,
        typer.Option("--settings-as-columns/--settings-in-titles", help="Where settings that differ stand."),
    ] = None
    digits: Annotated[int | None, typer.Option(help="Decimals of accuracies. [default: 1]")] = None
    separable: Annotated[
        bool | None,
        typer.Option("--separable/--no-separable", help="Mark what is not separable from the best. [default: yes]"),
    ] = None
    intervals: Annotated[
        bool | None, typer.Option("--intervals/--no-intervals", help="Show 95 % intervals. [default: yes]")
    ] = None
    siunitx: Annotated[bool | None, typer.Option("--siunitx/--no-siunitx", help="LaTeX with that package.")] = None

    @classmethod
    def read(cls, words: list[str]) -> TableOptions:
        """Parse the options that a file keeps.

        Raises:
            ConfigError: one is not of `bench leaderboard`, or does not decide what a table shows.
        """
        typed = f"bench leaderboard {' '.join(words)}"
        try:
            given = _command().make_context("bench leaderboard", list(words)).params
        except _UsageError as error:
            raise ConfigError(f"{typed}: {error}", "`bench leaderboard --help` names the options") from error
        except typer.Exit as asked_for_help:
            raise ConfigError(f"{typed} prints no table", "leave out --help") from asked_for_help
        own = {f.name: given.pop(f.name) for f in fields(cls)}
        if other := ", ".join(f"--{name}" for name, value in given.items() if value):
            fix = "give it to the command that checks the file"
            raise ConfigError(f"{typed}: {other} has no place in a file", fix)
        return cls(**{**own, "layout": None if own["layout"] is None else Path(own["layout"])})

    def words(self) -> list[str]:
        """These options as they are typed; the layout file as it stands here."""
        texts: list[str] = []
        switches: list[str] = []
        for option in _command().params:
            value = getattr(self, option.name, None)
            if value is None or value == option.default:
                continue
            if option.secondary_opts:
                switches += [(option.opts if value else option.secondary_opts)[0]]
            else:
                texts += [option.opts[0], str(value)]
        return texts + switches

    def as_layout(self, folder: Path = Path()) -> Layout:
        """The layout of the file, overruled by these options.

        Args:
            folder: that the layout file's path is relative to.

        Raises:
            ConfigError: an option or a key of the file has a value that it cannot have.
            DataError: the file cannot be read.
        """
        from ial_bench.report.layout import Layout

        found = Layout() if self.layout is None else Layout.read(folder / self.layout)
        methods = None if self.methods == "all" else _names("--methods", self.methods)
        own: dict[str, object] = {
            "datasets": _names("--dataset", self.dataset),
            "metrics": _names("--metrics", self.metrics),
            "columns": _names("--columns", self.columns),
            "rows": None if methods is None else [{"method": m} for m in methods],
            **{name: getattr(self, name) for name in _PLAIN},
        }
        own = {name: value for name, value in own.items() if value is not None}
        if not own:
            return found
        base = found.model_dump(exclude_unset=True)
        if "columns" in own and "metrics" not in own:
            base.pop("metrics", None)
        return Layout.of({**base, **own}, "the options" if self.layout is None else f"{self.layout} with the options")


@options.grouped
def leaderboard(
    asked: TableOptions,
    bib: Annotated[
        Path | None, typer.Option(help="Write the cited papers here. [default: beside a LaTeX table with citations]")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write to this file.")] = None,
    check: Annotated[
        Path | None, typer.Option(help="Make the tables in this file anew; fail where they differ from it.")
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="With --check: write what differs.")] = False,
    plugin: options.Plugins = None,
    results: options.Results = None,
) -> None:
    """Print the leaderboard.

    From stored records: accuracies with intervals, what is not separable from the best, latency, storage, parameters.
    Rows of one method are told apart by the settings that differ: --methods addressclip alone is its ablation table.
    Rows of a plugin, installed or given with --plugin, whose code has changed since are called stale and not ranked.

    Example: bench leaderboard --dataset sf-ial-large --format latex --out table.tex
    """
    from ial_bench.report.stale import Code

    home = folders.results_home(results)
    if update and check is None:
        raise ConfigError("--update goes with --check FILE", "bench leaderboard --check FILE --update")
    code = Code(options.registry(plugin))
    whole = show_tables(home, asked, out, bib, code) if check is None else check_file(home, asked, check, update, code)
    if not whole:
        raise typer.Exit(1)


def _command() -> Any:
    """`bench leaderboard` by itself, as its parser sees it."""
    alone = typer.Typer(rich_markup_mode=None, add_completion=False)
    alone.command()(leaderboard)
    return typer.main.get_command(alone)


def show_tables(home: Path, asked: TableOptions, out: Path | None, bib: Path | None, code: Code) -> bool:
    """Print the tables or write them; returns whether all records could be read.

    Args:
        home: folder of results.
        asked: what to show.
        out: file to write to; None: print.
        bib: file for the cited papers; None: beside a LaTeX table with citations.
        code: of the methods that are installed.
    """
    from ial_bench.cli.tables import check_format, formatted, print_tables, tables_of
    from ial_bench.report.formats import enclosed, format_for
    from ial_bench.report.published import bibliography

    check_format(asked.fmt)
    layout = asked.as_layout()
    tables, whole = tables_of(home, layout, code)
    if not tables:
        return whole
    cited = bibliography({row.cite for table in tables for row in table.rows if row.cite})
    if out is None:
        print_tables(tables, layout, asked.fmt)
    else:
        fmt = asked.fmt or format_for(out)
        _write(out, enclosed(formatted(tables, layout, fmt), fmt, _kept(asked, layout, home, out)))
        if bib is None and cited and fmt == "latex":
            bib = out.with_suffix(".bib")
    if bib is not None:
        _write(bib, cited)
    return whole


def check_file(home: Path, asked: TableOptions, file: Path, update: bool, code: Code) -> bool:
    """Compare the tables in a file with the records, or renew them; returns whether all records could be read.

    Args:
        home: folder of results.
        asked: what a file shows that cannot keep its options: CSV and JSON.
        file: with tables.
        update: write what differs instead of failing.
        code: of the methods that are installed.

    Raises:
        DataError: it differs, it cannot be read, or it does not say how it was made.
    """
    from ial_bench.cli.tables import check_format, formatted, tables_of
    from ial_bench.files import read_file
    from ial_bench.report.formats import blocks, difference, format_for, made_anew

    try:
        text = read_file(file).decode()
    except ValueError as error:
        raise DataError(f"cannot read {file}: {error}") from error
    all_read = True

    def make(one: TableOptions) -> str:
        nonlocal all_read
        check_format(one.fmt)
        layout = one.as_layout(file.parent)
        tables, whole = tables_of(home, layout, code)
        all_read &= whole
        if not tables:
            raise DataError(f"{file} has a table for which {home} has no finished runs", "`bench list runs` shows all")
        return formatted(tables, layout, one.fmt or format_for(file))

    if blocks(text):
        new = made_anew(text, lambda words: make(TableOptions.read(list(words))))
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


def _names(option: str, text: str | None) -> list[str] | None:
    """Names between commas, None where the option is not given.

    Raises:
        ConfigError: there are none.
    """
    names = None if text is None else options.listed(text)
    if names == []:
        what = option.removeprefix("--").removesuffix("s")
        raise ConfigError(f"{option} {text!r} names no {what}", "for instance --metrics SSA-1,SA-1,MRR")
    return names


def _kept(asked: TableOptions, layout: Layout, home: Path, out: Path) -> list[str]:
    """The options that a file keeps: all datasets by name, the layout file as seen from the table."""
    from ial_bench.cli.tables import datasets_of
    from ial_bench.report.formats import FORMATS, format_for

    names = None if asked.dataset is None and layout.datasets else ",".join(datasets_of(home, layout))
    fmt = None if asked.fmt is None or FORMATS[asked.fmt] is FORMATS[format_for(out)] else asked.fmt
    file = None if asked.layout is None else Path(os.path.relpath(asked.layout.resolve(), out.resolve().parent))
    return replace(asked, dataset=names, fmt=fmt, layout=file).words()


def _write(file: Path, text: str) -> None:
    from ial_bench.files import write_text

    write_text(file, text)
    print(f"wrote {file}", file=sys.stderr)


def print_leaderboard(
    home: Path, dataset: str, limit: int | None, registry: Registry, skipped: Iterable[RunRecord] = ()
) -> None:
    """Print one dataset's leaderboard, if any of its records can be read.

    Args:
        home: folder of results.
        dataset: name.
        limit: show runs limited to so many photos a split.
        registry: whose methods' code is known.
        skipped: runs to name below the table, whether or not their methods have rows.
    """
    from ial_bench.cli.tables import print_tables, tables_of
    from ial_bench.report.layout import Layout
    from ial_bench.report.notes import skips
    from ial_bench.report.stale import Code

    layout = Layout(datasets=(dataset,), limit=limit)
    tables, _ = tables_of(home, layout, Code(registry))
    below = skips(skipped)
    tables = [replace(t, notes=(*t.notes, *(n for n in below if n not in t.notes))) for t in tables]
    print_tables(tables, layout, None)
