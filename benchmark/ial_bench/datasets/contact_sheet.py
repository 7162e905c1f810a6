"""A contact sheet of a dataset: a row per sub-street, train photos on the left, queries on the right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.photos import Photos
from ial_bench.errors import DataError
from ial_bench.images import RGB

if TYPE_CHECKING:
    from PIL import Image

GUTTER_PX = 6
_WHITE = 255


def contact_sheet(dataset: Dataset, rows: int = 8, each: int = 6, cell: int = 128) -> Image.Image:
    """Photos of some sub-streets that have both train photos and queries, spread evenly over all such.

    Args:
        dataset: any dataset.
        rows: sub-streets at most.
        each: most photos on either side; they show as many places as possible.
        cell: height and width that a photo is fitted into, in pixels.

    Raises:
        DataError: no sub-street has both.
        ImageError: a photo that cannot be decoded.
    """
    from PIL import Image

    train, query = dataset.split("train", "database"), dataset.split("query")
    common = np.intersect1d(train.address_rows, query.address_rows)
    if not len(common):
        raise DataError(f"no address of {dataset.name} has both train photos and queries", "see `bench data verify`")
    chosen = common[np.unique(np.linspace(0, len(common) - 1, min(rows, len(common))).round().astype(np.int64))]
    sheet = np.full((len(chosen) * cell, 2 * each * cell + GUTTER_PX, 3), _WHITE, np.uint8)
    for i, address in enumerate(chosen.tolist()):
        for photos, left in ((train, 0), (query, each * cell + GUTTER_PX)):
            mine = photos.part(np.flatnonzero(photos.address_rows == address))
            for j, k in enumerate(_spread(mine, each)):
                fitted = _fit(mine.image(k), cell)
                sheet[i * cell : (i + 1) * cell, left + j * cell : left + (j + 1) * cell] = fitted
    return Image.fromarray(sheet)


def _spread(photos: Photos, n: int) -> list[int]:
    """Up to `n` of the photos: the first of each place, then the second, and so on."""
    rank: dict[int, int] = {}
    turns = []
    for i, place in enumerate(photos.places.tolist()):
        rank[place] = rank.get(place, -1) + 1
        turns.append((rank[place], i))
    return [i for _, i in sorted(turns)[:n]]


def _fit(photo: RGB, cell: int) -> RGB:
    """`photo` fitted into a white square of `cell` pixels; enlarged by whole pixels, so that small ones stay sharp."""
    from PIL import Image

    height, width = photo.shape[:2]
    scale = cell / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    way = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    square = np.full((cell, cell, 3), _WHITE, np.uint8)
    top, left = (cell - size[1]) // 2, (cell - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = np.asarray(Image.fromarray(photo).resize(size, way))
    return square
