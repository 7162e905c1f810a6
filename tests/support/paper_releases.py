"""Small releases in exactly the layouts of the paper's three datasets."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyproj import Proj
from scipy.io import savemat

from ial_bench.addresses import Address
from ial_bench.datasets import known
from ial_bench.datasets.known import dataset_cards

ADDRESSES = (
    "Forbes Avenue, Oakland (Craig Street, Bellefield Avenue)",
    "Fifth Avenue, Oakland (Craig Street, Neville Street)",
    "Grant Street, Downtown (First Avenue)",
)
PITCHES, YAWS = 2, 12
VIEWS = PITCHES * YAWS
TRAIN_PLACES, QUERY_PLACES, DATABASE_PLACES = 9, 3, 4


@dataclass
class PaperRelease:
    """A release in a folder. Change it, then write it.

    Attributes:
        root: with ``annotations`` and ``images``, and for Pitts-250k ``mats``.
        records: by kind of file.
        truth: degrees of each key.
        names: of Pitts-250k, the name of each key's photo in the archive.
    """

    root: Path
    prefix: str
    records: dict[str, dict[str, Any]] = field(default_factory=lambda: {"train": {}, "database": {}, "queries": {}})
    truth: dict[str, tuple[float, float]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    @property
    def arguments(self) -> list[str]:
        """Write the annotation; gives the options to import it."""
        folder = self.root / "annotations"
        folder.mkdir(exist_ok=True)
        for kind, records in self.records.items():
            (folder / f"{self.prefix}_{kind}.json").write_text(json.dumps(records))
        return ["--annotations", str(folder), "--images", str(self.root / "images")]

    def photo(self, path: str) -> None:
        """Make an image that stands for one."""
        target = self.root / "images" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.encode())

    def add(self, kind: str, key: str, path: str, place: int, position: tuple[float, float]) -> None:
        """A record with its image."""
        self.photo(path)
        address = ADDRESSES[place % len(ADDRESSES)]
        self.records[kind][key] = [f"a street view of place {place}", Address.parse(address).verbose, address]
        self.truth[key] = position


def publish_small(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    n_candidates: int = len(ADDRESSES),
    n_queries: int | None = None,
    rounded_to: int = 1,
) -> None:
    """Let the published counts of a dataset be those of its small release here, or others."""
    views = VIEWS if name == "pitts-ial" else YAWS
    small = {"candidates": n_candidates, "queries": n_queries or QUERY_PLACES * views}
    card = dataset_cards()[name]
    expected = tuple(replace(e, count=small[e.tells], rounded_to=rounded_to) if e.tells else e for e in card.expected)
    monkeypatch.setattr(known, name.upper().replace("-", "_"), replace(card, expected=expected))


def sf_release(root: Path, folders: bool = True) -> PaperRelease:
    """SF-XL: the file name says where a photo was taken; folders of a hundredth of a degree."""
    release = PaperRelease(root, "sf")
    project = Proj(proj="utm", zone=10, ellps="WGS84")
    for place in range(TRAIN_PLACES + QUERY_PLACES):
        lat, lon = 37.70 + 0.004 * place, -122.45 + 0.001 * place
        east, north = project(lon, lat)
        kind = "train" if place < TRAIN_PLACES else "queries"
        for view in range(YAWS):
            where = f"@{east:010.2f}@{north:.2f}@10@S@{lat:09.5f}@{lon:010.5f}"
            name = f"{where}@pano{place:018d}@@{30 * view:03d}@@@@201311@@.jpg"
            path = f"{lat:.2f}/{name}" if folders else name
            release.add(kind, f"./{path}", path, place, (lat, lon))
    release.records["database"] = dict(release.records["train"])
    return release


def pitts_release(root: Path, prefix: str = "") -> PaperRelease:
    """Pitts-250k as it unpacks: ``000/000015_pitch1_yaw1.jpg``, ``queries_real/...``; keys below ``images/``.

    Args:
        root: folder to write to.
        prefix: folder that the archive's content lies in, such as ``images/``.
    """
    release = PaperRelease(root, "pitts")
    for place in range(TRAIN_PLACES + QUERY_PLACES):
        query = place >= TRAIN_PLACES
        number = 995 + place - (TRAIN_PLACES if query else 0)  # queries are numbered anew
        position = (40.44 + 0.001 * place, -79.95 - 0.001 * place)
        for pitch in range(1, PITCHES + 1):
            for yaw in range(1, YAWS + 1):
                path = f"{number // 1000:03d}/{number:06d}_pitch{pitch}_yaw{yaw}.jpg"
                if query:
                    key = f"queries_real/{path}"
                    release.add("queries", key, key, place, position)
                else:
                    release.add("train", f"images/{path}", f"{prefix}{path}", place, position)
    release.records["database"] = dict(release.records["train"])
    write_mats(release)
    return release


def archive_release(root: Path, key: Callable[[str], str], below: str = "", first_query: int = 8735) -> PaperRelease:
    """As the published counts add up: train, database and queries are panoramas of the database, each in one file.

    Args:
        root: folder to write to.
        key: the key of a photo from its name in the archive, such as ``000/000015_pitch1_yaw1.jpg``.
        below: folder that the archive's content lies in, such as ``images/``.
        first_query: number of the first query panorama.
    """
    release = PaperRelease(root, "pitts")
    parts = (("train", TRAIN_PLACES, 15), ("database", DATABASE_PLACES, 998), ("queries", QUERY_PLACES, first_query))
    place = 0
    for kind, count, first in parts:
        for number in range(first, first + count):
            for pitch, yaw in product(range(1, PITCHES + 1), range(1, YAWS + 1)):
                name = f"{number // 1000:03d}/{number:06d}_pitch{pitch}_yaw{yaw}.jpg"
                address = ADDRESSES[place % len(ADDRESSES)]
                release.records[kind][key(name)] = ["a street view", Address.parse(address).verbose, address]
                release.truth[key(name)] = (40.44 + 0.001 * place, -79.95 - 0.001 * place)
                release.names[key(name)] = name
            place += 1
    archive_of_pitts(release, list(release.names.values()), below)
    return release


def archive_of_pitts(release: PaperRelease, names: list[str], below: str = "") -> None:
    """Write photos of these `names`, each of which says its name, and the structs of all photos of the release.

    Structs have each database photo at its true position, and the one of its name below ``queries_real`` 0.01 degrees
    north of it.
    """
    for name in names:
        path = release.root / "images" / below / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    point = {}
    for key, name in release.names.items():
        lat, lon = release.truth[key]
        query = name.startswith("queries_real/")
        point[name.removeprefix("queries_real/")] = (lat - 0.01, lon) if query else (lat, lon)
    project = Proj(proj="utm", zone=17, ellps="WGS84")
    database = np.array([project(lon, lat) for lat, lon in point.values()]).T
    queries = np.array([project(lon, lat + 0.01) for lat, lon in point.values()]).T
    folder = release.root / "mats"
    folder.mkdir(exist_ok=True)
    for part in ("train", "val", "test"):  # all in the first, none in the others
        some = list(point) if part == "train" else []
        struct = {
            "dbImageFns": cells(some), "utmDb": database[:, : len(some)],
            "qImageFns": cells(some), "utmQ": queries[:, : len(some)],
        }  # fmt: skip
        savemat(folder / f"pitts250k_{part}.mat", {"dbStruct": struct})


def metres(release: PaperRelease, keys: list[str]) -> np.ndarray:
    """[2, n] UTM easting and northing, zone 17N."""
    project = Proj(proj="utm", zone=17, ellps="WGS84")
    pairs: np.ndarray = np.array([project(lon, lat) for lat, lon in (release.truth[key] for key in keys)])
    return np.asarray(pairs.reshape(-1, 2).T)


def write_mats(release: PaperRelease, **changes: Any) -> None:
    """The structs of Pitts-250k, one file a third of the photos; `changes` are fields of the first."""
    folder = release.root / "mats"
    folder.mkdir(exist_ok=True)
    train, queries = list(release.records["train"]), list(release.records["queries"])
    for i, part in enumerate(("train", "val", "test")):
        mine, asked = train[i::3], queries[i::3]
        struct = {
            "whichSet": part,
            "dbImageFns": cells([key.removeprefix("images/") for key in mine]), "utmDb": metres(release, mine),
            "qImageFns": cells([key.removeprefix("queries_real/") for key in asked]), "utmQ": metres(release, asked),
            "numImages": len(mine), "numQueries": len(asked), "posDistThr": 25.0, "nonTrivPosDistSqThr": 100.0,
        }  # fmt: skip
        savemat(folder / f"pitts250k_{part}.mat", {"dbStruct": struct | (changes if i == 0 else {})})


def cells(names: list[str]) -> np.ndarray:
    """A MATLAB cell column of texts."""
    column: np.ndarray = np.empty((len(names), 1), dtype=object)
    column[:, 0] = names
    return column
