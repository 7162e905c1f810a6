"""The validation split: whole places, no address lost, the same whatever the order."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ial_bench.datasets.places import cut_val

FIXED = settings(derandomize=True, deadline=None)


@st.composite
def cities(draw: st.DrawFn) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Photos of up to 12 places, each on one address, or on two at a crossing."""
    n_addresses = draw(st.integers(1, 4))
    places, addresses = [], []
    for place in range(draw(st.integers(1, 12))):
        choice = st.lists(st.integers(0, n_addresses - 1), min_size=1, max_size=2)
        for address in draw(choice):
            for _ in range(draw(st.integers(1, 4))):
                places.append(f"place-{place}")
                addresses.append(address)
    return places, np.array(addresses)


fractions = st.sampled_from([0.0, 0.05, 0.1, 0.25, 0.5, 0.9, 0.99])


def grid(n_places: int = 200, views: int = 4, n_addresses: int = 10) -> tuple[list[str], npt.NDArray[np.int64]]:
    """`views` photos of each place, places spread evenly over addresses."""
    numbers = np.repeat(np.arange(n_places), views)
    return [f"{n:04d}" for n in numbers], numbers % n_addresses


@FIXED
@given(cities(), fractions, st.integers(0, 3))
def test_places_are_whole(city: tuple[list[str], npt.NDArray[np.int64]], fraction: float, seed: int) -> None:
    places, addresses = city
    val = cut_val(places, addresses, fraction, seed)
    assert val.shape == (len(places),)
    assert val.dtype == np.bool_
    held = {p for p, v in zip(places, val, strict=True) if v}
    assert held.isdisjoint(p for p, v in zip(places, val, strict=True) if not v)


@FIXED
@given(cities(), fractions, st.integers(0, 3))
def test_every_address_keeps_a_place(city: tuple[list[str], npt.NDArray[np.int64]], fraction: float, seed: int) -> None:
    places, addresses = city
    val = cut_val(places, addresses, fraction, seed)
    assert set(addresses[~val].tolist()) == set(addresses.tolist())


@FIXED
@given(cities(), fractions, st.integers(0, 3), st.randoms(use_true_random=False))
def test_order_of_photos_does_not_matter(
    city: tuple[list[str], npt.NDArray[np.int64]], fraction: float, seed: int, random: object
) -> None:
    places, addresses = city
    order = list(range(len(places)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = cut_val([places[i] for i in order], addresses[order], fraction, seed)
    np.testing.assert_array_equal(shuffled, cut_val(places, addresses, fraction, seed)[order])


@FIXED
@given(cities(), fractions, st.integers(0, 3))
def test_stops_at_the_first_place_that_reaches_the_share(
    city: tuple[list[str], npt.NDArray[np.int64]], fraction: float, seed: int
) -> None:
    places, addresses = city
    val = cut_val(places, addresses, fraction, seed)
    sizes = Counter(p for p, v in zip(places, val, strict=True) if v)
    wanted = round(fraction * len(places))
    assert val.sum() - max(sizes.values(), default=0) < max(wanted, 1)  # without one place it would be too little
    if val.sum() < wanted:  # too little, so no further place can be spared
        kept = {p for p, v in zip(places, val, strict=True) if not v}
        places_of = {a: {p for p, b in zip(places, addresses, strict=True) if a == b} & kept for a in set(addresses)}
        assert all(any({place} == held for held in places_of.values()) for place in kept)


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.2, 0.5])
def test_share(fraction: float) -> None:
    places, addresses = grid()
    assert cut_val(places, addresses, fraction, 0).mean() == pytest.approx(fraction, abs=0.005)


def test_no_share_is_nothing() -> None:
    assert not cut_val(*grid(), 0.0, 0).any()


def test_of_nothing() -> None:
    assert cut_val([], np.array([], dtype=np.int64), 0.1, 0).shape == (0,)


def test_one_place_is_not_taken_away() -> None:
    assert not cut_val(["a"] * 10, np.zeros(10, dtype=np.int64), 0.9, 0).any()


def test_same_seed_same_cut_and_other_seed_other_cut() -> None:
    places, addresses = grid()
    cuts = [cut_val(places, addresses, 0.1, seed) for seed in (0, 0, 1, 2)]
    np.testing.assert_array_equal(cuts[0], cuts[1])
    assert (cuts[0] != cuts[2]).any()
    assert (cuts[2] != cuts[3]).any()


def test_all_places_have_a_chance() -> None:
    """Over many seeds each place is drawn about as often as any other."""
    places, addresses = grid(n_places=40, views=1, n_addresses=4)
    times = sum(cut_val(places, addresses, 0.25, seed).astype(int) for seed in range(400))
    # Each count is binomial(400, 1/4): mean 100, deviation 8.7.
    assert np.abs(np.asarray(times) - 100).max() < 5 * 8.7


def test_the_cut_is_the_same_everywhere() -> None:
    """Published records name a seed; the cut it stands for must not change between versions or machines."""
    places, addresses = grid(n_places=12, views=1, n_addresses=2)
    val = cut_val(places, addresses, 0.25, 0)
    assert [p for p, v in zip(places, val, strict=True) if v] == ["0000", "0001", "0003"]
