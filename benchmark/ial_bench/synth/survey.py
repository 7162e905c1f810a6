"""Where a city lies that is drawn on a street map, and what it was drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ial_bench.geo.points import Points
from ial_bench.synth.scene import Floats


@dataclass(frozen=True)
class Survey:
    """What ties a drawn city to a real map.

    Attributes:
        source: the map and what was taken of it, for ``dataset.toml``.
        title: for people.
        licence: terms, in the user's words.
        origin: [2], degrees, where local metres start.
        corner: [2], local metres, where the city's x = y = 0 lies.
        lines: of each sub-street, its lines on the map, [points, 2] degrees each.
    """

    source: dict[str, Any]
    title: str
    licence: str
    origin: Points
    corner: Floats
    lines: Sequence[Sequence[Points]]
