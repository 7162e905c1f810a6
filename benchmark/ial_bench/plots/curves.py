"""Charts of lines: SSA-k, distance error, training, reliability and risk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ial_bench.engine.scoring import outcomes
from ial_bench.errors import DataError
from ial_bench.metrics.accuracy import first_hit, within
from ial_bench.metrics.calibration import thinned
from ial_bench.plots.scene import WIDTHS, Scene, decade_ticks, figure, label, legend, log_axis, look
from ial_bench.report.calibration import all_calibrated, why_not

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEIGHT = 2.5
_GRID_POINTS = 200  # of a cumulative curve, whatever the number of queries
_MOST_TICKS = 12
_MOST_MARKED = 60  # epochs, steps: more markers would touch


def ssa_k(scene: Scene) -> Figure:
    """SSA-k against k, as far as answers are stored."""
    scene = scene.lines()
    answers = scene.selected.answers
    picture, (axes,) = figure(scene.width or WIDTHS["single"], _HEIGHT + 0.6)
    ks = np.arange(1, answers.top(scene.groups[0].runs[0]).indices.shape[1] + 1)  # all runs of a population store k
    for i, (group, name) in enumerate(zip(scene.groups, scene.labels, strict=True)):
        tops = [answers.top(run) for run in group.runs]
        shares = [within(first_hit(t.indices, answers.truth.labels), ks.tolist()).mean(axis=0) for t in tops]
        _line(axes, ks, 100 * np.mean(shares, axis=0), i, name)
    axes.set(xlabel="k", ylabel="SSA-k, %", ylim=(0, 100))
    if len(ks) <= _MOST_TICKS:
        axes.set_xticks(ks)
    legend(picture, axes, beside=scene.width == WIDTHS["double"])
    return picture


def distance(scene: Scene) -> Figure:
    """Share of queries within a distance of what was answered."""
    scene = scene.lines()
    answers = scene.selected.answers
    every = [[outcomes(answers.top(run), answers.truth)[2] for run in g.runs] for g in scene.groups]
    if not len(answers.truth):
        raise DataError("there are no queries", "draw another dataset")
    farthest = max(float(np.quantile(m, 0.99)) for runs in every for m in runs)
    top = 10.0 ** np.ceil(np.log10(max(farthest, 100.0)))
    metres = np.geomspace(1.0, top, _GRID_POINTS)
    picture, (axes,) = figure(scene.width or WIDTHS["single"], _HEIGHT + 0.6)
    for i, (runs, name) in enumerate(zip(every, scene.labels, strict=True)):
        shares = [np.searchsorted(np.sort(m), metres, side="right") / len(m) for m in runs]
        style = look(i)
        axes.plot(
            metres, 100 * np.mean(shares, axis=0), color=style.colour, ls=style.dash, marker=style.marker,
            markevery=(5 + 3 * i % 25, 25), label=name,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set(xlabel="metres from the query to the answer", ylabel="queries, %", xlim=(1, top), ylim=(0, 100))
    log_axis(axes.xaxis, [10.0**e for e in range(int(np.log10(top)) + 1)])
    legend(picture, axes, beside=scene.width == WIDTHS["double"])
    return picture


def loss(scene: Scene) -> Figure:
    """Training loss and val SSA-1 by epoch, as records have them; of a single method, all terms of its loss."""
    from matplotlib.ticker import MaxNLocator

    trained = [
        (g, name, [_epochs(r.method.facts) for r in g.runs]) for g, name in zip(scene.groups, scene.labels, strict=True)
    ]
    trained = [(g, name, [e for e in runs if e]) for g, name, runs in trained if any(runs)]
    if not trained:
        raise DataError("no record tells of a training", "methods that are trained do: `bench list methods`")
    picture, (left, right) = figure(scene.width or WIDTHS["double"], _HEIGHT, 2)
    terms = list(dict.fromkeys(t for e in trained[0][2][0] for t in _losses(e))) if len(trained) == 1 else ["loss"]
    for i, (_, name, runs) in enumerate(trained):
        for j, term in enumerate(terms):
            curve = _mean([[_losses(e).get(term, np.nan) for e in epochs] for epochs in runs])
            _line(left, np.arange(1, len(curve) + 1), curve, i + j, label(term) if len(terms) > 1 else name)
        vals = _mean([[_number(e.get("val_ssa1")) for e in epochs] for epochs in runs])
        if np.isfinite(vals).any():
            _line(right, np.arange(1, len(vals) + 1), 100 * vals, i, name)
    left.set(xlabel="epoch", ylabel="training loss")
    right.set(xlabel="epoch", ylabel="val SSA-1, %")
    if all(v > 0 for line in left.lines for v in np.asarray(line.get_ydata()) if np.isfinite(v)):
        left.set_yscale("log")
        log_axis(left.yaxis, decade_ticks(*left.get_ylim()))
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(picture, left, beside=True)
    return picture


def reliability(scene: Scene) -> Figure:
    """Reliability of methods that give probabilities, and risk against coverage of all."""
    scene = scene.lines()
    found = all_calibrated(scene.selected, scene.logits)
    scene.notes.extend(why_not(found))
    sure = [c for c in found if c.reliability is not None]
    columns = 2 if sure else 1
    picture, axes = figure(
        scene.width or WIDTHS["double" if sure else "single"], _HEIGHT + (0 if sure else 0.6), columns
    )
    if sure:
        axes[0].plot([0, 1], [0, 1], color="black", lw=0.6, ls=":", label="_calibrated")
        axes[0].set(xlabel="confidence", ylabel="share right", xlim=(0, 1), ylim=(0, 1))
    for i, (one, name) in enumerate(zip(found, scene.labels, strict=True)):
        if one.reliability is not None:
            _line(axes[0], one.reliability.confidence, one.reliability.accuracy, i, name)
        chosen = thinned(len(one.risks), _GRID_POINTS)
        style = look(i)
        axes[-1].plot(
            100 * (chosen + 1) / len(one.risks), 100 * one.risks[chosen], color=style.colour, ls=style.dash,
            marker=style.marker, markevery=(5 + 3 * i % 25, 25), label=name,
        )  # fmt: skip
    axes[-1].set(xlabel="coverage, % of queries answered", ylabel="risk, % of answers wrong", xlim=(0, 100))
    axes[-1].set_ylim(bottom=0)
    legend(picture, axes[-1], beside=bool(sure))
    return picture


def _line(axes: Axes, x: npt.NDArray[Any], y: npt.NDArray[Any], i: int, name: str) -> None:
    style = look(i)
    marker = style.marker if len(x) <= _MOST_MARKED else None
    axes.plot(x, y, color=style.colour, ls=style.dash, marker=marker, markeredgewidth=0, label=name)


def _epochs(facts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a record says about each epoch; empty for other facts."""
    training = facts.get("training")
    epochs = training.get("epochs") if isinstance(training, Mapping) else None
    if not isinstance(epochs, Sequence) or isinstance(epochs, str):
        return []
    return [e for e in epochs if isinstance(e, Mapping)]


def _losses(epoch: Mapping[str, Any]) -> dict[str, float]:
    losses = epoch.get("losses")
    return {str(k): _number(v) for k, v in losses.items()} if isinstance(losses, Mapping) else {}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else float("nan")


def _mean(runs: Sequence[Sequence[float]]) -> npt.NDArray[np.float64]:
    """The mean, epoch by epoch, over the seeds that reached it; NaN where none has a value."""
    table = np.full((len(runs), max(map(len, runs))), np.nan)
    for row, values in zip(table, runs, strict=True):
        row[: len(values)] = values
    known = np.isfinite(table)
    return np.asarray(np.where(known.any(axis=0), np.nansum(table, axis=0) / np.maximum(known.sum(axis=0), 1), np.nan))
