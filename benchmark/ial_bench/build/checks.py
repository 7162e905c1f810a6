"""Faults of positions that would otherwise end in a dataset of nothing: degrees that are none, two cities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ial_bench.build.network import Edge
from ial_bench.build.photos import PhotoSet
from ial_bench.errors import DataError
from ial_bench.geo.points import Points, valid

_MARGIN_DEG = 0.01  # about a kilometre
_SWAP = "swap the two columns, or the two numbers of each GeoJSON point: GeoJSON writes longitude first"


def check_degrees(photos: PhotoSet, source: Path) -> None:
    """Set photos aside whose positions are no latitude and longitude.

    Raises:
        DataError: more than half of them are; it says what they look like.
    """
    positions = photos.positions
    fine = valid(positions)
    if (~fine).sum() * 2 > len(fine):
        lat, lon = positions[~fine][0]
        if valid(positions[~fine][:, ::-1]).all():
            raise DataError(
                f"{source} has latitude and longitude swapped: {lat:g} is no latitude, {lon:g} could be one", _SWAP
            )
        raise DataError(
            f"{source} has positions that are no degrees, such as {lat:g}, {lon:g}: they look like metres of a map "
            "projection",
            "give lat and lon in WGS84 degrees",
        )
    kept = []
    for photo, good in zip(photos.photos, fine.tolist(), strict=True):
        if good:
            kept.append(photo)
        else:
            photos.set_aside.append((photo.photo_id, f"no latitude and longitude: {photo.lat:g}, {photo.lon:g}"))
    photos.photos = kept


def check_overlap(positions: Points, edges: Sequence[Edge]) -> None:
    """Streets and photos must be of one city.

    Raises:
        DataError: no photo lies in the box of the streets; it shows both boxes, and says so if swapping latitude and
            longitude would help.
    """
    corners = np.concatenate([e.points for e in edges])
    low, high = corners.min(axis=0), corners.max(axis=0)

    def inside(points: Points) -> bool:
        return bool(((points >= low - _MARGIN_DEG) & (points <= high + _MARGIN_DEG)).all(axis=1).any())

    if inside(positions):
        return
    boxes = f"photos lie in {_box(positions.min(axis=0), positions.max(axis=0))}, streets in {_box(low, high)}"
    if inside(positions[:, ::-1]):
        raise DataError(
            f"photos and streets do not meet, but would with latitude and longitude swapped: {boxes}", _SWAP
        )
    raise DataError(f"no photo lies near the streets: {boxes}", "give the street map of the city that the photos show")


def _box(low: Points, high: Points) -> str:
    return f"lat {low[0]:.5f} to {high[0]:.5f}, lon {low[1]:.5f} to {high[1]:.5f}"
