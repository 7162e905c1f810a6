"""Where wrong answers lie, on a city made by hand and against plain sets."""

from __future__ import annotations

import numpy as np
import pytest

from ial_bench.addresses import Address, fold
from ial_bench.metrics.confusion import Miss, Nearness, most_confused

CITY = [
    Address("Main", "Old", ("First", "Second")),  # 0
    Address("MAIN", "old", ("second", "Third")),  # 1: the next piece, spelt otherwise
    Address("Main", "Old", ("Third", "Fourth")),  # 2: beyond it
    Address("Main", "New", ("Second", "Fifth")),  # 3: across the border, meets 0 and 1 at Second
    Address("Main", "New", ("Eighth", "Ninth")),  # 4: the same name far away
    Address("Second", "Old", ("Main", "Other")),  # 5: another street of the neighbourhood
    Address("Quay", "Port"),  # 6: no cross street
    Address("Quay", "Port", ("Mole",)),  # 7
]


@pytest.mark.parametrize(
    ("truth", "answered", "miss"),
    [
        (0, 0, Miss.RIGHT),
        (0, 1, Miss.NEXT),
        (1, 0, Miss.NEXT),
        (0, 3, Miss.NEXT),
        (0, 2, Miss.STREET),
        (3, 4, Miss.STREET),
        (6, 7, Miss.STREET),
        (0, 5, Miss.NEIGHBOURHOOD),
        (0, 4, Miss.ELSEWHERE),
        (0, 6, Miss.ELSEWHERE),
        (6, 6, Miss.RIGHT),
        (7, -1, Miss.NONE),
    ],
)
def test_by_hand(truth: int, answered: int, miss: Miss) -> None:
    found = Nearness.of(CITY).misses(np.array([answered]), np.array([truth]))
    assert found.tolist() == [miss]


def kind(truth: Address, answered: Address) -> Miss:
    """By sets of names."""
    if truth.key == answered.key:
        return Miss.RIGHT
    crossings = [{fold(c) for c in a.cross_streets} for a in (truth, answered)]
    if fold(truth.street) == fold(answered.street) and crossings[0] & crossings[1]:
        return Miss.NEXT
    if truth.street_key == answered.street_key:
        return Miss.STREET
    return Miss.NEIGHBOURHOOD if fold(truth.neighbourhood) == fold(answered.neighbourhood) else Miss.ELSEWHERE


def test_against_sets() -> None:
    rng = np.random.default_rng(0)
    seen = {}
    for _ in range(200):
        crossings = tuple(f"C{c}" for c in rng.permutation(5)[: rng.integers(4)])
        a = Address(f"S{rng.integers(3)}", f"N{rng.integers(3)}", crossings)
        seen[a.key] = a
    city = list(seen.values())
    truth, answered = rng.integers(len(city), size=(2, 2000))
    found = Nearness.of(city).misses(answered, truth)
    assert found.tolist() == [kind(city[t], city[a]) for t, a in zip(truth, answered, strict=True)]
    assert set(found.tolist()) >= {Miss.NEXT, Miss.STREET, Miss.NEIGHBOURHOOD, Miss.ELSEWHERE}


def test_no_addresses_meet_where_none_has_a_cross_street() -> None:
    city = [Address("A", "N"), Address("B", "N")]
    assert Nearness.of(city).misses(np.array([1]), np.array([0])).tolist() == [Miss.NEIGHBOURHOOD]


def test_most_confused_pairs() -> None:
    truth = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    answered = np.array([1, 1, 2, 0, 0, 1, -1, 0])
    places = np.array([5, 5, 6, 6, 7, 7, 8, 8])
    found = most_confused(answered, truth, places, seeds=2, most=2)
    first, second = found
    assert (first.truth, first.answered, first.queries, first.places, first.share) == (0, 1, 1.0, 1, 0.5)
    assert (second.truth, second.answered, second.queries) == (0, 2, 0.5)  # ties: in the addresses' order
    assert len(most_confused(answered, truth, places, 1, 10)) == 4  # an unknown answer is no pair
    assert most_confused(truth, truth, places, 1, 10) == []
    empty = np.zeros(0, int)
    assert most_confused(empty, empty, empty, 1, 10) == []
