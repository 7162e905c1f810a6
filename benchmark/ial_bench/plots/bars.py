"""Values with intervals: parts of the queries, configurations of a method, datasets of growing coverage."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np

from ial_bench.engine.record import RunRecord
from ial_bench.engine.records import datasets_with_results, records
from ial_bench.errors import DataError
from ial_bench.json_files import digest
from ial_bench.plots.scene import Scene, stored
from ial_bench.plots.style import WIDTHS, figure, label, legend, log_axis, look
from ial_bench.report.breakdown import TITLES, parts
from ial_bench.report.groups import Group, groups_of, one_population
from ial_bench.report.stale import installed_code

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEIGHT = 2.5
_SPREAD = 0.6  # of the space between two parts, that the methods' points take


def by_part(scene: Scene, by: str) -> Figure:
    """Accuracy of each part of the queries, with intervals over places; below each part how many queries it has."""
    scene = scene.lines()
    found = parts(scene.selected, by, scene.metric)
    if len(found) < 2:
        only = found[0].name if found else "none"
        raise DataError(f"all queries are of one part by {by}: {only}", "another dataset has more")
    picture, (axes,) = figure(scene.width or WIDTHS["double"], _HEIGHT)
    n = len(scene.groups)
    for i, name in enumerate(scene.labels):
        x = np.arange(len(found)) + (_SPREAD * (i / (n - 1) - 0.5) if n > 1 else 0.0)
        estimates = [p.estimates[i] for p in found]
        values = np.array([e.value for e in estimates])
        ends = np.array([e.ci95 or (e.value, e.value) for e in estimates])
        style = look(i)
        axes.errorbar(
            x, 100 * values, yerr=100 * np.abs(ends.T - values), color=style.colour, marker=style.marker, ls="none",
            elinewidth=0.8, label=name,
        )  # fmt: skip
    axes.set_xticks(range(len(found)), [f"{label(p.name)}\n({p.queries:,})" for p in found])
    axes.grid(axis="x", visible=False)
    axes.set(xlabel=f"{TITLES[by]} (queries)", ylabel=f"{scene.metric}, %", ylim=(0, 100))
    legend(picture, axes, beside=True)
    return picture


def ablation(scene: Scene) -> Figure:
    """A bar for each configuration of the methods that were run with several; a dot for each seed."""
    counted = Counter(g.method for g in scene.groups)
    groups = [g for g in scene.groups if counted[g.method] > 1]
    if not groups:
        raise DataError("no method was run with several configurations", "`bench run --grid KEY=VALUE,VALUE` does")
    methods = list(dict.fromkeys(g.method for g in groups))
    groups.sort(key=lambda g: methods.index(g.method))  # in their order, the best first
    scene = scene.of(groups)
    picture, (axes,) = figure(scene.width or WIDTHS["double"], 0.6 + 0.24 * len(groups))
    for i, group in enumerate(groups):
        style = look(methods.index(group.method))
        value, low, high = stored(group, scene.metric)
        axes.barh(
            i, 100 * value, height=0.7, color=style.colour, alpha=0.55, hatch=style.hatch, edgecolor="black", lw=0.5,
            xerr=[[100 * (value - low)], [100 * (high - value)]], error_kw={"elinewidth": 0.8, "capsize": 2},
        )  # fmt: skip
        if len(group.runs) > 1:
            seeds = [100 * r.metrics.accuracy[scene.metric].value for r in group.runs if r.metrics]
            axes.plot(seeds, [i] * len(seeds), ls="none", marker="o", ms=2.5, color="white", mec="black", mew=0.5)
    axes.set_yticks(range(len(groups)), scene.labels)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set(xlabel=f"{scene.metric}, %")
    axes.set_xlim(left=0)
    return picture


def coverage(scene: Scene) -> Figure:
    """Accuracy against train photos per address, over the datasets that ask the same of more or fewer of them."""
    first = scene.groups[0].runs[0].dataset
    results = scene.selected.results
    wanted = dict.fromkeys(_identity(g) for g in scene.lines().groups)  # in their order
    lines: dict[tuple[str, str], list[tuple[float, Group]]] = defaultdict(list)
    used = []
    for name in datasets_with_results(results):
        read = [r for _, r in records(results, name) if isinstance(r, RunRecord) and r.status == "done" and r.metrics]
        done, _ = one_population(read, first.limit, installed_code())
        about = done[0].dataset if done else None
        if about is None or (about.candidate_digest, about.n_queries) != (first.candidate_digest, first.n_queries):
            continue
        used.append(name)
        for group in groups_of(done):
            if _identity(group) in wanted:
                lines[_identity(group)].append((about.n_train / max(1, about.n_candidates), group))
    if len(used) < 2:
        raise DataError(
            f"no other dataset with results asks for the addresses of {scene.selected.dataset}",
            "`bench data synth --coverage 0.5 --name NAME` draws a city with fewer train photos; run on it too",
        )
    picture, (axes,) = figure(scene.width or WIDTHS["single"], _HEIGHT + 0.6)
    named = {_identity(g): name for g, name in zip(scene.groups, scene.labels, strict=True)}
    for i, key in enumerate(wanted):
        points = sorted(lines[key], key=lambda p: p[0])
        values = np.array([stored(g, scene.metric) for _, g in points])
        style = look(i)
        axes.errorbar(
            [x for x, _ in points], 100 * values[:, 0], yerr=100 * np.abs(values[:, 1:].T - values[:, 0]),
            color=style.colour, marker=style.marker, ls=style.dash, elinewidth=0.8, label=named[key],
        )  # fmt: skip
    axes.set_xscale("log")
    ticks = sorted({round(x, 1) for points in lines.values() for x, _ in points})
    log_axis(axes.xaxis, ticks)
    axes.set(xlabel="train photos per address", ylabel=f"{scene.metric}, %", ylim=(0, 100))
    legend(picture, axes, beside=scene.width == WIDTHS["double"])
    scene.notes.append(f"datasets: {', '.join(used)}")
    return picture


def _identity(group: Group) -> tuple[str, str]:
    """Method and configuration, whatever the dataset."""
    return group.method, digest(group.runs[0].method.config)
