"""A small made street map, with a bend, a diagonal, a T-junction and a dead end, as GeoJSON; houses as polygons."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import shapely

from ial_bench.synth.scene import Boxes
from support.drawn_streets import degrees

STREETS: dict[str, tuple[tuple[float, float], ...]] = {
    "Main Street": ((0, 0), (150, 0), (300, 60), (420, 60)),
    "Oak Street": ((0, -150), (0, 0), (0, 150)),
    "Diagonal Road": ((150, 0), (290, -150)),
    "Blind Alley": ((0, 150), (130, 150)),
    "Elm Street": ((300, 60), (300, 220)),
    "South Street": ((0, -150), (290, -150)),
}
"""Metres east and north of `drawn_streets.ORIGIN`."""

ADDRESSES = [
    "Blind Alley, Old Town (Oak Street)",
    "Diagonal Road, Old Town (Main Street, South Street)",
    "Elm Street, Old Town (Main Street)",
    "Main Street, Old Town (Diagonal Road, Elm Street)",
    "Main Street, Old Town (Diagonal Road, Oak Street)",
    "Main Street, Old Town (Elm Street)",
    "Oak Street, Old Town (Blind Alley, Main Street)",
    "Oak Street, Old Town (Main Street, South Street)",
    "South Street, Old Town (Diagonal Road, Oak Street)",
]


def write_map(path: Path, streets: dict[str, tuple[tuple[float, float], ...]] | None = None) -> Path:
    """A GeoJSON file of streets."""
    features = [
        {
            "type": "Feature",
            "properties": {"name": name, "nhood": "Old Town"},
            "geometry": {"type": "LineString", "coordinates": np.round(degrees(*points)[:, ::-1], 9).tolist()},
        }
        for name, points in (STREETS if streets is None else streets).items()
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def footprints(boxes: Boxes) -> list[shapely.Polygon]:
    """The ground plan of each building."""
    found = []
    for (u0, v0, u1, v1), (x, y) in zip(boxes.bounds.tolist(), boxes.turn.tolist(), strict=True):
        corners = ((u0, v0), (u1, v0), (u1, v1), (u0, v1))
        found.append(shapely.Polygon([(u * x - v * y, u * y + v * x) for u, v in corners]))
    return found
