"""`bench compare`: whether methods differ, beyond what another sample of places would change."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ial_bench.cli import options

if TYPE_CHECKING:
    from ial_bench.metrics.comparison import Difference
    from ial_bench.report.groups import Group


def compare(
    methods: Annotated[
        list[str] | None, typer.Argument(help="Two methods or more: names, or ids of runs.", show_default=False)
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Name. [default: the only dataset with results]")
    ] = None,
    metric: Annotated[str, typer.Option(help="A mean over queries: SSA-k, SA-k, MRR, within_50, ...")] = "SSA-1",
    all_pairs: Annotated[bool, typer.Option("--all-pairs", help="Compare all methods with results.")] = False,
    limit: Annotated[int | None, typer.Option(help="Compare runs with this limit.")] = None,
    results: options.Results = None,
    as_json: options.AsJson = False,
) -> None:
    """Compare methods on the same queries.

    Differences with 95 % intervals of a paired bootstrap over places, queries that one alone has right, and p-values
    with Holm's correction over all pairs shown. Of several seeds, each query counts by its mean over them.

    Example: bench compare addressclip retrieval --dataset pitts-ial --metric SSA-1
    """
    from ial_bench.cli.console import print_json, print_rows
    from ial_bench.errors import ConfigError

    if all_pairs == bool(methods) or (methods and len(methods) < 2):
        raise ConfigError("name two methods or more, or give --all-pairs", "bench compare addressclip retrieval")
    found = _compared(_home(results), dataset, methods or [], metric, limit)
    if as_json:
        print_json(found.as_json())
        return
    print_rows(
        ["A", "B", f"A {metric} %", f"B {metric} %", "A - B", "95 %", "A alone", "B alone", "p", "p (Holm)"],
        [found.row(d) for d in found.differences],
        title=found.dataset,
    )
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)


@dataclass(frozen=True)
class _Comparison:
    dataset: str
    metric: str
    groups: list[Group]
    means: list[float]
    differences: list[Difference]
    notes: list[str]

    def row(self, d: Difference) -> list[str]:
        """What is printed of a pair."""
        interval = "" if d.ci95 is None else f"[{100 * d.ci95[0]:+.1f}, {100 * d.ci95[1]:+.1f}]"
        numbers = [f"{100 * self.means[d.first]:.1f}", f"{100 * self.means[d.second]:.1f}", f"{100 * d.value:+.1f}"]
        counts = [f"{n:,.0f}" for n in (d.only_first, d.only_second)]
        return [
            self.groups[d.first].title, self.groups[d.second].title, *numbers, interval, *counts, _p(d.p), _p(d.p_holm)
        ]  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """For programs: fractions, not percent."""
        named = [
            {"method": g.method, "title": g.title, "runs": [r.run_id for r in g.runs], "mean": mean}
            for g, mean in zip(self.groups, self.means, strict=True)
        ]
        pairs = [
            {
                "a": d.first, "b": d.second, "difference": d.value, "ci95": d.ci95, "a_alone": d.only_first,
                "b_alone": d.only_second, "p": d.p, "p_holm": d.p_holm, "separable": d.separable,
            }
            for d in self.differences
        ]  # fmt: skip
        return {
            "dataset": self.dataset, "metric": self.metric, "methods": named, "pairs": pairs, "notes": self.notes
        }  # fmt: skip


def _home(results: Path | None) -> Path:
    from ial_bench.homes import results_home

    return results_home(results)


def _compared(home: Path, dataset: str | None, methods: list[str], metric: str, limit: int | None) -> _Comparison:
    """The comparison of the named methods, or of all but oracles.

    Raises:
        DataError: no results, too few of them, or answers that cannot be read.
        UnknownNameError: no such dataset, method or metric.
    """
    import numpy as np

    from ial_bench.errors import DataError
    from ial_bench.metrics.comparison import compare as differences
    from ial_bench.report.selected import Selected

    selected = Selected.among(home, dataset, methods, limit)
    groups = [g for g in selected.groups if methods or not g.oracle]
    if len(groups) < 2:
        problem = f"{len(groups)} method with results on {selected.dataset!r}: nothing to compare"
        raise DataError(problem, "run another one")
    values = np.stack([selected.answers.values(g.runs, metric) for g in groups], axis=1)
    if not methods:
        order = np.argsort(-values.mean(axis=0), kind="stable")
        groups, values = [groups[i] for i in order], values[:, order]
    means = [float(m) for m in values.mean(axis=0)]
    notes = [*selected.seed_notes, *selected.notes]
    places = selected.answers.truth.places
    return _Comparison(selected.dataset, metric, groups, means, differences(values, places), notes)


def _p(p: float | None) -> str:
    """Never 0: it is the smallest that so many draws can show."""
    return "" if p is None else f"{p:.4f}" if p >= 0.0001 else f"{p:.1e}"
