"""The faces of houses: how high they reach, and what material is where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ial_bench.synth import styles
from ial_bench.synth.tables import (
    AWNING,
    DOOR,
    PANE,
    PANE_2,
    ROOF,
    SECOND,
    TRIM,
    WALL,
    Boxes,
    Floats,
    Ints,
)


@dataclass(frozen=True)
class Walls:
    """Visible pieces of wall: a row per column of the photo and building that shows in it.

    Attributes:
        box: row of `City.boxes`.
        side: WEST, EAST, SOUTH or NORTH.
        depth: metres.
        along: metres from the low end of the side.
        length: of the side, metres.
        top: height of the silhouette there, metres.
    """

    box: Ints
    side: Ints
    depth: Floats
    along: Floats
    length: Floats
    top: Floats


def silhouette(boxes: Boxes, box: Ints, side: Ints, share: Floats) -> Floats:
    """[n] metres: how high a side reaches at a share of its length; a gable is a triangle over a dressed side."""
    gable = (boxes.roof[box] == styles.GABLE) & boxes.dressed[box, side]
    return np.asarray(boxes.eaves[box] + boxes.ridge[box] * np.where(gable, 1 - np.abs(2 * share - 1), 1.0))


def facade(boxes: Boxes, walls: Walls, piece: Ints, height: Floats) -> Ints:
    """[pixels]: the material of a wall.

    Args:
        boxes: the buildings.
        walls: visible pieces of their walls.
        piece: [pixels], row of `walls`.
        height: [pixels], metres above the ground.
    """
    # What depends on the column alone, once a piece of wall.
    box = walls.box
    window = boxes.window[box]
    bays = np.maximum(np.rint(walls.length / window[:, 0]), 1)
    position = walls.along / walls.length * bays
    bay = np.floor(position)
    share = position - bay
    frame = boxes.frame[box]
    in_pane = (share > window[:, 1]) & (share < window[:, 2])
    in_frame = (share > window[:, 1] - frame) & (share < window[:, 2] + frame)
    in_door = (bay == bays // 2) & (share > 0.32) & (share < 0.68)
    in_shop = (share > 0.06) & (share < 0.94)
    stripe = np.floor(walls.along / 0.6).astype(np.int64) % 2
    dressed = boxes.dressed[box, walls.side]
    gable = (boxes.roof[box] == styles.GABLE) & dressed
    mixed = (bay * 5 + box * 3).astype(np.int64)
    # What depends on the height as well, once a pixel.
    ground_m, storey_m = boxes.ground_m[box][piece], boxes.storey_m[box][piece]
    above = height - ground_m
    storey = np.floor(above / storey_m)
    level = np.where(above >= 0, above / storey_m - storey, height / ground_m)
    pane_low, pane_high, band = window[piece, 3], window[piece, 4], boxes.band[box][piece]
    at_pane = (level > pane_low) & (level < pane_high)
    at_frame = (level > pane_low - 0.05) & (level < pane_high + 0.05)
    lit = (mixed[piece] + storey.astype(np.int64) * 7) % 6 == 0
    upper = np.where(level < band, TRIM, WALL)
    upper = np.where(at_frame & in_frame[piece], TRIM, upper)
    upper = np.where(at_pane & in_pane[piece], np.where(lit, PANE_2, PANE), upper)

    shop = boxes.shop[box][piece]
    lower = np.where(at_frame & in_frame[piece] & ~shop, TRIM, SECOND)
    lower = np.where(at_pane & in_pane[piece] & ~shop, PANE, lower)
    lower = np.where(shop & (height > 0.5) & (height < ground_m - 0.9) & in_shop[piece], PANE, lower)
    lower = np.where((height < 2.2) & in_door[piece], DOOR, lower)
    under = (height > ground_m - 1.3) & (height < ground_m - 0.3)
    lower = np.where(boxes.awning[box][piece] & under, AWNING + stripe[piece], lower)

    found = np.where(dressed[piece], np.where(above < 0, lower, upper), WALL)
    eaves = boxes.eaves[box][piece]
    cornice = (height > eaves - 0.5) & (boxes.roof[box][piece] == styles.FLAT)
    found = np.where(cornice, TRIM, found)
    return np.where(height > eaves, np.where(gable[piece], WALL, ROOF), found)
