"""`bench leaderboard`: the table, in any format."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ial_bench.cli import options


def leaderboard(
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Name. [default: every dataset with results]")
    ] = None,
    fmt: Annotated[
        str | None,
        typer.Option("--format", "-f", help="md, latex or csv. [default: drawn on a terminal, md elsewhere]"),
    ] = None,
    metrics: Annotated[str, typer.Option(help="Accuracy columns, comma-separated.")] = "SSA-1,SSA-5,SA-1,SA-5",
    published: Annotated[bool, typer.Option("--published/--no-published", help="Append published numbers.")] = True,
    limit: Annotated[int | None, typer.Option(help="Show runs with this limit.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write to this file.")] = None,
    results: options.Results = None,
) -> None:
    """Print the leaderboard from stored records: accuracies with intervals, latency, storage, parameters.

    Example: bench leaderboard --dataset sf-ial-large --format latex --out table.tex
    """
    from ial_bench.errors import DataError
    from ial_bench.homes import results_home

    home = results_home(results)
    names = [dataset] if dataset else sorted({p.parent.parent.name for p in home.glob("*/*/*.json")})
    if not names:
        raise DataError(f"no results in {home}", "`bench run` makes some; --results names another folder")
    shown = tuple(m.strip() for m in metrics.split(",") if m.strip())
    broken = False
    for name in names:
        broken |= print_leaderboard(home, name, fmt, shown, published, limit, out)
    if broken:
        raise typer.Exit(1)


def print_leaderboard(
    home: Path,
    dataset: str,
    fmt: str | None = None,
    metrics: tuple[str, ...] = ("SSA-1", "SSA-5", "SA-1", "SA-5"),
    published: bool = True,
    limit: int | None = None,
    out: Path | None = None,
) -> bool:
    """Print or write one dataset's leaderboard; whether some record could not be read."""
    from ial_bench.engine.record import records
    from ial_bench.errors import ConfigError, DataError, unknown_name
    from ial_bench.files import write_text
    from ial_bench.report.formats import FORMATS, terminal
    from ial_bench.report.published import published_rows
    from ial_bench.report.table import build_table

    found = [record for _, record in records(home, dataset)]
    good = [r for r in found if not isinstance(r, DataError)]
    bad = [r for r in found if isinstance(r, DataError)]
    for error in bad:
        print(f"not read: {error}", file=sys.stderr)
    if not good:
        known = sorted({p.parent.parent.name for p in home.glob("*/*/*.json")})
        raise unknown_name("dataset with results", dataset, known, f"results in {home}: {', '.join(known) or 'none'}")
    names = {n for r in good if r.metrics for n in r.metrics.accuracy}
    if names and (missing := [m for m in metrics if m not in names]):
        raise ConfigError(f"no metric {missing[0]!r} in the records", f"there are {', '.join(sorted(names))}")
    table = build_table(good, dataset, metrics, published_rows(dataset) if published else (), limit)
    if fmt is not None and fmt not in FORMATS:
        raise unknown_name("format", fmt, FORMATS, f"one of {', '.join(FORMATS)}")
    if out is not None:
        write_text(out, FORMATS[fmt or "md"](table))
        print(f"wrote {out}", file=sys.stderr)
    elif fmt is None and sys.stdout.isatty():
        from rich.console import Console

        Console().print(terminal(table))
    else:
        print(FORMATS[fmt or "md"](table), end="")
    return bool(bad)
