"""Struct-of-arrays tables of what stands in a city, and the buckets that find what is near."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Colours = npt.NDArray[np.float32]

WALL, SECOND, TRIM, PANE, PANE_2, DOOR, AWNING, AWNING_2, ROOF = range(9)
"""Materials of a building; columns of `Boxes.colours`."""
N_MATERIALS = 9
WEST, EAST, SOUTH, NORTH = range(4)
"""Sides of a box; columns of `Boxes.dressed`."""


@dataclass(frozen=True)
class Boxes:
    """Buildings: upright boxes on the ground plane, metres. All arrays have a row per building.

    Attributes:
        bounds: [n, 4], x0, y0, x1, y1, along and across `turn`.
        turn: [n, 2], the direction in which a building's x runs, a unit vector; (1, 0) stands square to the axes.
        eaves: height of the walls.
        ridge: height of the roof above the walls; 0 for none.
        roof: FLAT, PITCHED or GABLE.
        storeys: number of storeys.
        ground_m: height of the ground floor.
        storey_m: height of the other storeys.
        window: [n, 5], a row of `styles.WINDOWS`.
        frame: width of the window frames, as a share of the bay.
        band: height of the band under each storey, as a share of the storey.
        shop: whether the ground floor is a shop.
        awning: whether it has an awning.
        dressed: bool [n, 4]: which sides have windows and doors; the others are bare.
        colours: float32 [n, N_MATERIALS, 3], 0..1 in full light.
        kind: row of `styles.KINDS`, -1 for a landmark.
        name: row of `styles.LANDMARKS` for a landmark, else index of the main colour among `styles.WALLS`.
        block: row * columns + column of its block.
    """

    bounds: Floats
    turn: Floats
    eaves: Floats
    ridge: Floats
    roof: Ints
    storeys: Ints
    ground_m: Floats
    storey_m: Floats
    window: Floats
    frame: Floats
    band: Floats
    shop: npt.NDArray[np.bool_]
    awning: npt.NDArray[np.bool_]
    dressed: npt.NDArray[np.bool_]
    colours: Colours
    kind: Ints
    name: Ints
    block: Ints

    def __len__(self) -> int:
        return len(self.eaves)

    @cached_property
    def askew(self) -> bool:
        """Whether any building does not stand square to the axes."""
        return bool((self.turn[:, 0] != 1).any())

    @cached_property
    def centres(self) -> Floats:
        """[n, 2], metres."""
        own = (self.bounds[:, :2] + self.bounds[:, 2:]) / 2
        return own[:, :1] * self.turn + own[:, 1:] * left_of(self.turn)


@dataclass(frozen=True)
class Props:
    """Billboards: flat, upright, always facing the camera. All arrays have a row per billboard.

    Attributes:
        place: [n, 2], x and y in metres.
        base: height of the foot above the ground, metres.
        width: metres.
        height: metres.
        shape: which sprite, as in `styles`.
        colours: float32 [n, 4, 3]: of the sprite's materials 1 to 4.
        name: row of `styles.TREES` for trees, else 0.
    """

    place: Floats
    base: Floats
    width: Floats
    height: Floats
    shape: Ints
    colours: Colours
    name: Ints

    def __len__(self) -> int:
        return len(self.base)

    @classmethod
    def none(cls) -> Props:
        """No billboards."""
        empty, whole = np.zeros(0), np.zeros(0, dtype=np.int64)
        return cls(np.zeros((0, 2)), empty, empty, empty, whole, np.zeros((0, 4, 3), np.float32), whole)


def left_of(directions: Floats) -> Floats:
    """[..., 2]: unit vectors turned to the left by a right angle."""
    return np.stack([-directions[..., 1], directions[..., 0]], axis=-1)


def in_frame(vectors: Floats, turn: Floats) -> Floats:
    """[..., 2]: `vectors` [..., 2] along and across the directions `turn` [..., 2] (broadcast)."""
    return np.stack([(vectors * turn).sum(axis=-1), (vectors * left_of(turn)).sum(axis=-1)], axis=-1)


def joined(tables: Sequence[Any]) -> Any:
    """One table from the rows of several of the same type."""
    kind = type(tables[0])
    return kind(*(np.concatenate([getattr(t, f.name) for t in tables]) for f in fields(kind)))


def rows_of(table: Any, rows: npt.NDArray[Any]) -> Any:
    """Some rows of a table."""
    return type(table)(*(getattr(table, f.name)[rows] for f in fields(table)))


class Buckets:
    """Points sorted into square cells, so that those near a camera are found without looking at all.

    Args:
        points: [n, 2], metres.
        cell: side of a cell, metres.
    """

    def __init__(self, points: Floats, cell: float = 80.0) -> None:
        self._cell = cell
        self._low = points.min(axis=0) if len(points) else np.zeros(2)
        cells = ((points - self._low) // cell).astype(np.int64)
        self._shape = tuple((cells.max(axis=0) + 1).tolist()) if len(points) else (1, 1)
        flat = cells[:, 0] * self._shape[1] + cells[:, 1]
        self._order = np.argsort(flat, kind="stable")
        self._starts = np.searchsorted(flat[self._order], np.arange(self._shape[0] * self._shape[1] + 1))

    def near(self, x: float, y: float, reach: float) -> Ints:
        """Rows of all points within `reach` metres of a point, and some further ones."""
        first = np.floor((np.array([x, y]) - reach - self._low) / self._cell).astype(int)
        last = np.floor((np.array([x, y]) + reach - self._low) / self._cell).astype(int)
        y0, y1 = max(int(first[1]), 0), min(int(last[1]), self._shape[1] - 1)
        if y1 < y0:
            return self._order[:0]
        found = [
            self._order[self._starts[i * self._shape[1] + y0] : self._starts[i * self._shape[1] + y1 + 1]]
            for i in range(max(int(first[0]), 0), min(int(last[0]), self._shape[0] - 1) + 1)
        ]
        return np.concatenate(found) if found else self._order[:0]
