"""A map as inline SVG: sub-streets in colours, places on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ial_bench.geo.lines import Floats
from ial_bench.geo.projections import to_local_m
from ial_bench.report.escape import escape_html

if TYPE_CHECKING:
    from ial_bench.partition.dataset import Build

_WIDTH = 1000.0
_MARGIN_M = 150.0
_GOLDEN_ANGLE = 137.508  # neighbours in number are far apart in hue
MOST_PLACES = 20_000
"""More places are thinned evenly: a browser draws no more in good time."""


def svg_map(build: Build) -> str:
    """The part of the city where the photos are, north up."""
    origin = build.network.origin
    points = to_local_m(np.array([p.position for p in build.places]), origin)
    low, high = np.percentile(points, [1, 99], axis=0)  # a stray photo would make the rest a dot
    low, high = low - _MARGIN_M, high + _MARGIN_M
    scale = _WIDTH / max(float(high[0] - low[0]), float(high[1] - low[1]) / 2)
    width, height = (float(v) for v in (high - low) * scale)

    def draw(line: Floats) -> Floats:
        return np.stack([(line[:, 0] - low[0]) * scale, (high[1] - line[:, 1]) * scale], axis=1)

    stroke = max(1.0, min(6.0, 8.0 * scale))
    label = "role=img aria-label='Map of sub-streets and places'"
    parts = [f"<svg viewBox='0 0 {width:.0f} {height:.0f}' {label} fill=none stroke-linecap=round>"]
    plain, coloured = [], []
    for sub, row in zip(build.partition.subs, build.address_of.tolist(), strict=True):
        paths = [_path(draw(p.metres)) for p in sub.pieces if _meets(p.metres, low, high)]
        if not paths:
            continue
        if row < 0:
            plain += paths
        else:
            title = escape_html(build.addresses[row].text)
            look = f"stroke='{_colour(row)}' stroke-width='{stroke:.1f}'"
            coloured.append(f"<path d='{''.join(paths)}' {look}><title>{title}</title></path>")
    parts.append(f"<path d='{''.join(plain)}' stroke='#ccc' stroke-width='{stroke / 2:.1f}'/>")
    parts += coloured
    step = max(1, -(-len(points) // MOST_PLACES))
    for i in range(0, len(points), step):
        ((x, y),) = draw(points[i : i + 1])
        where = int(build.match.subs[i])
        row = int(build.address_of[where]) if where >= 0 else -1
        title = escape_html(f"{build.places[i].name}: {build.match.how[i]}")
        if row < 0:
            r = stroke * 0.8
            cross = f"M{x - r:.1f} {y - r:.1f}l{2 * r:.1f} {2 * r:.1f}m0 {-2 * r:.1f}l{-2 * r:.1f} {2 * r:.1f}"
            parts.append(f"<path d='{cross}' stroke='#000'><title>{title}</title></path>")
        else:
            parts.append(
                f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{stroke * 0.6:.1f}' fill='{_colour(row)}' stroke='#333' "
                f"stroke-width='0.5'><title>{title}</title></circle>"
            )
    return "\n".join([*parts, "</svg>"])


def _path(points: Floats) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points.tolist())


def _meets(line: Floats, low: Floats, high: Floats) -> bool:
    return bool((line.max(axis=0) >= low).all() and (line.min(axis=0) <= high).all())


def _colour(row: int) -> str:
    return f"hsl({row * _GOLDEN_ANGLE % 360:.0f} 70% {38 + 14 * (row % 2)}%)"
