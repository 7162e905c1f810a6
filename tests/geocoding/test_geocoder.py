"""The index of places against brute force over the whole sphere, and distances against geopy's geodesic."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from geopy.distance import geodesic
from hypothesis import given, settings
from hypothesis import strategies as st

from ial_bench.addresses import Address
from ial_bench.errors import SkipMethod
from ial_bench.geo.points import FARTHEST_M, Points, haversine_m, points_of, unit_vectors
from ial_bench.geocoding.geocoder import ByName, NearestPlace, PlaceIndex, RadiusVote
from ial_bench.geocoding.reverse import NearestTown, PlaceName
from ial_bench.topk import NO_ANSWER

FIXED = settings(derandomize=True, deadline=None, max_examples=60)
MIDDLES = [(40.44, -79.95), (0.0, 0.0), (-17.0, 179.9999), (65.0, -180.0), (90.0, 0.0), (-89.9995, 12.0)]
N_CANDIDATES = 5


def around(middle: tuple[float, float], n: int, spread_m: float, seed: int) -> Points:
    """Points about one, by steps in space, so that any place on the Earth will do."""
    steps = np.random.default_rng(seed).normal(0, spread_m / 6_371_000, (n, 3))
    return points_of(unit_vectors(np.array(middle)) + steps)


def made(middle: tuple[float, float], seed: int = 0) -> tuple[PlaceIndex, Points, npt.NDArray[np.int32]]:
    positions = around(middle, 60, 100.0, seed)
    labels = np.random.default_rng(seed).integers(0, N_CANDIDATES - 1, 60).astype(np.int32)  # the last has no place
    return PlaceIndex(positions, labels, N_CANDIDATES), positions, labels


@FIXED
@given(
    st.tuples(st.floats(-90, 90), st.floats(-180, 180)),
    st.tuples(st.floats(-90, 90), st.floats(-180, 180)),
)
def test_haversine_is_within_0_6_percent_of_the_geodesic(a: tuple[float, float], b: tuple[float, float]) -> None:
    wanted = geodesic(a, b).meters
    assert haversine_m(np.array(a), np.array(b)) == pytest.approx(wanted, rel=0.006, abs=0.01)


@pytest.mark.parametrize("middle", MIDDLES)
def test_in_a_city_haversine_is_within_0_6_percent_of_the_geodesic(middle: tuple[float, float]) -> None:
    for one, other in zip(around(middle, 20, 500.0, 1), around(middle, 20, 500.0, 2), strict=True):
        assert haversine_m(one, other) == pytest.approx(geodesic(one, other).meters, rel=0.006, abs=1e-3)


@pytest.mark.parametrize("middle", MIDDLES)
@pytest.mark.parametrize("spread_m", [50.0, 5_000_000.0])  # queries in the city, and half a world away
def test_nearest_places_are_those_of_brute_force(middle: tuple[float, float], spread_m: float) -> None:
    index, positions, labels = made(middle)
    queries = around(middle, 25, spread_m, 3)
    metres = haversine_m(queries[:, None], positions[None])
    wanted = np.stack(
        [metres[:, labels == c].min(axis=1) if (labels == c).any() else np.full(25, FARTHEST_M) for c in range(5)],
        axis=1,
    )
    for k in (1, 3, 5):
        top = NearestPlace(index).rank(queries, k)
        top.check(25, k, N_CANDIDATES, "m")
        np.testing.assert_allclose(-top.scores, np.sort(wanted, axis=1)[:, :k], rtol=1e-6, atol=1e-3)
        found = np.take_along_axis(wanted, top.indices.astype(np.int64), axis=1)
        np.testing.assert_allclose(found, -top.scores, rtol=1e-6, atol=1e-3)
    for row in range(25):
        np.testing.assert_allclose(
            index.metres_to(queries[row], np.array([3, 0])), wanted[row, [3, 0]], rtol=1e-6, atol=1e-3
        )


@pytest.mark.parametrize("middle", MIDDLES)
def test_votes_are_those_of_brute_force(middle: tuple[float, float]) -> None:
    index, positions, labels = made(middle)
    queries = around(middle, 25, 150.0, 4)
    metres = haversine_m(queries[:, None], positions[None])
    for radius in (1.0, 40.0, 300.0):
        each = np.where(metres < radius, 1 - metres / radius, 0)
        wanted = np.stack([each[:, labels == c].sum(axis=1) for c in range(N_CANDIDATES)], axis=1)
        np.testing.assert_allclose(index.votes(queries, radius), wanted, atol=1e-6)
        top, near = RadiusVote(index, radius).rank(queries, 5), NearestPlace(index).rank(queries, 5)
        top.check(25, 5, N_CANDIDATES, "m")
        voted = wanted.max(axis=1) > 0
        assert (top.indices[voted, 0] == wanted[voted].argmax(axis=1)).all()
        np.testing.assert_array_equal(top.indices[~voted], near.indices[~voted])  # farther than the radius from all
        for row in range(25):  # behind the votes, by distance
            rest = [c for c in near.indices[row] if wanted[row, c] == 0]
            assert top.indices[row].tolist()[5 - len(rest) :] == rest


def test_the_whole_earth_may_vote() -> None:
    index, _, labels = made(MIDDLES[0])
    assert (index.votes(np.array([[-40.0, 100.0]]), 1e9)[0, np.unique(labels)] > 0).all()


def test_no_places_is_a_skip_and_no_queries_no_answer() -> None:
    with pytest.raises(SkipMethod, match="no labelled train photos"):
        PlaceIndex(np.zeros((0, 2)), np.zeros(0, np.int32), 3)
    index, _, _ = made(MIDDLES[0])
    for geocoder in (NearestPlace(index), RadiusVote(index, 10.0)):
        geocoder.rank(np.zeros((0, 2)), 3).check(0, 3, N_CANDIDATES, "m")


class Told:
    """A geocoder that says what it was told to."""

    def __init__(self, names: list[PlaceName | None]) -> None:
        self._names = names

    def names(self, positions: Points) -> list[PlaceName | None]:
        assert len(positions) == len(self._names)
        return self._names

    def facts(self) -> dict[str, int]:
        return {"own": 1}


def test_sub_streets_of_a_named_street_by_distance_and_nothing_else() -> None:
    addresses = [Address(s, n, (c,)) for s, n, c in [
        ("Elm Street", "East", "A"), ("Elm Street", "East", "B"), ("Elm Street", "West", "C"),
        ("Oak Lane", "East", "D"), ("Elm Street", "East", "E"),
    ]]  # fmt: skip
    positions = np.array([[0.0, 0.003], [0.0, 0.002], [0.0, 0.001], [0.0, 0.0]])
    index = PlaceIndex(positions, np.arange(4, dtype=np.int32), 5)
    names = [PlaceName(("Elm St",), ("East",)), PlaceName(("Elm St",)), PlaceName(("Oak Ln",)), PlaceName(("Fir Way",)),
             PlaceName((), ("East",)), None]  # fmt: skip
    geocoder = ByName(Told(names), index, addresses, 0.9)
    queries = np.stack([np.zeros(6), -1e-4 * np.arange(6)], axis=1)
    top = geocoder.rank(queries, 4)
    top.check(6, 4, 5, "m")
    assert top.indices.tolist() == [
        [1, 0, 4, 2],  # in the named neighbourhood first; the one without a place last of them
        [2, 1, 0, 4],
        [3, -1, -1, -1],
        [-1] * 4,
        [-1] * 4,
        [-1] * 4,
    ]
    counts = {"positions": 6, "answered": 3, "without_street": 2, "street_not_a_candidate": 1, "own": 1}
    assert geocoder.facts() == counts
    geocoder.rank(queries, 4)
    assert geocoder.facts() == counts  # a position counts once


def test_towns_are_named_offline_and_no_streets(capsys: pytest.CaptureFixture[str]) -> None:
    towns = NearestTown()
    places = np.array([[40.4406, -79.9959], [52.2053, 0.1218], [90.0, 0.0], [-17.0, 180.0]])
    names = towns.names(places)
    assert [n.areas[0] for n in names[:2] if n] == ["Pittsburgh", "Cambridge"]
    assert all(n is not None and n.streets == () for n in names)
    assert {"Cambridge", "Pittsburgh"} < set(towns.facts()["towns"])
    assert towns.names(np.zeros((0, 2))) == []
    index, _, _ = made(MIDDLES[0])
    named = [Address(f"Street {i}", "Pittsburgh") for i in range(N_CANDIDATES)]
    assert (ByName(towns, index, named, 0.9).rank(places, 5).indices == NO_ANSWER).all()
    assert capsys.readouterr().out == ""
