"""Which photos make up which step."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ial_bench.training.sampler import BatchSampler


@settings(derandomize=True, deadline=None)
@given(n=st.integers(1, 60), batch=st.integers(1, 20), multiple=st.integers(1, 4), epoch=st.integers(0, 3))
def test_every_photo_once_an_epoch(n: int, batch: int, multiple: int, epoch: int) -> None:
    if min(n, batch) < multiple:
        with pytest.raises(ValueError, match="cannot be shared"):
            BatchSampler(n, batch, 0, multiple=multiple)
        return
    order = BatchSampler(n, batch, 0, multiple=multiple)
    batches = order.epoch(epoch)
    rows = np.concatenate(batches)
    assert len(batches) == order.steps
    assert {len(b) for b in batches} == {order.size}
    assert order.size % multiple == 0
    assert batch - multiple < order.size <= batch or n < batch
    assert len(np.unique(rows)) == len(rows)
    assert n - len(rows) < order.size  # less than a batch is left out
    assert rows.min() >= 0
    assert rows.max() < n


def test_fewer_photos_than_a_batch_are_one_batch() -> None:
    (batch,) = BatchSampler(5, 64, 0).epoch(0)
    assert sorted(batch.tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("places", [None, np.arange(40) // 2])
def test_the_order_is_of_the_seed_and_the_epoch(places: np.ndarray | None) -> None:
    def rows(seed: int, epoch: int) -> list[list[int]]:
        return [b.tolist() for b in BatchSampler(40, 8, seed, places).epoch(epoch)]

    assert rows(0, 0) == rows(0, 0)
    assert len({str(rows(s, e)) for s in range(3) for e in range(3)}) == 9


def test_what_is_left_out_changes_with_the_epoch() -> None:
    order = BatchSampler(10, 4, 0)
    seen = Counter(int(r) for epoch in range(200) for b in order.epoch(epoch) for r in b)
    assert set(seen) == set(range(10))
    assert min(seen.values()) > 120  # 160 expected, with a standard deviation of 5.7


def fewest_meetings(places: list[int], steps: int, size: int) -> int:
    """By trying everything: the fewest pairs of one place in one batch."""

    def search(left: tuple[int, ...], steps: int) -> int:
        if steps == 0:
            return 0
        best = 10**9
        for chosen in combinations(range(len(left)), size):
            own = Counter(left[i] for i in chosen)
            met = sum(c * (c - 1) // 2 for c in own.values())
            if met < best:
                rest = tuple(p for i, p in enumerate(left) if i not in chosen)
                best = min(best, met + search(rest, steps - 1))
        return best

    return search(tuple(places), steps)


def meetings(places: np.ndarray, batches: list[np.ndarray]) -> int:
    return sum(c * (c - 1) // 2 for b in batches for c in Counter(places[b].tolist()).values())


@settings(derandomize=True, deadline=None)
@given(
    places=st.lists(st.integers(0, 4), min_size=1, max_size=8),
    batch=st.integers(1, 4),
    seed=st.integers(0, 5),
)
def test_places_are_kept_apart_whenever_that_can_be(places: list[int], batch: int, seed: int) -> None:
    order = BatchSampler(len(places), batch, seed, np.array(places))
    batches = order.epoch(0)
    rows = np.concatenate(batches)
    assert len(np.unique(rows)) == len(rows) == order.size * order.steps
    possible = fewest_meetings(places, order.steps, order.size) == 0
    assert (meetings(np.array(places), batches) == 0) == possible


@settings(derandomize=True, deadline=None)
@given(counts=st.lists(st.integers(1, 9), min_size=2, max_size=40), batch=st.integers(2, 16), seed=st.integers(0, 5))
def test_places_are_kept_apart_in_larger_cases(counts: list[int], batch: int, seed: int) -> None:
    """A place fills at most one seat a batch: all seats can be filled so if, and only if, that is enough of them."""
    places = np.repeat(np.arange(len(counts)), counts)
    order = BatchSampler(len(places), batch, seed, places)
    seats = sum(min(c, order.steps) for c in counts)
    assert (meetings(places, order.epoch(0)) == 0) == (seats >= order.steps * order.size)


def test_photos_of_a_place_are_dealt_to_any_batches() -> None:
    """Not to neighbouring ones in each epoch, and each photo is left out at times."""
    places = np.arange(30) // 3
    order = BatchSampler(30, 4, 0, places)
    gaps, seen = Counter[int](), Counter[int]()
    for epoch in range(200):
        where = {int(r): i for i, b in enumerate(order.epoch(epoch)) for r in b}
        seen.update(where)
        gaps.update(abs(where[3 * p] - where[3 * p + 1]) for p in range(10) if {3 * p, 3 * p + 1} <= set(where))
    assert set(gaps) == set(range(1, order.steps))
    assert set(seen) == set(range(30))
    assert min(seen.values()) > 160  # 187 expected


# --- photos of a place together -------------------------------------------------------------------------------


def test_batches_of_places_times_views() -> None:
    """Where every place has enough photos, a batch is P places with K photos each, and all photos are used."""
    places = np.random.default_rng(0).permutation(np.repeat(np.arange(24), 8))
    order = BatchSampler(len(places), 16, 0, places, views=4)
    batches = order.epoch(0)
    assert len(batches) == 12
    assert all(sorted(Counter(places[b].tolist()).values()) == [4] * 4 for b in batches)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(places)))


@settings(derandomize=True, deadline=None)
@given(
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=30),
    batch=st.integers(2, 20),
    views=st.integers(2, 5),
    multiple=st.integers(1, 2),
    seed=st.integers(0, 3),
)
def test_photos_of_a_place_come_together(counts: list[int], batch: int, views: int, multiple: int, seed: int) -> None:
    places = np.repeat(np.arange(len(counts)), counts)
    if min(len(places), batch) < multiple:
        return
    order = BatchSampler(len(places), batch, seed, places, multiple, views)
    batches = order.epoch(1)
    rows = np.concatenate(batches)
    assert {len(b) for b in batches} == {order.size}
    assert len(batches) == order.steps
    assert len(np.unique(rows)) == len(rows)
    assert len(places) - len(rows) < order.size
    assert [b.tolist() for b in batches] == [b.tolist() for b in order.epoch(1)]
    for number, chosen in enumerate(batches):
        counted = Counter(places[chosen].tolist())
        if number == 0 and len(counts) * views >= order.size and min(counts) >= views:
            assert max(counted.values()) <= views


def test_a_place_with_fewer_photos_brings_them_all() -> None:
    places = np.array([0, 0, 1, 1, 1, 2, 3, 3, 3, 3])
    (batch,) = BatchSampler(10, 64, 0, places, views=4).epoch(0)
    assert places[batch].tolist() in [
        [p for p in order for _ in range(int((places == p).sum()))] for order in permutations(range(4))
    ]


def test_pieces_are_even() -> None:
    """Five photos of a place, four at a time: three and two, so that none is without another of its place."""
    places = np.repeat(np.arange(12), 5)
    batches = BatchSampler(60, 5, 0, places, views=4).epoch(0)
    pieces = [c for b in batches for c in Counter(places[b].tolist()).values()]
    assert sum(pieces) == 60
    assert pieces.count(1) < 12  # but for those cut at a batch's end


def test_one_place_with_most_of_the_photos() -> None:
    """It fills batches of its own only once nothing else is left."""
    places = np.array([0] * 80 + list(range(1, 21)))
    batches = BatchSampler(100, 10, 0, places, views=4).epoch(0)
    mixed = [len(set(places[b].tolist())) > 1 for b in batches]
    assert mixed == sorted(mixed, reverse=True)
    assert sorted(np.concatenate(batches).tolist()) == list(range(100))


def test_the_order_of_places_is_of_the_seed_and_the_epoch() -> None:
    def rows(seed: int, epoch: int) -> str:
        return str([b.tolist() for b in BatchSampler(40, 8, seed, np.arange(40) // 4, views=2).epoch(epoch)])

    assert len({rows(s, e) for s in range(3) for e in range(3)}) == 9
