"""The registry of pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from ial_bench.plots.bars import ablation, by_part, coverage, latency
from ial_bench.plots.city_map import city_map
from ial_bench.plots.curves import distance, loss, reliability, ssa_k
from ial_bench.plots.scene import Scene

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw: TypeAlias = Callable[[Scene], "Figure"]

KINDS: Mapping[str, Draw] = {
    "latency": latency,
    "ssa-k": ssa_k,
    "distance": distance,
    "train-photos": partial(by_part, by="train-photos"),
    "train-distance": partial(by_part, by="train-distance"),
    "heading": partial(by_part, by="heading"),
    "neighbourhood": partial(by_part, by="neighbourhood"),
    "loss": loss,
    "ablation": ablation,
    "coverage": coverage,
    "reliability": reliability,
    "map": city_map,
}
"""By the name to ask for them. Each raises a `BenchError` where the results do not hold what it shows."""
