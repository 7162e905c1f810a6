"""`bench leaderboard`: the table, in any format."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ial_bench.cli import options

if TYPE_CHECKING:
    from ial_bench.report.table import Table


def leaderboard(
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Name. [default: every dataset with results]")
    ] = None,
    fmt: Annotated[
        str | None,
        typer.Option("--format", "-f", help="md, latex or csv. [default: drawn on a terminal, md elsewhere]"),
    ] = None,
    methods: Annotated[str, typer.Option("--methods", "-m", help="Comma-separated names, or all.")] = "all",
    metrics: Annotated[
        str | None, typer.Option(help="Accuracy columns, comma-separated. [default: SSA-1,SSA-5,SA-1,SA-5]")
    ] = None,
    published: Annotated[bool, typer.Option("--published/--no-published", help="Append published numbers.")] = True,
    limit: Annotated[int | None, typer.Option(help="Show runs with this limit.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write to this file.")] = None,
    results: options.Results = None,
) -> None:
    """Print the leaderboard.

    From stored records: accuracies with intervals, latency, storage, parameters. Rows of one method are told apart by
    the settings that differ: --methods addressclip alone is its ablation table.

    Example: bench leaderboard --dataset sf-ial-large --format latex --out table.tex
    """
    from ial_bench.engine.record import datasets_with_results
    from ial_bench.errors import ConfigError, DataError, unknown_name
    from ial_bench.homes import results_home
    from ial_bench.report.formats import FORMATS

    if fmt is not None and fmt not in FORMATS:
        raise unknown_name("format", fmt, FORMATS, f"one of {', '.join(FORMATS)}")
    wanted = None if metrics is None else [m.strip() for m in metrics.split(",") if m.strip()]
    if wanted is not None and not wanted:
        raise ConfigError(f"--metrics {metrics!r} names no metric", "for instance --metrics SSA-1,SA-1,MRR")
    home = results_home(results)
    known = datasets_with_results(home)
    if not known:
        raise DataError(f"no results in {home}", "`bench run` makes some; --results names another folder")
    if dataset is not None and dataset not in known:
        raise unknown_name("dataset with results", dataset, known, f"results in {home}: {', '.join(known)}")
    chosen = _methods(home, [dataset] if dataset else known, methods)
    read = [_read(home, name, wanted, published, limit, chosen) for name in ([dataset] if dataset else known)]
    _show([table for table, _ in read if table is not None], fmt, out)
    if any(broken for _, broken in read):
        raise typer.Exit(1)


def print_leaderboard(home: Path, dataset: str, limit: int | None = None) -> None:
    """Print one dataset's leaderboard, if any of its records can be read."""
    table, _ = _read(home, dataset, None, published=True, limit=limit)
    _show([] if table is None else [table], None, None)


def _methods(home: Path, datasets: Sequence[str], text: str) -> set[str] | None:
    """The methods to show, None for all.

    Raises:
        UnknownNameError: one has no runs on any of the datasets.
    """
    from ial_bench.errors import unknown_name

    if text == "all":
        return None
    known = sorted({p.parent.name for name in datasets for p in (home / name).glob("*/*.json")})
    wanted = {m.strip() for m in text.split(",") if m.strip()} or {text}
    for name in sorted(wanted.difference(known)):
        raise unknown_name("method with runs", name, known, f"there are runs of {', '.join(known)}")
    return wanted


def _read(
    home: Path, dataset: str, metrics: Sequence[str] | None, published: bool, limit: int | None,
    methods: set[str] | None = None,
) -> tuple[Table | None, bool]:  # fmt: skip
    """The table, None if no record can be read; and whether some record could not be read, which is told."""
    from ial_bench.engine.record import records
    from ial_bench.errors import DataError, unknown_name
    from ial_bench.report.published import published_rows
    from ial_bench.report.table import DEFAULT_METRICS, build_table

    found = [record for _, record in records(home, dataset)]
    good = [r for r in found if not isinstance(r, DataError) and (methods is None or r.method.name in methods)]
    bad = [r for r in found if isinstance(r, DataError)]
    for error in bad:
        print(f"not read: {error}", file=sys.stderr)
    if not good:
        return None, bool(bad)
    measured = sorted({n for r in good if r.metrics for n in r.metrics.accuracy})
    if metrics is None:
        metrics = [m for m in DEFAULT_METRICS if m in measured or not measured]
    elif measured and (missing := [m for m in metrics if m not in measured]):
        raise unknown_name("metric", missing[0], measured, f"the records have {', '.join(measured)}")
    return build_table(good, dataset, metrics, published_rows(dataset) if published else (), limit), bool(bad)


def _show(tables: Sequence[Table], fmt: str | None, out: Path | None) -> None:
    from ial_bench.files import write_text
    from ial_bench.report.formats import terminal, text_of

    if not tables:
        return
    if out is not None:
        write_text(out, text_of(tables, fmt or "md"))
        print(f"wrote {out}", file=sys.stderr)
    elif fmt is None and sys.stdout.isatty():
        from rich.console import Console

        for table in tables:
            Console().print(terminal(table))
    else:
        print(text_of(tables, fmt or "md"), end="")
