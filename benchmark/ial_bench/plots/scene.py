"""What pictures are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ial_bench.datasets.dataset import Dataset
from ial_bench.errors import ConfigError, DataError
from ial_bench.plots.style import label
from ial_bench.report.breakdown import titles
from ial_bench.report.groups import Group
from ial_bench.report.selected import Selected

MOST_LINES = 8
"""Methods that one chart of lines shows, where none were named: more cannot be told apart."""


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
        notes: told by whoever draws, for the user.
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
        """Of the groups."""
        return [label(t) for t in titles(self.selected)]

    def of(self, groups: Sequence[Group]) -> Scene:
        """The same of some groups."""
        return replace(self, selected=replace(self.selected, groups=tuple(groups)))

    def lines(self) -> Scene:
        """As many methods as a chart of lines can show: the named ones, else the best that are no oracles."""
        if self.named:
            return self
        ranked = [g for g in self.groups if not g.oracle]
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
