"""Where in the city a method is right: queries over the street network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ial_bench.errors import DataError
from ial_bench.geo.points import Points, middle
from ial_bench.geo.projections import to_local_m
from ial_bench.metrics.confusion import Miss
from ial_bench.metrics.intervals import Ints
from ial_bench.plots.scene import COLOURS, GREY, WIDTHS, Scene, figure, label, legend
from ial_bench.report.breakdown import FirstAnswers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MANY = 20_000  # queries that are drawn as pixels: as shapes they would fill the file
_AHEAD = 0.007  # of the city's extent: a query is drawn so far ahead of where it was taken
_HIGHEST = 7.0  # inches
_KINDS = (("right", COLOURS[0], "o", 6.0), ("near", COLOURS[3], "^", 9.0), ("wrong", COLOURS[1], "x", 8.0))


def city_map(scene: Scene) -> Figure:
    """First answers of one method: right, near (the next sub-street of the street) or wrong.

    Each query is drawn a little ahead of its position, in the direction the camera looked, so that views of one place
    do not hide each other.
    """
    group, name = scene.groups[0], scene.labels[0]
    truth = scene.selected.answers.truth
    found = FirstAnswers.of(scene.selected.answers, group)
    n = len(truth)
    if not n:
        raise DataError("there are no queries", "draw another dataset")
    if not truth.has_positions:
        dataset = scene.selected.dataset
        problem = f"the results of {dataset!r} were passed on without positions"
        raise DataError(problem, f"`bench score --dataset {dataset}` writes them, where the dataset is")
    if len(scene.groups) > 1:
        scene.notes.append(f"the map shows {name}; name another method to see it")
    if len(group.runs) > 1:
        scene.notes.append(f"the map shows seed {group.runs[0].seed}")
    kinds = _kind(found.misses[:n])
    origin = middle(truth.positions)
    where = to_local_m(truth.positions, origin)
    streets = _streets(scene, origin)
    drawn = [where, *streets] if streets else [where, to_local_m(truth.candidate_positions, origin)]
    every = np.concatenate(drawn)
    low, high = np.nanmin(every, axis=0), np.nanmax(every, axis=0)
    extent = float((high - low).max()) or 1.0
    angle = np.radians(truth.headings.astype(np.float64))
    ahead = np.stack([np.sin(angle), np.cos(angle)], axis=1) * _AHEAD * extent
    where = where + np.where(np.isfinite(ahead), ahead, 0.0)
    width = scene.width or WIDTHS["double"]
    sides = high - low + 0.06 * extent
    picture, (axes,) = figure(width, float(np.clip(width * sides[1] / sides[0], 1.5, _HIGHEST)) + 0.4)
    _ground(axes, streets, drawn[1])
    for i, (word, colour, marker, size) in enumerate(_KINDS):
        rows = where[kinds == i]
        edge: dict[str, Any] = {"linewidths": 0.9} if marker == "x" else {"linewidths": 0}
        axes.scatter(
            rows[:, 0], rows[:, 1], s=size, color=colour, marker=marker, rasterized=n > _MANY, zorder=2 + i,
            label=f"{word} ({len(rows):,})", **edge,
        )  # fmt: skip
    axes.set_aspect("equal")
    axes.set(
        xlim=(low[0] - 0.03 * extent, high[0] + 0.03 * extent), ylim=(low[1] - 0.03 * extent, high[1] + 0.03 * extent)
    )
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    _scale_bar(axes, extent)
    picture.suptitle(f"{name}, {label(scene.selected.dataset)}", fontsize=8)
    legend(picture, axes, beside=False)
    return picture


def _kind(misses: Ints) -> Ints:
    """[n]: row of `_KINDS`."""
    return np.select([misses == Miss.RIGHT, misses == Miss.NEXT], [0, 1], 2)


def _streets(scene: Scene, origin: Points) -> list[Points]:
    """Lines of the dataset's streets, metres; none where the dataset or its streets are not at hand."""
    lines = None if scene.dataset is None else scene.dataset.streets
    if lines is None:
        scene.notes.append("no street network at hand: the map shows the addresses' centroids")
        return []
    points = to_local_m(lines.points, origin)
    return [points[a:b] for a, b in zip(lines.starts[:-1], lines.starts[1:], strict=True)]


def _ground(axes: Axes, streets: list[Points], centres: Points) -> None:
    if streets:
        from matplotlib.collections import LineCollection

        axes.add_collection(LineCollection(streets, colors="#BBBBBB", linewidths=1.6, zorder=1, capstyle="round"))
    else:
        axes.scatter(centres[:, 0], centres[:, 1], s=14, marker="s", color="none", edgecolor=GREY, lw=0.6, zorder=1)


def _scale_bar(axes: Axes, extent: float) -> None:
    """A bar of a round length, about a fifth of the city, below it on the left."""
    rough = extent / 5
    power = 10.0 ** np.floor(np.log10(rough))
    length = next(s * power for s in (5, 2, 1) if s * power <= rough)
    x, y = axes.get_xlim()[0], axes.get_ylim()[0]
    axes.plot([x, x + length], [y, y], color="black", lw=1.5, clip_on=False, label="_scale")
    text = f"{length:g} m" if length < 1000 else f"{length / 1000:g} km"
    axes.annotate(text, (x + length / 2, y), (0, 2), textcoords="offset points", ha="center", va="bottom", fontsize=7)
