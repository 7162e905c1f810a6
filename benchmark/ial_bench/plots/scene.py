"""What pictures are drawn from, and how they look: widths of a column, colours that all can distinguish."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ial_bench.datasets.dataset import Dataset
from ial_bench.errors import ConfigError, DataError
from ial_bench.escape import one_line
from ial_bench.files import atomic_path, make_folder
from ial_bench.report.groups import Group
from ial_bench.report.selection import Selected, contenders

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTHS = {"single": 3.5, "double": 7.16}
"""Inches: one column of a two-column page, and both."""
FORMATS = ("png", "svg", "pdf")
_DPI = 300
_STEPS = (1, 2, 5), range(1, 10)  # of a decade, ticks of a logarithmic axis
_LONGEST = 60  # characters of a label

# Okabe and Ito (2008) without their yellow, which is lost on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000", "#7F7F7F")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
_DASHES = ("-", "--", "-.", ":")
_HATCHES = ("", "///", "...", "\\\\\\", "xxx", "---", "ooo", "+++")
GREY = "#9A9A9A"

_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture on every machine
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.4,
    "grid.color": "#DDDDDD",
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "text.parse_math": False,  # a title with $ is not a formula
    "svg.fonttype": "none",  # text stays text, in SVG and in PDF
    "pdf.fonttype": 42,
    "svg.hashsalt": "ial-bench",
}
_WITHOUT_DATES: dict[str, dict[str, Any]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


class Look(NamedTuple):
    """How one method differs from the others, in colour and in grey."""

    colour: str
    marker: str
    dash: str
    hatch: str


def look(i: int) -> Look:
    """The look of the i-th method; marker and colour together repeat after 88."""
    turn = i // len(COLOURS)
    return Look(
        COLOURS[i % len(COLOURS)], _MARKERS[i % len(_MARKERS)], _DASHES[(i + turn) % len(_DASHES)],
        _HATCHES[(i + turn) % len(_HATCHES)],
    )  # fmt: skip


@contextmanager
def drawing() -> Iterator[None]:
    """The style, for making pictures and for saving them.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context, rcParamsDefault
    except ImportError as error:
        raise ConfigError("pictures need matplotlib", "pip install 'ial-bench[plot]'") from error
    # The user's matplotlibrc does not change a paper's figures.
    settings: dict[Any, Any] = {k: v for k, v in rcParamsDefault.items() if not k.startswith(("backend", "toolbar"))}
    with rc_context(settings | _RC):
        yield


def figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """An empty picture with axes side by side. It belongs to no window: nothing has to be closed.

    Args:
        width: inches.
        height: inches.
        columns: how many axes.
    """
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    return made, list(made.subplots(1, columns, squeeze=False)[0])


def label(text: str) -> str:
    """`text` on one line, cut where it is long."""
    line = one_line(text)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def legend(picture: Figure, axes: Axes, beside: bool) -> None:
    """Name what is drawn: right of the axes, or below them in a narrow picture."""
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        return
    if beside:
        picture.legend(handles, labels, loc="outside right upper", handlelength=2.6)
    else:
        longest = max(map(len, labels))
        columns = 1 if longest > 32 else 2 if longest > 16 else 3
        picture.legend(handles, labels, loc="outside lower center", ncols=columns, handlelength=2.6)


def log_axis(axis: Any, ticks: list[float]) -> None:
    """Plain numbers at the given ticks of a logarithmic axis."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.10g}"))


def decade_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each decade between two numbers; in a narrow range all of 1 to 9."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    coarse, fine = ([s * 10.0**e for e in decades for s in steps if low <= s * 10.0**e <= high] for steps in _STEPS)
    return coarse if len(coarse) >= 3 else fine


def form_of(path: Path) -> str:
    """The format that a file's name asks for.

    Raises:
        ConfigError: none of `FORMATS`.
    """
    form = path.suffix.removeprefix(".").lower()
    if form not in FORMATS:
        raise ConfigError(f"{path.name}: pictures are {', '.join(FORMATS)}", "for instance --out figure.pdf")
    return form


def save(picture: Figure, path: Path) -> None:
    """Store a picture, whole or not at all: the same bytes for the same picture.

    Raises:
        ConfigError: no known format.
        StorageError: the folder cannot be written to.
    """
    form = form_of(path)
    make_folder(path.parent)
    with drawing(), atomic_path(path) as temporary:
        picture.savefig(temporary, format=form, dpi=_DPI, metadata=_WITHOUT_DATES[form])


MOST_LINES = 8
"""Methods that one chart of lines shows, where none were named: more cannot be distinguished."""


@dataclass(frozen=True)
class Scene:
    """Runs, and how their picture is wanted.

    Attributes:
        selected: the runs.
        named: whether they were named, and not simply all.
        metric: a mean over queries.
        width: inches; None: what suits the picture.
        logits: names of the methods whose scores are logits.
        dataset: the one that was run on, where it is at hand.
        notes: for the user, added while drawing.
    """

    selected: Selected
    named: bool = False
    metric: str = "SSA-1"
    width: float | None = None
    logits: frozenset[str] = frozenset()
    dataset: Dataset | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The runs."""
        return self.selected.groups

    @property
    def labels(self) -> list[str]:
        """The labels of the groups."""
        return [label(t) for t in self.selected.titles]

    def of(self, groups: Sequence[Group]) -> Scene:
        """The same scene with some groups."""
        return replace(self, selected=replace(self.selected, groups=tuple(groups)))

    def lines(self) -> Scene:
        """As many methods as a chart of lines can show: the named ones, else the best apart from oracles."""
        if self.named:
            return self
        ranked = contenders(self.groups)
        if not ranked:
            raise DataError("there are no runs but of oracles", "name them, or run another method")
        if len(ranked) > MOST_LINES:
            self.notes.append(f"the {MOST_LINES} best of {len(ranked)} are drawn; name methods to choose others")
        return self.of(ranked[:MOST_LINES])


def stored(group: Group, metric: str) -> tuple[float, float, float]:
    """An accuracy and the ends of its interval, means over seeds, as records have them.

    Raises:
        ConfigError: the records do not have it.
    """
    found = [r.metrics.accuracy.get(metric) for r in group.runs if r.metrics]
    if not found or any(f is None for f in found):
        raise ConfigError(f"the records of {group.method} hold no {metric}", "for instance --metric SSA-1")
    ends = [(f.value, *(f.ci95 or (f.value, f.value))) for f in found if f is not None]
    value, low, high = np.mean(ends, axis=0)
    return float(value), float(low), float(high)
