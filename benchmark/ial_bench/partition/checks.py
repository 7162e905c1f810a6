"""Faults of positions that would otherwise end in a dataset of nothing: degrees that are none, several cities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ial_bench.errors import DataError
from ial_bench.geo.points import Points, haversine_m, middle, rolled, signed, unrolled, valid
from ial_bench.partition.network import Edge, StreetSource
from ial_bench.partition.photos import PhotoSet

_MARGIN_DEG = 0.01  # about a kilometre
_REACH_M = 1e6  # where local metres are 0.4 % long
_STRAYS = 0.1  # of the photos, at most: what wrong positions may be
_SWAP = "swap the two columns, or the two numbers of each GeoJSON point: GeoJSON writes longitude first"


def check_degrees(photos: PhotoSet, source: Path) -> None:
    """Set photos aside whose positions are no latitude and longitude; longitudes to 360 are brought within 180.

    Raises:
        DataError: more than half of them are; it says what they look like.
    """
    positions = signed(photos.positions)
    photos.photos = [replace(p, lon=lon) for p, lon in zip(photos.photos, positions[:, 1].tolist(), strict=True)]
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


def check_reach(photos: PhotoSet) -> Points:
    """The middle of the photos, [2] degrees, without those that are too far from it for metres to be true.

    Raises:
        DataError: these are more than strays: the photos are of several cities.
    """
    far = haversine_m(photos.positions, middle(photos.positions)) > _REACH_M
    if far.sum() > _STRAYS * len(far):
        raise DataError(
            f"{far.sum():,} of {len(far):,} photos lie more than {_REACH_M / 1e3:,.0f} km from the middle of all: "
            "they are of several cities",
            "build a dataset of each, then `bench data join`",
        )
    for photo, away in zip(photos.photos, far.tolist(), strict=True):
        if away:
            photos.set_aside.append(
                (photo.photo_id, f"more than {_REACH_M / 1e3:,.0f} km from the middle of all photos")
            )
    photos.photos = [p for p, away in zip(photos.photos, far.tolist(), strict=True) if not away]
    return middle(photos.positions)


def lines_in_reach(source: StreetSource, origin: Points) -> StreetSource:
    """The lines of which a part is not too far from `origin` for metres to be true; all, where none of these is.

    A country's map may have islands on the other side of the Earth.
    """
    lengths = np.array([len(s.points) for s in source.segments], dtype=np.int64)
    points = np.concatenate([np.zeros((0, 2)), *(s.points for s in source.segments)])
    owners = np.repeat(np.arange(len(lengths)), lengths)
    near = np.bincount(owners, haversine_m(points, origin) <= _REACH_M, minlength=len(lengths)) > 0
    kept = [s for s, one in zip(source.segments, near.tolist(), strict=True) if one]
    if not any(s.name for s in kept):
        return source
    far = Counter({f"more than {_REACH_M / 1e3:,.0f} km from the photos": len(near) - len(kept)})
    return replace(source, segments=kept, skipped=source.skipped + far)


def check_overlap(positions: Points, edges: Sequence[Edge]) -> None:
    """Streets and photos must be of one city.

    Raises:
        DataError: no photo lies in the box of the streets; it shows both boxes, and says so if swapping latitude and
            longitude would help.
    """
    corners = unrolled(rolled(np.concatenate([e.points for e in edges])))
    low, high = corners.min(axis=0), corners.max(axis=0)

    def inside(points: Points) -> bool:
        turned = (points + np.array([0, turn]) for turn in (-360, 0, 360))
        return any(bool(((p >= low - _MARGIN_DEG) & (p <= high + _MARGIN_DEG)).all(axis=1).any()) for p in turned)

    if inside(positions):
        return
    together = unrolled(positions)
    boxes = f"photos lie in {_box(together.min(axis=0), together.max(axis=0))}, streets in {_box(low, high)}"
    if inside(positions[:, ::-1]):
        raise DataError(
            f"photos and streets do not meet, but would with latitude and longitude swapped: {boxes}", _SWAP
        )
    raise DataError(f"no photo lies near the streets: {boxes}", "give the street map of the city that the photos show")


def _box(low: Points, high: Points) -> str:
    low, high = rolled(low), rolled(high)
    return f"lat {low[0]:.5f} to {high[0]:.5f}, lon {low[1]:.5f} to {high[1]:.5f}"
