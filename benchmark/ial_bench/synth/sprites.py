"""The shapes of billboards, drawn once: which of a billboard's four colours is seen where, 0 for none."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ial_bench.synth import styles

SIDE = 128
"""Sprites are SIDE x SIDE cells, row 0 at the top, stretched to the billboard's width and height."""
_Mask = npt.NDArray[np.bool_]
_Grid = npt.NDArray[np.float64]


@lru_cache(maxsize=1)
def sprites() -> npt.NDArray[np.uint8]:
    """uint8 [shapes, SIDE, SIDE]."""
    cells = (np.arange(SIDE) + 0.5) / SIDE
    a, b = np.meshgrid(2 * cells - 1, 1 - cells)  # a: -1 left to 1 right; b: 0 foot to 1 top
    sheet = np.zeros((11, SIDE, SIDE), np.uint8)
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
