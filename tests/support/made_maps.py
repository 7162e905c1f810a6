"""Street maps as files, GeoJSON and OpenStreetMap's XML, and photos on them, drawn in metres."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from support.drawn_streets import ORIGIN, degrees


def feature(name: str | None, points: Any, kind: str = "LineString", **told: Any) -> dict[str, Any]:
    return {"type": "Feature", "properties": {"name": name, **told}, "geometry": {"type": kind, "coordinates": points}}


def lon_lat(*points: tuple[float, float]) -> list[list[float]]:
    return degrees(*points)[:, ::-1].round(7).tolist()  # type: ignore[no-any-return]


def write(path: Path, features: Sequence[Any], **more: Any) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features, **more}), encoding="utf-8")
    return path


def osm_xml(ways: str) -> str:
    at = {i: degrees(p)[0] for i, p in enumerate([(-100, 0), (0, 0), (100, 0), (0, 100), (0, -100), (0, 0)], 1)}
    nodes = "".join(f'<node id="{i}" version="1" lat="{lat:.7f}" lon="{lon:.7f}"/>' for i, (lat, lon) in at.items())
    told = '<tag k="place" v="suburb"/><tag k="name" v="Oakland"/>'
    place = f'<node id="9" version="1" lat="{ORIGIN[0]}" lon="{ORIGIN[1]}">{told}</node>'
    return f'<?xml version="1.0"?><osm version="0.6">{nodes}{place}{ways}</osm>'


def way(number: int, refs: str, **tags: str) -> str:
    told = "".join(f'<tag k="{k}" v="{v}"/>' for k, v in {"highway": "residential", **tags}.items())
    nodes = "".join(f'<nd ref="{r}"/>' for r in refs.split())
    return f'<way id="{number}" version="1">{nodes}{told}</way>'


def photo_table(folder: Path, points: list[tuple[float, float]], header: str = "path,lat,lon,place_id,heading") -> Path:
    """Two photos of a place at each point."""
    rows = [header]
    rng = np.random.default_rng(0)
    for i, (lat, lon) in enumerate(degrees(*points).tolist()):
        for view in (0, 180):
            name = f"{i:02d}_{view}.png"
            Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / name)
            rows.append(f"{name},{lat:.7f},{lon:.7f},p{i:02d},{view}")
    path = folder / "photos.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path
