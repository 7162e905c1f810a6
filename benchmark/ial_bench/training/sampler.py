"""The batch sampler: which photos make up which step, from (seed, epoch) alone."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ial_bench.seeds import generator

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class BatchSampler:
    """The batches of each epoch: every photo once, in random order.

    Photos that do not fill a batch are left out of the epoch; the next one draws another order. If there are fewer
    photos than a batch holds, they make up one batch.

    Attributes:
        n: photos.
        batch: photos of a step.
        seed: of the order.
        places: int64 [n]; if given, no batch holds two photos of one place where that can be, so that crops of
            one panorama are not contrasted with each other. Photos of the fullest places are then left out first.
        multiple: the size of a batch is a multiple of this, the number of processes.
        views: if given, photos of a place come together instead, at most this many to a batch where possible, as
            losses over pairs need. A batch of P * views photos then holds P places, more where places have fewer.
    """

    n: int
    batch: int
    seed: int
    places: Rows | None = None
    multiple: int = 1
    views: int | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"{self.n} photos cannot be shared by {self.multiple} processes")

    @property
    def size(self) -> int:
        """Photos of a step."""
        return min(self.batch, self.n) // self.multiple * self.multiple

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return self.n // self.size

    def epoch(self, epoch: int) -> list[Rows]:
        """The batches of `epoch`: int64 [size] each."""
        rng = generator("training order", self.seed, epoch)
        order = rng.permutation(self.n)
        if self.places is None:
            return [order[i * self.size : (i + 1) * self.size] for i in range(self.steps)]
        if self.views is not None:
            return list(_together(self.places[order], order, self.views, self.size, rng))
        order = order[_dealt(self.places[order], self.steps, self.size)]
        return [order[i :: self.steps] for i in rng.permutation(self.steps)]


def step_candidates(labels: Rows, n: int, size: int | None, seed: int, step: int) -> Rows | None:
    """The candidates of a step: those of its batch, and others drawn anew for each step.

    Args:
        labels: int64 [b], candidates of the whole batch.
        n: candidates in all.
        size: how many; more only if the batch itself has more.
        seed: of the draw.
        step: from 0.

    Returns:
        int64, sorted; None for all of them.
    """
    if size is None or size >= n:
        return None
    own = np.unique(labels)
    others = np.setdiff1d(np.arange(n), own)
    rng = generator("training candidates", seed, step)
    drawn = rng.choice(others, max(0, min(size - len(own), len(others))), replace=False)
    return np.sort(np.concatenate([own, drawn]))


def _together(places: Rows, order: Rows, views: int, size: int, rng: np.random.Generator) -> Iterator[Rows]:
    """Batches of `size` photos, each a run of pieces of places.

    A place's photos are cut into pieces of at most `views`, as even as can be, which are spread over the epoch. A
    piece whose place is already in the batch waits for the next one, unless nothing else is left; one that is larger
    than the room left in the batch is cut.

    Args:
        places: of the photos in `order`.
        order: int64 [n], photos in random order.
        views: photos of a piece at most.
        size: photos of a batch.
        rng: for the pieces' places in the epoch.
    """
    by_place = np.argsort(places, kind="stable")
    firsts = np.flatnonzero(np.diff(places[by_place])) + 1
    timed: list[tuple[float, int, Rows]] = []  # when in the epoch, whose, which photos
    for place, rows in enumerate(np.split(order[by_place], firsts)):
        pieces = np.array_split(rows, -(-len(rows) // views))
        offset = rng.uniform()
        timed += [((i + offset) / len(pieces), place, piece) for i, piece in enumerate(pieces)]
    coming = deque((place, piece) for _, place, piece in sorted(timed, key=lambda t: t[:2]))
    waiting: dict[int, deque[Rows]] = {}
    for _ in range(len(order) // size):
        batch: dict[int, list[Rows]] = {}
        room = size
        while room:
            late = [p for p in waiting if p not in batch]
            if not late and coming:
                place, piece = coming.popleft()
                if place in batch:
                    waiting.setdefault(place, deque()).append(piece)
                    continue
            else:
                place = late[0] if late else next(iter(waiting))
                piece = waiting[place].popleft()
                if not waiting[place]:
                    del waiting[place]
            if len(piece) > room:
                waiting.setdefault(place, deque()).appendleft(piece[room:])
                piece = piece[:room]
            batch.setdefault(place, []).append(piece)
            room -= len(piece)
        yield np.concatenate([piece for pieces in batch.values() for piece in pieces])


def _dealt(places: Rows, steps: int, size: int) -> Rows:
    """Which photos are taken, and in which order, so that dealing them out to `steps` batches keeps places apart.

    A place can fill one seat in each batch: its photos beyond `steps` are taken only where seats would stay empty.
    Photos sorted by place and dealt out in turn come to different batches, up to `steps` of a place. So two photos
    of a place meet only where no choice and no order could avoid it.
    """
    seen: dict[int, int] = defaultdict(int)
    beyond = np.empty(len(places), dtype=bool)
    rank = np.empty(len(places), dtype=np.int64)  # places in order of their first photo, which is a random one
    ranks: dict[int, int] = {}
    for i, place in enumerate(places.tolist()):
        beyond[i] = seen[place] >= steps
        seen[place] += 1
        rank[i] = ranks.setdefault(place, len(ranks))
    taken = np.argsort(beyond, kind="stable")[: steps * size]
    return taken[np.argsort(rank[taken], kind="stable")]
