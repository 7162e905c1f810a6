"""Polylines in local metres, [n, 2]: lengths, points along them, cuts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def chainages(line: Floats) -> Floats:
    """[n]: metres along the line at each of its points."""
    steps = np.hypot(*np.diff(line, axis=0).T)
    return np.concatenate([[0.0], np.cumsum(steps)])


def length_m(line: Floats) -> float:
    """Metres from end to end."""
    return float(chainages(line)[-1])


def at(line: Floats, metres: float) -> Floats:
    """[2]: the point so many metres along; the nearer end beyond either."""
    along = chainages(line)
    return np.array([np.interp(metres, along, line[:, 0]), np.interp(metres, along, line[:, 1])])


def nearest(line: Floats, point: Floats) -> tuple[float, float, Floats]:
    """The line's nearest point to `point` [2]: metres along, distance, unit direction of the line there [2]."""
    steps = np.diff(line, axis=0)
    squares = np.maximum((steps**2).sum(axis=1), 1e-18)
    shares = np.clip(((point - line[:-1]) * steps).sum(axis=1) / squares, 0.0, 1.0)
    feet = line[:-1] + shares[:, None] * steps
    distances = np.hypot(*(feet - point).T)
    i = int(distances.argmin())
    lengths = np.sqrt(squares)
    along = float(lengths[:i].sum() + shares[i] * lengths[i])
    return along, float(distances[i]), np.asarray(steps[i] / lengths[i])


def cut(line: Floats, metres: Floats, where: Sequence[float]) -> list[tuple[Floats, Floats]]:
    """Pieces of a line, cut at so many metres along it.

    Args:
        line: [n, 2], in any unit.
        metres: [n, 2], the same line.
        where: ascending, strictly between 0 and its length.

    Returns:
        ([k, 2] in the unit of `line`, [k, 2] metres) of each piece; neighbours share the point of the cut.
    """
    along = chainages(metres)
    pieces, both = [], np.concatenate([line, metres], axis=1)
    stops = [0.0, *where, float(along[-1])]
    for start, stop in pairwise(stops):
        ends = np.stack([[np.interp(s, along, column) for column in both.T] for s in (start, stop)])
        inside = both[(along > start) & (along < stop)]
        piece = np.concatenate([ends[:1], inside, ends[1:]])
        pieces.append((piece[:, :2], piece[:, 2:]))
    return pieces


def away(line: Floats, metres: float) -> Floats:
    """[2]: unit direction from the line's first point to the one so many metres along, or its last."""
    step = at(line, min(metres, length_m(line))) - line[0]
    if not step.any():
        step = line[len(line) // 2] - line[0]  # it comes back to where it began
    return np.asarray(step / max(float(np.hypot(*step)), 1e-9))
