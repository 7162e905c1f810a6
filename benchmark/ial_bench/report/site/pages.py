"""The report's pages: templates filled in, with everything escaped, and what the page of one run shows.

That page has the run's numbers, its accuracy by street and neighbourhood, and charts of its training. Charts are drawn
here as SVG, so that a page needs no script to show them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ial_bench import __version__
from ial_bench.engine.record import Interval, Metrics, RunRecord
from ial_bench.errors import ConfigError
from ial_bench.escape import file_name, printable, short
from ial_bench.metrics.accuracy import Areas

if TYPE_CHECKING:
    from jinja2 import Environment

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""What a browser lets the pages use: files of their own folder. Nothing inline runs, and nothing is fetched."""
_PACKAGE = "ial_bench.report.site"
_MOST_IN_A_VALUE = 2_000


def render(template: str, **values: Any) -> str:
    """A page. All texts among `values` are escaped and made printable.

    Raises:
        ConfigError: jinja2 is not installed.
    """
    # `frame-ancestors` counts in a header alone; in a page browsers report it as an error.
    policy = POLICY.rpartition("; ")[0]
    return _environment().get_template(f"{template}.html.j2").render(version=__version__, policy=policy, **values)


def check_installed() -> None:
    """Fail before any work is done.

    Raises:
        ConfigError: jinja2 is not installed.
    """
    _environment()


def assets() -> dict[str, bytes]:
    """Style sheets and scripts of the pages, by name."""
    folder = files(_PACKAGE).joinpath("assets")
    return {f.name: f.read_bytes() for f in sorted(folder.iterdir(), key=lambda f: f.name) if f.is_file()}


@cache
def _environment() -> Environment:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise ConfigError("the report needs jinja2", "pip install 'ial-bench[report]'") from error
    environment = Environment(
        loader=PackageLoader(_PACKAGE), autoescape=True, undefined=StrictUndefined, finalize=_finalize,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters |= {
        "short": short, "value": value_text, "percent": percent, "count": lambda n: f"{n:,}",
    }  # fmt: skip
    return environment


def _finalize(value: Any) -> Any:
    """Every text that is shown, except what the templates themselves made."""
    return printable(value) if type(value) is str else value


def percent(fraction: float | None, digits: int = 1) -> str:
    """A fraction in percent, without the sign; empty for None."""
    return "" if fraction is None else f"{100 * fraction:.{digits}f}"


def value_text(value: Any) -> str:
    """A JSON value as a person reads it, cut where it is long."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return printable(text, _MOST_IN_A_VALUE)


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Keys and values of nested objects, keys joined by dots."""
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value and prefix.count(".") < 4:
            found += flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value))
    return found


_MOST_STREETS = 2_000  # rows of a table


def page_of(record: RunRecord) -> str:
    """Where a run's page lies, below its dataset's folder."""
    return f"runs/{file_name(record.method.name)}-{file_name(record.run_id)}.html"


def run_values(
    record: RunRecord, label: str, breakdown: tuple[Sequence[Share], Sequence[Share]] | None, problem: str
) -> dict[str, Any]:
    """The values of the template ``run``.

    Args:
        record: of the run.
        label: its title.
        breakdown: shares of right answers by neighbourhood and by street; None where its answers are not shown.
        problem: why they are not; empty for nothing to say.
    """
    by_area, by_street = breakdown or ((), ())
    drawn = charts(record.method.facts)
    facts = {k: v for k, v in record.method.facts.items() if k != "training" or not drawn}
    method = record.method.model_dump(exclude={"config", "facts"}, exclude_none=True)
    costs = {
        **({} if record.phases is None else record.phases.model_dump(exclude_none=True)),
        **({} if record.size is None else record.size.model_dump()),
    }
    return {
        "record": record, "label": label, "shown": breakdown is not None, "problem": problem, "charts": drawn,
        "by_area": by_area, "by_street": by_street[:_MOST_STREETS], "n_streets": len(by_street),
        "metrics": [] if record.metrics is None else _intervals(record.metrics), "told": flat(facts),
        "costs": [(k, float(f"{v:.6g}") if isinstance(v, float) else v) for k, v in flat(costs)],
        "config": flat(record.method.config),
        "method": [*flat(method), ("stored answers", record.k), ("number type", record.dtype)],
        "dataset": flat(record.dataset.model_dump()), "provenance": flat(record.provenance.model_dump()),
    }  # fmt: skip


def _intervals(metrics: Metrics) -> list[tuple[str, Interval]]:
    radii: list[tuple[str, Interval]] = [
        (f"within {name.removeprefix('within_')} m", getattr(metrics.distance_m, name))
        for name in type(metrics.distance_m).model_fields
        if name.startswith("within_")
    ]
    return [*metrics.accuracy.items(), *radii]


Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Share:
    """How many of the queries of one area are right.

    Attributes:
        name: of the neighbourhood or the street.
        within: the neighbourhood of a street.
        queries: how many.
        right: fraction with the right sub-street first (SSA-1).
        street: fraction with the right street first (SA-1).
    """

    name: str
    within: str
    queries: int
    right: float
    street: float


def shares(
    areas: Areas, address_rows: npt.NDArray[np.integer], right: Floats, street: Floats
) -> tuple[list[Share], list[Share]]:
    """By neighbourhood and by street, those with most queries first.

    Args:
        areas: of all addresses.
        address_rows: [n], the address of each query.
        right: [n], 0 to 1.
        street: [n], 0 to 1.
    """
    streets = areas.street_of[address_rows]
    by_area = _shares(areas.neighbourhoods, None, areas.neighbourhood_of[streets], right, street)
    within = [areas.neighbourhoods[i] for i in areas.neighbourhood_of]
    return by_area, _shares(areas.streets, within, streets, right, street)


def _shares(names: list[str], within: list[str] | None, rows: Ints, right: Floats, street: Floats) -> list[Share]:
    counts, rights, on_street = (np.bincount(rows, w, minlength=len(names)) for w in (None, right, street))
    found = [
        Share(name, within[i] if within else "", int(counts[i]), float(rights[i] / counts[i]),
              float(on_street[i] / counts[i]))
        for i, name in enumerate(names)
        if counts[i]
    ]  # fmt: skip
    return sorted(found, key=lambda s: (-s.queries, s.within, s.name))


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
        best: x of the epoch that was kept, None where it is not known.
    """

    title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    best: float | None

    width, height = WIDTH, HEIGHT
    left, right, top, bottom = _LEFT, WIDTH - _RIGHT, _TOP, HEIGHT - _BOTTOM


def charts(facts: Mapping[str, Any]) -> list[Chart]:
    """Losses and val SSA-1 by epoch, from what trained methods record of their fit; empty for other facts."""
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
