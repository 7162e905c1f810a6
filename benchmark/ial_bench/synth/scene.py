"""What stands in a city, as tables: buildings and billboards, which are near, and what their faces are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ial_bench.synth import styles

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


CELLS = 128
"""Sprites are CELLS x CELLS cells, row 0 at the top, stretched to the billboard's width and height."""
_Mask = npt.NDArray[np.bool_]
_Grid = npt.NDArray[np.float64]


@lru_cache(maxsize=1)
def sprites() -> npt.NDArray[np.uint8]:
    """uint8 [shapes, CELLS, CELLS]."""
    cells = (np.arange(CELLS) + 0.5) / CELLS
    a, b = np.meshgrid(2 * cells - 1, 1 - cells)  # a: -1 left to 1 right; b: 0 foot to 1 top
    sheet = np.zeros((11, CELLS, CELLS), np.uint8)
    for shape, draw in (
        (styles.ROUND, _round), (styles.CONIFER, _conifer), (styles.PALM, _palm), (styles.POPLAR, _poplar),
        (styles.GLOBE, _globe), (styles.ARM, _arm), (styles.TWIN, _twin), (styles.BANNER, _banner),
        (styles.CAR_SIDE, _car_side), (styles.CAR_END, _car_end), (styles.PERSON, _person),
    ):  # fmt: skip
        draw(sheet[shape], a, b)
    sheet.setflags(write=False)
    return sheet


def _oval(a: _Grid, b: _Grid, a0: float, b0: float, ra: float, rb: float) -> _Mask:
    return np.asarray(((a - a0) / ra) ** 2 + ((b - b0) / rb) ** 2 < 1)


def _box(a: _Grid, b: _Grid, a0: float, a1: float, b0: float, b1: float) -> _Mask:
    return np.asarray((a > a0) & (a < a1) & (b > b0) & (b < b1))


def _round(to: npt.NDArray[np.uint8], a: _Grid, b: _Grid) -> None:
    to[_box(a, b, -0.09, 0.09, 0, 0.5)] = 1
    for a0, b0, ra, rb in ((0, 0.66, 0.98, 0.33), (-0.3, 0.74, 0.6, 0.25), (0.35, 0.6, 0.6, 0.24)):
        to[_oval(a, b, a0, b0, ra, rb)] = 2
    to[_oval(a, b, 0.0, 0.66, 0.98, 0.33) & (b - 0.25 * a < 0.54)] = 3


def _conifer(to: npt.NDArray[np.uint8], a: _Grid, b: _Grid) -> None:
    to[_box(a, b, -0.1, 0.1, 0, 0.2)] = 1
    for foot, top, wide in ((0.12, 0.62, 1.0), (0.38, 0.84, 0.78), (0.62, 1.0, 0.55)):
        inside = (b > foot) & (np.abs(a) < wide * (top - b) / (top - foot))
        to[inside] = 2
        to[inside & (b < foot + 0.07)] = 3


def _palm(to: npt.NDArray[np.uint8], a: _Grid, b: _Grid) -> None:
    to[np.abs(a - 0.08 * np.sin(3 * b)) < 0.07 * (1.3 - b)] = 1
    to[b > 0.86] = 0
    for lean, lift in ((-1, 0.10), (1, 0.10), (-0.6, 0.16), (0.6, 0.16), (-1.0, -0.05), (1.0, -0.05)):
        out = a / lean
        ridge = 0.84 + 2 * lift * out - 0.42 * out**2
        to[(out > 0) & (out < 1) & (np.abs(b - ridge) < 0.05 * (1.2 - out))] = 2 if lift > 0 else 3


def _poplar(to: npt.NDArray[np.uint8], a: _Grid, b: _Grid) -> None:
    to[_box(a, b, -0.12, 0.12, 0, 0.2)] = 1
    to[_oval(a, b, 0, 0.56, 0.95, 0.44)] = 2
    to[_oval(a, b, 0, 0.56, 0.95, 0.44) & (a > 0.25 + 0.2 * np.sin(20 * b))] = 3


def _globe(to: npt.NDArray[np.uint8], a: _Grid, b: _Grid) -> None:
    to[_box(a, b, -0.14, 0.14, 0, 0.9)] = 1
    to[_box(a, b, -0.35, 0.35, 0, 0.06)] = 1
    to[_oval(a, b, 0, 0.91, 0.6, 0.085)] = 2


def _arm(to: npt.NDArray[np.uint8], a: _Grid, b: _Grid) -> None:
    to[_box(a, b, -0.07, 0.07, 0, 1)] = 1
    to[_box(a, b, 0, 1.0, 0.965, 1.0)] = 1
    to[_box(a, b, 0.5, 1.0, 0.93, 0.97)] = 2


def _twin(to: npt.NDArray[np.uint8], a: _Grid, b: _Grid) -> None:
    to[_box(a, b, -0.05, 0.05, 0, 1)] = 1
    to[_box(a, b, -1.0, 1.0, 0.955, 0.985)] = 1
    to[_box(a, b, -1.0, -0.55, 0.915, 0.96) | _box(a, b, 0.55, 1.0, 0.915, 0.96)] = 2


def _banner(to: npt.NDArray[np.uint8], a: _Grid, b: _Grid) -> None:
    to[_box(a, b, 0.06, 0.95, 0, 1)] = 1
    to[_box(a, b, 0.25, 0.75, 0.42, 0.62)] = 2


def _car_side(to: npt.NDArray[np.uint8], a: _Grid, b: _Grid) -> None:
    to[_box(a, b, -0.98, 0.98, 0.16, 0.58)] = 1
    cabin = (b > 0.5) & (b < 1.0) & (np.abs(a + 0.06) < 0.66 - 0.5 * (b - 0.5))
    to[cabin] = 1
    glass = (b > 0.58) & (b < 0.92) & (np.abs(a + 0.06) < 0.56 - 0.5 * (b - 0.5)) & (np.abs(a + 0.06) > 0.03)
    to[glass] = 2
    to[_oval(a, b, -0.6, 0.17, 0.19, 0.2) | _oval(a, b, 0.6, 0.17, 0.19, 0.2)] = 3
    to[_box(a, b, 0.9, 0.98, 0.38, 0.48)] = 4


def _car_end(to: npt.NDArray[np.uint8], a: _Grid, b: _Grid) -> None:
    to[_box(a, b, -0.9, -0.6, 0, 0.25) | _box(a, b, 0.6, 0.9, 0, 0.25)] = 3
    to[_box(a, b, -0.96, 0.96, 0.14, 0.62)] = 1
    to[(b > 0.6) & (np.abs(a) < 0.88 - 0.6 * (b - 0.6))] = 1
    to[(b > 0.64) & (b < 0.93) & (np.abs(a) < 0.74 - 0.6 * (b - 0.6))] = 2
    to[_box(a, b, -0.9, -0.6, 0.42, 0.54) | _box(a, b, 0.6, 0.9, 0.42, 0.54)] = 4
    to[_box(a, b, -0.35, 0.35, 0.2, 0.32)] = 3


def _person(to: npt.NDArray[np.uint8], a: _Grid, b: _Grid) -> None:
    to[(b < 0.48) & (np.abs(np.abs(a) - 0.25) < 0.2)] = 2
    to[_box(a, b, -0.62, 0.62, 0.44, 0.82)] = 1
    to[_box(a, b, -0.98, -0.7, 0.42, 0.8) | _box(a, b, 0.7, 0.98, 0.42, 0.8)] = 1
    to[_oval(a, b, 0, 0.9, 0.42, 0.1)] = 3
    to[_oval(a, b, 0, 0.94, 0.42, 0.06)] = 4
