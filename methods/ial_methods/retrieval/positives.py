"""Which train photos are told to be alike."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from ial_bench import Photos
from ial_bench.geo.projections import utm_metres

Positives = Literal["address", "place", "view"]


def classes_of(
    photos: Photos, positives: Positives, cell_m: float, cell_degrees: float
) -> tuple[npt.NDArray[np.int64], int]:
    """A class from 0 for each photo, int64 [n], and how many classes there are.

    Args:
        photos: labelled photos.
        positives: what photos of a class have in common. ``address``; ``place``, its id; ``view``, a square of the
            city and a sector that the camera looks into (Berton et al., CosPlace, CVPR 2022, eq. 1). Photos whose
            heading is unknown share a sector of their own.
        cell_m: side of the squares, metres of UTM.
        cell_degrees: width of the sectors.
    """
    if positives == "address":
        keys = photos.labels[:, None].astype(np.int64)
    elif positives == "place":
        keys = photos.places[:, None]
    else:
        squares = np.floor(utm_metres(photos.positions) / cell_m)
        sectors = np.floor(np.nan_to_num(photos.headings, nan=-cell_degrees) / cell_degrees)
        keys = np.concatenate([squares, sectors[:, None]], axis=1).astype(np.int64)
    different, classes = np.unique(keys, axis=0, return_inverse=True)
    return classes.reshape(-1).astype(np.int64), len(different)
