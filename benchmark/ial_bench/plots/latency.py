"""Accuracy against latency: what the time of an answer buys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ial_bench.errors import DataError
from ial_bench.plots.scene import Scene, stored
from ial_bench.plots.style import GREY, WIDTHS, decade_ticks, figure, log_axis, look
from ial_bench.report.population import Population, timed_on
from ial_bench.report.selected import runs_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEIGHT = 3.2
_ENTRY = 0.15  # inches of a line of the legend
_AREAS = 12.0, 110.0  # of the smallest and the largest marker, square points
_LEGEND_AREA = 22.0
_UNITS = (("B", 1), ("kB", 10**3), ("MB", 10**6), ("GB", 10**9))


def latency(scene: Scene) -> Figure:
    """Accuracy against the median latency of one photo; marker areas show storage, a line the Pareto front.

    Methods timed on another machine than most are left out: their times say nothing here.
    """
    ranked = [g for g in scene.groups if scene.named or not g.oracle]
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
    picture, (axes,) = figure(scene.width or WIDTHS["double"], max(_HEIGHT, _ENTRY * entries + 0.3))
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
