"""A method's answer: for each photo, the k best candidate addresses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ial_bench.errors import PredictionError

NO_ANSWER = -1
"""The index after a list's last candidate: the method names no more. Wrong at every k."""

_Fault: TypeAlias = tuple[str, npt.NDArray[np.bool_] | None]  # what is wrong, and in which rows


@dataclass(frozen=True)
class TopK:
    """The k best candidates of n photos, best first.

    Attributes:
        indices: int32 [n, k], candidate indices, distinct in each row. After the last candidate that a method can name,
            the rest of the row may be `NO_ANSWER`.
        scores: float32 [n, k], finite, not increasing along a row. Only their order matters.
        positions: float64 [n, 2], predicted latitude and longitude in degrees, for methods that predict them.
        log_sum: float32 [n], log of the sum of exp(score) over *all* candidates: where scores are logits, it makes
            probabilities of those listed. None where it is not known.
    """

    indices: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    positions: npt.NDArray[np.float64] | None = None
    log_sum: npt.NDArray[np.float32] | None = None

    @classmethod
    def from_scores(
        cls,
        scores: npt.NDArray[np.floating],
        k: int,
        positions: npt.NDArray[np.float64] | None = None,
        named: npt.NDArray[np.bool_] | None = None,
    ) -> TopK:
        """The k highest of each row; equal scores are ordered by candidate index.

        Args:
            scores: [n, n_candidates], any floating type.
            k: how many; all candidates if there are fewer.
            positions: passed through.
            named: [n, n_candidates], which candidates may be listed at all; None: all. Where they are fewer than k,
                `NO_ANSWER` follows, with the score of the last one listed (0 in a row without any).

        Raises:
            PredictionError: a score is NaN or infinite.
        """
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which is refused below
            values = np.asarray(scores, dtype=np.float32)
        if values.ndim != 2:
            raise PredictionError(f"scores must be [n, n_candidates], not of shape {values.shape}")
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
            raise PredictionError(f"a score of photo {row} is NaN or infinite", "mend the method's scores")
        n, width = values.shape
        k = min(k, width)
        if n == 0 or k == 0:
            return cls(np.zeros((n, k), np.int32), np.zeros((n, k), np.float32), positions)
        if named is not None:
            values = np.where(named, values, np.float32(-np.inf))
        log_sum = None if named is not None else _log_sum(values)
        indices = _select(values, k)
        chosen = np.take_along_axis(values, indices, axis=1)
        order = np.lexsort((indices, -chosen), axis=1)
        listed = np.take_along_axis(indices, order, axis=1).astype(np.int32)
        chosen = np.take_along_axis(chosen, order, axis=1)
        if named is not None:
            unnamed = np.isneginf(chosen)
            lowest = np.where(unnamed, np.float32(np.inf), chosen).min(axis=1, keepdims=True)
            listed[unnamed] = NO_ANSWER
            chosen = np.where(unnamed, np.where(np.isinf(lowest), np.float32(0), lowest), chosen)
        return cls(listed, chosen, positions, log_sum)

    def __len__(self) -> int:
        return len(self.indices)

    def check(self, n: int, k: int, n_candidates: int, method: str, first_query: int = 0) -> None:
        """Check the answer against the protocol.

        Args:
            n: photos asked about.
            k: candidates wanted.
            n_candidates: size of the candidate set.
            method: the method's name, for errors.
            first_query: number of the first photo, for errors.

        Raises:
            PredictionError: wrong shape or type, a candidate out of range or twice, scores not finite or
                increasing, positions off the Earth; names method and query.
        """
        width = min(k, n_candidates)
        # In this order: values can be checked only where the shapes are right.
        for wrong, rows in chain(self._wrong_shapes(n, width), self._wrong_values(n, n_candidates)):
            where = "" if rows is None else f" for query {first_query + int(np.flatnonzero(rows)[0])}"
            raise PredictionError(f"method {method!r} answered with {wrong}{where}", f"run `bench check {method}`")

    def _wrong_shapes(self, n: int, width: int) -> Iterator[_Fault]:
        for name, array in (("indices", self.indices), ("scores", self.scores)):
            if array.shape != (n, width):
                yield f"{name} of shape {array.shape} instead of {(n, width)}", None
        if not np.issubdtype(self.indices.dtype, np.integer):
            yield f"indices of type {self.indices.dtype} instead of int32", None
        if not np.issubdtype(self.scores.dtype, np.floating):
            yield f"scores of type {self.scores.dtype} instead of float32", None
        if self.positions is not None and self.positions.shape != (n, 2):
            yield f"positions of shape {self.positions.shape} instead of {(n, 2)}", None
        if self.log_sum is not None and self.log_sum.shape != (n,):
            yield f"log_sum of shape {self.log_sum.shape} instead of {(n,)}", None

    def _wrong_values(self, n: int, n_candidates: int) -> Iterator[_Fault]:
        indices, in_order = self.indices, np.sort(self.indices, axis=1)
        missing = indices == NO_ANSWER  # never true of unsigned indices
        with np.errstate(over="ignore"):
            scores = self.scores.astype(np.float32)  # as they are stored
        # Compared, not subtracted: differences of infinite scores and of unsigned indices mean nothing.
        falls, rises = scores[:, 1:] < scores[:, :-1], scores[:, 1:] > scores[:, :-1]
        backwards = indices[:, 1:] < indices[:, :-1]
        checks = [
            (f"a candidate outside 0..{n_candidates - 1}", ((indices < 0) & ~missing) | (indices >= n_candidates)),
            ("a candidate behind a place without one", missing[:, :-1] & ~missing[:, 1:]),
            ("one candidate twice", (in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] != NO_ANSWER)),
            ("a score that is NaN or infinite", ~np.isfinite(scores)),
            ("scores that rise along the list", rises),
            ("equal scores not ordered by candidate index", ~falls & ~rises & backwards & ~missing[:, 1:]),
        ]
        if self.positions is not None:
            off = ~np.isfinite(self.positions) | (np.abs(self.positions) > np.array([90.0, 180.0]))
            checks.append(("a position that is not a latitude and longitude", off))
        if self.log_sum is not None:
            checks.append(("a log_sum that is NaN or infinite", ~np.isfinite(self.log_sum)[:, None]))
        for wrong, cells in checks:
            if n and (rows := np.asarray(cells.any(axis=1))).any():
                yield wrong, rows


def sigmoid(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """float64, of the same shape: ``1 / (1 + exp(-s))``, without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * scores.astype(np.float64))))


def _log_sum(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """[n]: log of the sum of exp(value) of each row."""
    highest = values.max(axis=1)
    with np.errstate(over="ignore", under="ignore"):  # too far below for float32: exp is 0
        below = np.exp(values - highest[:, None])
    return np.asarray(highest + np.log(below.sum(axis=1)), dtype=np.float32)


def _select(values: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.int64]:
    """Column indices of the k highest of each row, [n, k] in no order; ties at the edge go to the lowest index."""
    width = values.shape[1]
    if k == width:
        return np.broadcast_to(np.arange(width), values.shape)
    indices = np.argpartition(-values, k - 1, axis=1)[:, :k]  # of the negated: slow with many equal low ones
    edge = np.take_along_axis(values, indices, axis=1).min(axis=1)
    # argpartition picks any of the values that tie at the edge: rows with more of them than places are redone.
    contested = np.flatnonzero((values >= edge[:, None]).sum(axis=1) > k)
    if contested.size:
        indices[contested] = np.argsort(-values[contested], axis=1, kind="stable")[:, :k]
    return indices
