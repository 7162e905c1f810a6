"""Values with intervals: against latency, by part of the queries, by configuration, by coverage of the datasets."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ial_bench.engine.records import datasets_with_results
from ial_bench.errors import DataError
from ial_bench.json_files import digest
from ial_bench.plots.scene import GREY, WIDTHS, Scene, decade_ticks, figure, label, legend, log_axis, look, stored
from ial_bench.report.breakdown import TITLES, parts
from ial_bench.report.groups import Group, groups_of
from ial_bench.report.selection import Population, contenders, finished, one_population, read_records, runs_of, timed_on
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
        read, _ = read_records(results, name)
        done, _ = one_population(finished(read), first.limit, installed_code())
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


_LATENCY_HEIGHT = 3.2
_ENTRY = 0.15  # inches of a line of the legend
_AREAS = 12.0, 110.0  # of the smallest and the largest marker, square points
_LEGEND_AREA = 22.0
_UNITS = (("B", 1), ("kB", 10**3), ("MB", 10**6), ("GB", 10**9))


def latency(scene: Scene) -> Figure:
    """Accuracy against the median latency of one photo; marker areas show storage, a line the Pareto front.

    Methods timed on another machine than most are left out: their times say nothing here.
    """
    ranked = list(scene.groups) if scene.named else contenders(scene.groups)
    population = Population.among(runs_of(ranked), scene.selected.dataset, None)
    points, left_out = [], []
    for group, name in zip(ranked, scene.of(ranked).labels, strict=True):
        timed = [
            r for r in population.timed(group) if timed_on(r) == population.hardware and r.phases and r.phases.query
        ]
        if population.hardware is None or not timed:
            left_out.append(name)
            continue
        ms = float(np.mean([r.phases.query.p50_ms for r in timed if r.phases and r.phases.query]))
        storage = float(np.mean([r.size.storage_bytes for r in timed if r.size]))
        points.append((name, ms, stored(group, scene.metric), storage))
    if not points:
        raise DataError("no run was timed", "`bench run` times queries unless --no-timing is given")
    if left_out:
        scene.notes.append(f"not timed on the machine of the others, left out: {', '.join(left_out)}")
    entries = len(points) + 4  # the front, and three sizes
    picture, (axes,) = figure(scene.width or WIDTHS["double"], max(_LATENCY_HEIGHT, _ENTRY * entries + 0.3))
    area = _Areas([p[3] for p in points])
    for i, (name, ms, (value, low, high), storage) in enumerate(points):
        style = look(i)
        axes.errorbar(
            ms, 100 * value, yerr=[[100 * (value - low)], [100 * (high - value)]], color=style.colour, elinewidth=0.7,
            zorder=2,
        )  # fmt: skip
        edge: dict[str, Any] = {"color": style.colour, "marker": style.marker, "edgecolor": "black", "lw": 0.5}
        axes.scatter(ms, 100 * value, s=area(storage), zorder=3, **edge)
        axes.scatter([], [], s=_LEGEND_AREA, label=name, **edge)
    front = pareto_front([(ms, value) for _, ms, (value, _, _), _ in points])
    if len(front) > 1:
        xy = np.array([(points[i][1], 100 * points[i][2][0]) for i in front])
        axes.step(xy[:, 0], xy[:, 1], where="post", color="black", lw=0.8, ls="--", label="Pareto front", zorder=1)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    log_axis(axes.xaxis, decade_ticks(low, high))
    axes.set(xlabel="latency of one photo, ms (median)", ylabel=f"{scene.metric}, %")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    handles, labels = axes.get_legend_handles_labels()
    for size in area.shown():
        handles.append(axes.scatter([], [], s=area(size), color="white", edgecolor=GREY, marker="o"))
        labels.append(_bytes(size))
    picture.legend(handles, labels, loc="outside right upper")
    return picture


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The points that none beats: no other has as low a latency and as high an accuracy and one of them better.

    Args:
        points: latency and accuracy of each.

    Returns:
        Their numbers, by latency.
    """
    found: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if not found or points[i][1] > points[found[-1]][1]:
            found.append(i)
    return found


class _Areas:
    """Marker areas that grow with the logarithm of storage."""

    def __init__(self, storage: Sequence[float]) -> None:
        logs = np.log10(np.maximum(storage, 1.0))
        self._low, self._high = float(logs.min()), float(logs.max())

    def __call__(self, storage: float) -> float:
        spread = self._high - self._low
        share = (np.log10(max(storage, 1.0)) - self._low) / spread if spread else 0.5
        return float(_AREAS[0] + (_AREAS[1] - _AREAS[0]) * share)

    def shown(self) -> list[float]:
        """Powers of ten for the legend: at most three."""
        powers = list(range(int(np.ceil(self._low)), int(np.floor(self._high)) + 1))
        return [10.0**p for p in powers[:: -max(1, (len(powers) + 1) // 3)][:3][::-1]]


def _bytes(size: float) -> str:
    unit, scale = max((u for u in _UNITS if size >= u[1]), key=lambda u: u[1])
    return f"{size / scale:g} {unit}"
