"""Which photos are for training and which are queries: by place, heading, date, or a list."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ial_bench.datasets.columns import read_csv
from ial_bench.datasets.importing.photo_files import keyed_as, plain_path
from ial_bench.datasets.photos import SPLITS
from ial_bench.datasets.places import cut_val
from ial_bench.errors import ConfigError, DataError
from ial_bench.geo.points import Points, box_middle
from ial_bench.geo.projections import to_local_m
from ial_bench.partition.exif import date_of
from ial_bench.partition.photos import SourcePhoto

KINDS = ("place", "heading", "date", "list")
HEADING_TOLERANCE = 30.0
_LEAST_BLOCK_M = 50.0


@dataclass(frozen=True)
class SplitRule:
    """How photos are parted.

    Attributes:
        kind: one of `KINDS`.
        query_fraction: by place: share of the photos that are queries.
        gap_m: by place: train places nearer to a query place are set aside, and query places come in blocks of at
            least four times this.
        headings: by heading: photos within `HEADING_TOLERANCE` degrees of one of these are queries.
        since: by date: photos of this moment, in one of the forms of `date_of`, or later are queries.
        listing: by list: a CSV with the columns photo_id (or path) and split.
        val_fraction: share of the train photos, by place, that becomes val.
        seed: of the draws.
    """

    kind: str = "place"
    query_fraction: float = 0.25
    gap_m: float = 0.0
    headings: tuple[float, ...] = ()
    since: str = ""
    listing: Path | None = None
    val_fraction: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"--split {self.kind} is unknown", f"choose one of {', '.join(KINDS)}")
        for name, share in (("query", self.query_fraction), ("val", self.val_fraction)):
            if not 0 <= share < 1:
                raise ConfigError(f"--{name}-fraction {share} is not in [0, 1)", "give a share such as 0.1")
        if not 0 <= self.gap_m < np.inf:
            raise ConfigError(f"--gap {self.gap_m} is no distance", "give metres, such as 20")
        needs = {
            "heading": (self.headings, "--query-headings 90,270"),
            "date": (self.since, "--query-since 2024-01-01"),
            "list": (self.listing, "--split-list CSV"),
        }
        if self.kind in needs and not needs[self.kind][0]:
            raise ConfigError(f"--split {self.kind} needs to know which", f"give {needs[self.kind][1]}")
        if self.kind == "date":
            self.first_query()

    def first_query(self) -> datetime:
        """By date: from when on photos are queries."""
        try:
            found = date_of(self.since)
        except ValueError:
            found = None
        if found is None:
            raise ConfigError(f"--query-since {self.since!r} is no date", "write it as 2024-01-31")
        return found

    def to_json(self) -> dict[str, Any]:
        """The rule as ``dataset.toml`` has it."""
        by_kind: dict[str, dict[str, Any]] = {
            "place": {"query_fraction": self.query_fraction, "gap_m": self.gap_m},
            "heading": {"query_headings": list(self.headings), "tolerance_degrees": HEADING_TOLERANCE},
            "date": {"query_since": self.since},
            "list": {"list": self.listing.name if self.listing else ""},
        }
        return {"kind": self.kind, **by_kind[self.kind], "val_fraction": self.val_fraction, "seed": self.seed}


@dataclass(frozen=True)
class PhotoSplits:
    """The split and the place of each photo.

    Attributes:
        splits: [n], the split of each photo, empty where it is set aside.
        places: [n], the place of each photo; photos of one place in several splits are marked by ``@split``.
        reasons: [n], why a photo is set aside, else empty.
        straddling: places that have photos in several splits.
    """

    splits: list[str]
    places: list[str]
    reasons: list[str]
    straddling: int


def split_photos(
    rule: SplitRule,
    photos: Sequence[SourcePhoto],
    places: Sequence[str],
    positions: Points,
    addresses: npt.NDArray[np.int64],
) -> PhotoSplits:
    """Put photos into splits. The outcome does not depend on their order.

    By place, every address keeps a place to train on; by the other rules it may not.

    Args:
        rule: how.
        photos: n photos.
        places: [n], the place of each.
        positions: [n, 2], of the place of each, degrees.
        addresses: [n], the address of each, as a number.

    Raises:
        DataError: the list of splits cannot be read, names a split that does not exist, or none of the photos.
    """
    ways = {
        "place": lambda: _by_place(rule, places, positions, addresses),
        "heading": lambda: _by_heading(rule, photos),
        "date": lambda: _by_date(rule, photos),
        "list": lambda: _by_list(rule, photos),
    }
    splits, reasons = ways[rule.kind]()
    named, straddling = _apart_by_split(places, splits)
    if "val" not in set(splits):
        train = np.flatnonzero(splits == "train")
        in_val = cut_val([named[i] for i in train], addresses[train], rule.val_fraction, rule.seed)
        splits[train[in_val]] = "val"
    return PhotoSplits([str(s) for s in splits], named, reasons, straddling)


_Split = tuple[npt.NDArray[np.object_], list[str]]
"""[n] the split of each photo, empty where it is set aside; [n] why it is."""


def _by_place(rule: SplitRule, places: Sequence[str], positions: Points, addresses: npt.NDArray[np.int64]) -> _Split:
    splits, reasons = _all_train(len(places))
    blocks = _blocks(places, positions, rule.gap_m)
    splits[cut_val(blocks, addresses, rule.query_fraction, rule.seed)] = "query"
    for i in _too_near(splits, positions, rule.gap_m):
        splits[i], reasons[i] = "", f"nearer than {rule.gap_m:g} m to a query place"
    return splits, reasons


def _by_heading(rule: SplitRule, photos: Sequence[SourcePhoto]) -> _Split:
    splits, reasons = _all_train(len(photos))
    splits[[any(_apart(p.heading, h) <= HEADING_TOLERANCE for h in rule.headings) for p in photos]] = "query"
    return splits, reasons


def _by_date(rule: SplitRule, photos: Sequence[SourcePhoto]) -> _Split:
    splits, reasons = _all_train(len(photos))
    since = rule.first_query()
    for i, photo in enumerate(photos):
        if photo.taken is None:
            splits[i], reasons[i] = "", "no date"
        elif photo.taken >= since:
            splits[i] = "query"
    return splits, reasons


def _by_list(rule: SplitRule, photos: Sequence[SourcePhoto]) -> _Split:
    assert rule.listing is not None  # noqa: S101 - checked when the rule was made
    listed = keyed_as(_read_list(rule.listing), [name for p in photos for name in (p.photo_id, p.path)])
    splits, reasons = _all_train(len(photos))
    for i, photo in enumerate(photos):
        splits[i] = listed.get(photo.photo_id, listed.get(photo.path, ""))
        reasons[i] = "" if splits[i] else "not in the list of splits"
    if photos and not any(splits):
        first = next(iter(listed), None)
        rows = "it has no rows" if first is None else f"it has {first!r}, photos are called as {photos[0].photo_id!r}"
        raise DataError(f"no photo is in the list of splits {rule.listing}: {rows}", "list photos by id, or by path")
    return splits, reasons


def _all_train(n: int) -> _Split:
    return np.full(n, "train", dtype=object), [""] * n


def _blocks(places: Sequence[str], positions: Points, gap_m: float) -> list[str]:
    """What is drawn together: places, or with a gap squares of the city, so that few places lie at a border."""
    if not gap_m:
        return list(places)
    side = max(4 * gap_m, _LEAST_BLOCK_M)
    metres = to_local_m(positions, box_middle(positions))
    return [f"{x} {y}" for x, y in np.floor(metres / side).astype(np.int64).tolist()]


def _too_near(splits: npt.NDArray[np.object_], positions: Points, gap_m: float) -> list[int]:
    from scipy.spatial import KDTree

    query, train = np.flatnonzero(splits == "query"), np.flatnonzero(splits == "train")
    if not gap_m or not len(query) or not len(train):
        return []
    metres = to_local_m(positions, box_middle(positions))
    distances, _ = KDTree(metres[query]).query(metres[train])
    return [int(i) for i in train[np.asarray(distances) < gap_m]]


def _apart(a: float, b: float) -> float:
    """Degrees between two headings; NaN where one is unknown."""
    return abs((a - b + 180) % 360 - 180)


def _apart_by_split(places: Sequence[str], splits: npt.NDArray[np.object_]) -> tuple[list[str], int]:
    held: dict[str, set[str]] = defaultdict(set)
    for place, split in zip(places, splits.tolist(), strict=True):
        if split:
            held[place].add(split)
    several = {place for place, found in held.items() if len(found) > 1}
    named = [
        f"{place}@{split}" if place in several and split not in {"", "train"} else place
        for place, split in zip(places, splits.tolist(), strict=True)
    ]
    return named, len(several)


def _read_list(path: Path) -> dict[str, str]:
    table = read_csv(path, "--split-list")
    key = table.first_of(("photo_id", "path", "filename"))
    if key is None or "split" not in table.header:
        raise DataError(f"{path} has the columns {', '.join(table.header)}", "name them photo_id (or path) and split")
    found = {
        plain_path(name): split.lower()
        for name, split in zip(table.texts(key).to_pylist(), table.texts("split").to_pylist(), strict=True)
    }
    if wrong := sorted({s for s in found.values() if s not in SPLITS}):
        raise DataError(f"{path} names the split {wrong[0]!r}", f"splits are {', '.join(SPLITS)}")
    return found
