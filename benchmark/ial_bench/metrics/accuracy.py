"""Accuracy of ranked candidates: SSA-k, SA-k and their kin."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer]
MISSED = np.iinfo(np.int64).max
"""The place of a right candidate that is not in the list: beyond any k, also one beyond the list's length."""


def first_hit(top: Ints, truth: Ints, groups: Ints | None = None) -> npt.NDArray[np.int64]:
    """Place, from 0, of the first right candidate in each list; `MISSED` where none is right.

    Args:
        top: [n, k] candidate indices, best first; -1 where there is none, which is never right.
        truth: [n] the right candidate, or the right group where `groups` is given; -1: none is right.
        groups: [n_candidates] group of each candidate, such as its street.
    """
    listed = top if groups is None else groups[top]
    right = (listed == truth[:, None]) & (top >= 0)  # -1 picks the last group, and would be equal to a truth of -1
    return np.asarray(np.where(right.any(axis=1), right.argmax(axis=1), MISSED), dtype=np.int64)


def within(rank: Ints, ks: Sequence[int]) -> npt.NDArray[np.bool_]:
    """[n, len(ks)]: whether the first hit is among the first k."""
    return np.asarray(rank[:, None] < np.asarray(ks)[None, :])


def reciprocal_rank(rank: Ints) -> npt.NDArray[np.float64]:
    """[n]: 1 / place of the right candidate, counted from 1; 0 where it is not listed."""
    return np.where(rank == MISSED, 0.0, 1.0 / (rank + 1.0))


def group_numbers(keys: Sequence[Hashable], others: Sequence[Hashable]) -> tuple[Ints, Ints]:
    """Equal keys get equal numbers, across both lists: ([len(keys)], [len(others)])."""
    numbers = {key: i for i, key in enumerate(dict.fromkeys([*keys, *others]))}
    return (
        np.fromiter((numbers[k] for k in keys), dtype=np.int64, count=len(keys)),
        np.fromiter((numbers[k] for k in others), dtype=np.int64, count=len(others)),
    )
