"""How a training went, as line charts in SVG: drawn here, so that a page needs no script to show them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 480, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 12, 34
_MOST_LINES = 6
_MOST_POINTS = 5_000


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        name: what it shows.
        path: of its points, in the chart's own units.
        dots: x, y and value of each point, where they are few.
    """

    name: str
    path: str
    dots: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True)
class Chart:
    """A chart: lines over epochs.

    Attributes:
        title: what its lines show.
        lines: at least one.
        x_ticks: x and text.
        y_ticks: y and text.
        best: x of the epoch that was kept, None where none is told.
    """

    title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    best: float | None

    width, height = WIDTH, HEIGHT
    left, right, top, bottom = _LEFT, WIDTH - _RIGHT, _TOP, HEIGHT - _BOTTOM


def charts(facts: Mapping[str, Any]) -> list[Chart]:
    """Losses and val SSA-1 by epoch, of what methods that are trained tell of their fit. None of other facts."""
    training = facts.get("training")
    epochs = training.get("epochs") if isinstance(training, Mapping) else None
    if not isinstance(epochs, Sequence) or isinstance(epochs, str):
        return []
    epochs = [e if isinstance(e, Mapping) else {} for e in epochs[:_MOST_POINTS]]
    losses = [e["losses"] if isinstance(e.get("losses"), Mapping) else {} for e in epochs]
    names = list(dict.fromkeys(str(n) for each in losses for n in each))[:_MOST_LINES]
    best = training.get("best_epoch") if isinstance(training, Mapping) else None
    kept = best if isinstance(best, int) and 1 <= best <= len(epochs) else None
    found = [
        _chart("loss", {n: [_number(each.get(n)) for each in losses] for n in names}, kept),
        _chart("val SSA-1, %", {"val SSA-1": [_percent(e.get("val_ssa1")) for e in epochs]}, kept),
    ]
    return [c for c in found if c is not None]


def _chart(title: str, series: Mapping[str, list[float | None]], kept: int | None) -> Chart | None:
    values = [v for line in series.values() for v in line if v is not None]
    if not values:
        return None
    n = max(len(line) for line in series.values())
    ticks = _ticks(min(values), max(values))
    low, high = min(ticks[0], *values), max(ticks[-1], *values)

    def x(epoch: float) -> float:
        inside = WIDTH - _LEFT - _RIGHT
        return round(_LEFT + inside * ((epoch - 1) / (n - 1) if n > 1 else 0.5), 2)

    def y(value: float) -> float:
        return round(_TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - (value - low) / (high - low)), 2)

    lines = []
    for name, line in series.items():
        points = [(x(i), y(v), f"epoch {i}: {v:.4g}") for i, v in enumerate(line, 1) if v is not None]
        if points:
            path = "M" + "L".join(f"{a} {b}" for a, b, _ in points)
            lines.append(Line(name, path, tuple(points) if n <= 60 else ()))
    step = max(1, math.ceil(n / 8))
    epochs = [e for e in range(1, n + 1) if e == 1 or e % step == 0]
    return Chart(
        title, tuple(lines), tuple((x(e), str(e)) for e in epochs), tuple((y(t), f"{t:g}") for t in ticks),
        None if kept is None else x(kept),
    )  # fmt: skip


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers around `low` to `high`."""
    spread = high - low or abs(high) or 1.0
    rough = spread / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


def _number(value: Any) -> float | None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e30
    return float(value) if good else None


def _percent(value: Any) -> float | None:
    number = _number(value)
    return None if number is None else 100 * number
