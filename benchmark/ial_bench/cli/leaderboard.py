"""`bench leaderboard`: the table, in any format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ial_bench.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ial_bench.engine.record import RunRecord
    from ial_bench.registry import Registry
    from ial_bench.report.layout import Layout

_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""Of typer, or of click where typer does not bring its own."""


def leaderboard(
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Names. [default: every dataset with results]")
    ] = None,
    fmt: Annotated[
        str | None,
        typer.Option(
            "--format", "-f", help="md, latex, csv, json or html. [default: as --out is named; drawn on a terminal, md]"
        ),
    ] = None,
    methods: Annotated[
        str, typer.Option("--methods", "-m", help="Comma-separated names, in the order of the rows, or all.")
    ] = "all",
    metrics: Annotated[
        str | None, typer.Option(help="Accuracy columns, comma-separated. [default: SSA-1,SSA-5,SA-1,SA-5]")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(help="All columns in their order: metrics, sd, sd:METRIC, set:KEY, backbone, seeds, latency, ..."),
    ] = None,
    sort: Annotated[str | None, typer.Option(help="A column, best first, or given. [default: first metric]")] = None,
    layout: Annotated[Path | None, typer.Option(help="A TOML file that says all this; options go before it.")] = None,
    published: Annotated[
        bool | None, typer.Option("--published/--no-published", help="Append published numbers. [default: yes]")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Show runs with this limit.")] = None,
    side_by_side: Annotated[
        bool | None, typer.Option("--side-by-side/--one-each", help="Several datasets in one table.")
    ] = None,
    settings_as_columns: Annotated[
        bool | None,
        typer.Option("--settings-as-columns/--settings-in-titles", help="Where settings that differ stand."),
    ] = None,
    digits: Annotated[int | None, typer.Option(help="Decimals of accuracies. [default: 1]")] = None,
    separable: Annotated[
        bool | None,
        typer.Option("--separable/--no-separable", help="Mark what is not separable from the best. [default: yes]"),
    ] = None,
    intervals: Annotated[
        bool | None, typer.Option("--intervals/--no-intervals", help="Show 95 % intervals. [default: yes]")
    ] = None,
    siunitx: Annotated[bool | None, typer.Option("--siunitx/--no-siunitx", help="LaTeX with that package.")] = None,
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
    from ial_bench.cli.tables import check_file, show_tables
    from ial_bench.errors import ConfigError
    from ial_bench.folders import results_home
    from ial_bench.report.stale import Code

    asked = Asked(
        dataset, fmt, methods, metrics, columns, sort, layout, published, limit, side_by_side, settings_as_columns,
        digits, separable, intervals, siunitx,
    )  # fmt: skip
    home = results_home(results)
    if update and check is None:
        raise ConfigError("--update goes with --check FILE", "bench leaderboard --check FILE --update")
    code = Code(options.registry(plugin))
    whole = show_tables(home, asked, out, bib, code) if check is None else check_file(home, asked, check, update, code)
    if not whole:
        raise typer.Exit(1)


@dataclass(frozen=True)
class Asked:
    """The options that decide what a table shows; they are kept in the file that it is written to."""

    dataset: str | None = None
    fmt: str | None = None
    methods: str = "all"
    metrics: str | None = None
    columns: str | None = None
    sort: str | None = None
    layout: Path | None = None
    published: bool | None = None
    limit: int | None = None
    side_by_side: bool | None = None
    settings_as_columns: bool | None = None
    digits: int | None = None
    separable: bool | None = None
    intervals: bool | None = None
    siunitx: bool | None = None

    @classmethod
    def read(cls, words: list[str]) -> Asked:
        """The options that stand in a file.

        Raises:
            ConfigError: they are none of `bench leaderboard`'s, or none that decide what a table shows.
        """
        from ial_bench.cli.main import app
        from ial_bench.errors import ConfigError

        command = typer.main.get_command(app)
        verb = command.commands["leaderboard"]  # type: ignore[attr-defined]
        try:
            given = verb.make_context("bench leaderboard", list(words)).params
        except _UsageError as error:
            fix = "`bench leaderboard --help` names the options"
            raise ConfigError(f"bench leaderboard {' '.join(words)}: {error}", fix) from error
        except typer.Exit as asked_for_help:
            raise ConfigError(
                f"bench leaderboard {' '.join(words)} prints no table", "leave out --help"
            ) from asked_for_help
        if other := [name for name in given if name not in cls.__dataclass_fields__ and given[name]]:
            options = ", ".join(f"--{name}" for name in other)
            fix = "give it to the command that checks the file"
            raise ConfigError(f"bench leaderboard {' '.join(words)}: {options} has no place in a file", fix)
        found = {name: given[name] for name in cls.__dataclass_fields__}
        return cls(**{**found, "layout": None if found["layout"] is None else Path(found["layout"])})

    def words(self, layout: str | None) -> list[str]:
        """These options as they are typed.

        Args:
            layout: the layout file, from where the table is written.
        """
        switches = {
            "published": ("--published", "--no-published"),
            "side_by_side": ("--side-by-side", "--one-each"),
            "settings_as_columns": ("--settings-as-columns", "--settings-in-titles"),
            "separable": ("--separable", "--no-separable"),
            "intervals": ("--intervals", "--no-intervals"),
            "siunitx": ("--siunitx", "--no-siunitx"),
        }
        methods = None if self.methods == "all" else self.methods
        texts = {
            "--dataset": self.dataset, "--format": self.fmt, "--methods": methods,
            "--metrics": self.metrics, "--columns": self.columns, "--sort": self.sort, "--layout": layout,
            "--limit": self.limit, "--digits": self.digits,
        }  # fmt: skip
        words = [word for name, value in texts.items() if value is not None for word in (name, str(value))]
        for name, (yes, no) in switches.items():
            value = getattr(self, name)
            words += [] if value is None else [yes if value else no]
        return words

    def as_layout(self, folder: Path = Path()) -> Layout:
        """The layout file with these options before it.

        Args:
            folder: that the file's path starts from.

        Raises:
            ConfigError: an option or a key of the file may not be as it is.
            DataError: the file cannot be read.
        """
        from ial_bench.report.layout import Layout

        found = Layout() if self.layout is None else Layout.read(folder / self.layout)
        methods = None if self.methods == "all" else _listed("--methods", self.methods)
        own: dict[str, object] = {
            "datasets": _listed("--dataset", self.dataset),
            "metrics": _listed("--metrics", self.metrics),
            "columns": _listed("--columns", self.columns),
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


_PLAIN = (
    "sort", "published", "limit", "side_by_side", "settings_as_columns", "digits", "separable", "intervals", "siunitx",
)  # fmt: skip
"""Options that have the name and the value of the layout's."""


def _listed(option: str, text: str | None) -> list[str] | None:
    """Names between commas.

    Raises:
        ConfigError: there are none.
    """
    from ial_bench.errors import ConfigError

    if text is None:
        return None
    names = list(dict.fromkeys(n.strip() for n in text.split(",") if n.strip()))
    if not names:
        what = option.removeprefix("--").removesuffix("s")
        raise ConfigError(f"{option} {text!r} names no {what}", "for instance --metrics SSA-1,SA-1,MRR")
    return names


def print_leaderboard(
    home: Path, dataset: str, limit: int | None, registry: Registry, skipped: Iterable[RunRecord] = ()
) -> None:
    """Print one dataset's leaderboard, if any of its records can be read.

    Args:
        home: folder of results.
        dataset: name.
        limit: show runs limited to so many photos a split.
        registry: whose methods' code is known.
        skipped: runs to tell of below the table, whether or not their methods have rows.
    """
    from dataclasses import replace

    from ial_bench.cli.tables import print_tables, tables_of
    from ial_bench.report.layout import Layout
    from ial_bench.report.notes import skips
    from ial_bench.report.stale import Code

    layout = Layout(datasets=(dataset,), limit=limit)
    tables, _ = tables_of(home, layout, Code(registry))
    told = skips(skipped)
    tables = [replace(t, notes=(*t.notes, *(n for n in told if n not in t.notes))) for t in tables]
    print_tables(tables, layout, None)
