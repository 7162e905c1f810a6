"""Dataset folders without photos, for tests that only need tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ial_bench.addresses import Address
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.table import Bounds, Description, write_dataset
from ial_bench.engine.ground_truth import GroundTruth
from ial_bench.engine.selection import Selection


def write_city(
    folder: Path,
    addresses: Sequence[Address],
    *,
    split: Any,
    place: Any,
    address: Any,
    lat: Any,
    lon: Any,
    ids: Sequence[str] | None = None,
    name: str = "made-city",
) -> Dataset:
    """A dataset of the given columns, [n] each; `addresses` must be sorted by canonical text."""
    texts = [a.text for a in addresses]
    assert texts == sorted(texts), "the candidate order would not be the one that the test expects"
    n = len(split)
    photo_ids = [f"{i:07d}.jpg" for i in range(n)] if ids is None else list(ids)
    columns = {
        "photo_id": photo_ids,
        "path": photo_ids,
        "bytes": np.full(n, 1000),
        "split": split,
        "place_id": place,
        "address": np.asarray(address, dtype=np.int32),
        "lat": np.asarray(lat, dtype=np.float64),
        "lon": np.asarray(lon, dtype=np.float64),
        "heading": np.zeros(n, dtype=np.float32),
        "caption": [""] * n,
    }
    description = Description(name, "Made for a test", "images", Bounds(-90.0, -180.0, 90.0, 180.0))
    write_dataset(folder, description, addresses, [a.verbose for a in addresses], columns)
    return Dataset(folder)


def truth_of(dataset: Dataset, limit: int | None = None) -> GroundTruth:
    """What answers to its queries are measured against."""
    return GroundTruth.of(dataset, Selection.of(dataset, limit))
