"""Accuracies and parts of the queries: against plain loops, and a scored city against figures worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ial_bench.addresses import Address
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.record import Metrics
from ial_bench.engine.scoring import score
from ial_bench.metrics.accuracy import (
    MISSED,
    Areas,
    Partition,
    breakdown,
    by_edges,
    by_name,
    by_sector,
    first_hit,
    group_numbers,
    reciprocal_rank,
    within,
)
from ial_bench.metrics.intervals import clustered_means
from ial_bench.topk import NO_ANSWER, TopK
from support.made_city import truth_of, write_city

METRES_PER_DEGREE = 6_371_008.8 * math.pi / 180  # along a meridian of a sphere of the Earth's mean radius

tops = hnp.arrays(np.int32, st.tuples(st.integers(0, 6), st.integers(1, 5)), elements=st.integers(0, 6))


@settings(derandomize=True, deadline=None, max_examples=200)
@given(top=tops, data=st.data())
def test_first_hit_within_and_reciprocal_rank_are_plain_loops(top: npt.NDArray[np.int32], data: st.DataObject) -> None:
    n = len(top)
    truth = np.array(data.draw(st.lists(st.integers(-1, 6), min_size=n, max_size=n)), dtype=np.int32)
    ks = data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=4))
    rank = first_hit(top, truth)
    rows = list(zip(top.tolist(), truth.tolist(), strict=True))
    assert rank.tolist() == [next((i for i, c in enumerate(row) if c == t and t >= 0), MISSED) for row, t in rows]
    # A list that does not hold the truth is wrong at every k, also at one beyond its length.
    assert within(rank, ks).tolist() == [[t >= 0 and t in row[:k] for k in ks] for row, t in rows]
    assert reciprocal_rank(rank).tolist() == [1 / (row.index(t) + 1) if t in row else 0.0 for row, t in rows]


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    top=tops,
    groups=hnp.arrays(np.int64, 7, elements=st.integers(0, 3)),
    data=st.data(),
)
def test_first_hit_of_a_group_is_a_plain_loop(
    top: npt.NDArray[np.int32], groups: npt.NDArray[np.int64], data: st.DataObject
) -> None:
    truth = np.array(data.draw(st.lists(st.integers(-1, 4), min_size=len(top), max_size=len(top))), dtype=np.int64)
    expected = [
        next((place for place, c in enumerate(row) if groups[c] == t), MISSED)
        for row, t in zip(top.tolist(), truth.tolist(), strict=True)
    ]
    assert first_hit(top, truth, groups).tolist() == expected


@settings(derandomize=True, deadline=None)
@given(
    keys=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("cd"))),
    others=st.lists(st.tuples(st.sampled_from("abe"), st.sampled_from("cd"))),
)
def test_group_numbers_are_equal_where_keys_are(keys: list[tuple[str, str]], others: list[tuple[str, str]]) -> None:
    first, second = group_numbers(keys, others)
    numbers = [*first.tolist(), *second.tolist()]
    both = [*keys, *others]
    assert len(numbers) == len(both)
    assert [[a == b for a in numbers] for b in numbers] == [[a == b for a in both] for b in both]


# ------------------------------------------------------------------------------------------------ a scored city

# Candidates 0 to 4, and an address (5) that only queries have. It is on the street of 2 and 3, written otherwise.
ADDRESSES = [
    Address("Main Street East", "Hill", ("A Road", "B Road")),
    Address("Main Street", "Dale", ("A Road", "B Road")),
    Address("Main Street", "Hill", ("A Road", "B Road")),
    Address("Main Street", "Hill", ("B Road", "C Road")),
    Address("Oak Lane", "Hill", ("A Road", "B Road")),
    Address("main  STREET", "ｈill", ("D Road", "E Road")),  # a full-width h
]
LATITUDES = [40.00, 40.01, 40.02, 40.03, 40.04]  # of the candidates' centroids

#          truth, first three answers, metres north of the first answer's centroid
QUERIES = [
    (2, (2, 0, 1), 10.0),
    (2, (3, 0, 2), 24.0),
    (2, (0, 1, 4), 60.0),
    (5, (4, 3, 0), 150.0),
    (0, (2, 3, 1), 250.0),
    (1, (4, 1, 2), 99.0),
]
TOP = TopK(
    np.array([answers for _, answers, _ in QUERIES], dtype=np.int32),
    np.tile(np.array([3, 2, 1], dtype=np.float32), (len(QUERIES), 1)),
)


def make_city(folder: Path, places: list[str]) -> Dataset:
    # Two train photos an address, as far north of the centroid as south of it.
    train = [(a, lat + d) for a, lat in enumerate(LATITUDES) for d in (-0.001, 0.001)]
    query = [(t, LATITUDES[answers[0]] + metres / METRES_PER_DEGREE) for t, answers, metres in QUERIES]
    rows = [*train, *query]
    return write_city(
        folder,
        ADDRESSES,
        split=["train"] * len(train) + ["query"] * len(query),
        place=[f"train {i}" for i in range(len(train))] + places,
        address=[a for a, _ in rows],
        lat=[lat for _, lat in rows],
        lon=[-80.0] * len(rows),
    )


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_city(tmp_path_factory.mktemp("city"), ["p", "q", "r", "r", "s", "t"])


@pytest.fixture(scope="module")
def metrics(city: Dataset) -> Metrics:
    return score(TOP, truth_of(city), ks=(1, 2, 3, 10))


@pytest.mark.parametrize(
    ("name", "right"),
    [
        # The whole address. Query 3, whose address is no candidate, is wrong at every k but counted: sixths.
        ("SSA-1", [0]),
        ("SSA-2", [0, 5]),
        ("SSA-3", [0, 1, 5]),
        # Main street and neighbourhood. Query 3 is right with candidate 3; East is another street (2, 4); so is
        # Main Street in Dale (2, 4).
        ("SA-1", [0, 1]),
        ("SA-2", [0, 1, 3, 5]),
        ("SA-3", [0, 1, 3, 5]),
        # The street's name alone: for query 2, Main Street in Dale will do, but not Main Street East for query 4.
        ("street-SA-1", [0, 1]),
        ("street-SA-2", [0, 1, 2, 3, 5]),
        ("street-SA-3", [0, 1, 2, 3, 5]),
        # The neighbourhood alone: all are in Hill but query 5.
        ("neighbourhood-1", [0, 1, 2, 3, 4]),
        ("neighbourhood-2", [0, 1, 2, 3, 4, 5]),
        ("neighbourhood-3", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_accuracy_by_hand(metrics: Metrics, name: str, right: list[int]) -> None:
    assert metrics.accuracy[name].value == pytest.approx(len(right) / 6, abs=1e-12)


def test_mrr_and_macro_accuracy_by_hand(metrics: Metrics) -> None:
    assert metrics.accuracy["MRR"].value == pytest.approx((1 + 1 / 3 + 0 + 0 + 0 + 1 / 2) / 6, abs=1e-12)
    # Address 2: one of its three queries. Addresses 0, 1 and 5: none. A mean over the four addresses.
    assert metrics.accuracy["macro-SSA-1"].value == pytest.approx((1 / 3 + 0 + 0 + 0) / 4, abs=1e-12)


def test_addresses_that_are_no_candidates_are_classes_of_their_own(tmp_path: Path) -> None:
    addresses = [Address(f"Street {i}", "Hill") for i in range(4)]
    city = write_city(
        tmp_path,
        addresses,
        split=["train"] * 2 + ["query"] * 4,
        place=list("abcdef"),
        address=[0, 1, 0, 2, 3, 3],
        lat=[40.0] * 6,
        lon=[-80.0] * 6,
    )
    top = TopK.from_scores(np.tile(np.array([2.0, 1.0]), (4, 1)), 2)
    found = score(top, truth_of(city))
    # Address 0 is right; 2 and 3, which no train photo has, are wrong: two classes, not one.
    assert found.accuracy["macro-SSA-1"].value == pytest.approx(1 / 3, abs=1e-12)
    assert found.accuracy["SSA-1"].value == pytest.approx(1 / 4, abs=1e-12)


def test_distance_by_hand(metrics: Metrics) -> None:
    distance = metrics.distance_m
    assert distance.to == "centroid of the predicted address"
    assert distance.median == pytest.approx((60 + 99) / 2, abs=1e-3)
    shares = [distance.within_25, distance.within_50, distance.within_100, distance.within_200]
    assert [s.value for s in shares] == pytest.approx([2 / 6, 2 / 6, 4 / 6, 5 / 6], abs=1e-12)


def test_distance_is_to_the_predicted_position_where_there_is_one(city: Dataset) -> None:
    queries = city.split("query")
    away = np.array([0.0, 30.0, 30.0, 70.0, 170.0, 1000.0])
    predicted = queries.positions - np.stack([away / METRES_PER_DEGREE, np.zeros(6)], axis=1)
    found = score(replace(TOP, positions=predicted), truth_of(city))
    assert found.distance_m.to == "predicted position"
    assert found.distance_m.median == pytest.approx(50.0, abs=1e-3)
    within_m = [getattr(found.distance_m, f"within_{m}").value for m in (25, 50, 100, 200)]
    assert within_m == pytest.approx([1 / 6, 3 / 6, 4 / 6, 5 / 6], abs=1e-12)
    without = score(TOP, truth_of(city))
    assert found.accuracy == without.accuracy


def test_a_k_that_the_lists_are_too_short_for_is_not_claimed(city: Dataset, metrics: Metrics) -> None:
    assert {n for n in metrics.accuracy if n.startswith("SSA")} == {"SSA-1", "SSA-2", "SSA-3"}
    whole = TopK.from_scores(np.zeros((6, 5)), 10)  # all five candidates: SSA-10 is known
    found = score(whole, truth_of(city), ks=(10,))
    assert found.accuracy["SSA-10"].value == pytest.approx(5 / 6, abs=1e-12)
    assert found.accuracy["SA-10"].value == 1.0


def test_ssa_1_and_its_macro_mean_are_there_whatever_is_asked_for(city: Dataset, metrics: Metrics) -> None:
    found = score(TOP, truth_of(city), ks=(3, 2))
    assert {"SSA-1", "SSA-2", "SSA-3", "macro-SSA-1"} <= set(found.accuracy)
    assert found.accuracy == metrics.accuracy


def test_each_interval_holds_its_value_and_is_no_point(metrics: Metrics) -> None:
    for name in ("SSA-1", "SSA-3", "SA-2", "MRR", "macro-SSA-1"):
        interval = metrics.accuracy[name]
        assert interval.ci95 is not None, name
        low, high = interval.ci95
        assert 0.0 <= low < interval.value < high <= 1.0, name


def test_queries_of_a_single_place_have_no_interval(tmp_path: Path) -> None:
    city = make_city(tmp_path, ["p"] * 6)
    found = score(TOP, truth_of(city))
    assert found.accuracy["SSA-1"].value == pytest.approx(1 / 6)
    assert {i.ci95 for i in found.accuracy.values()} == {None}
    assert found.distance_m.within_25.ci95 is None


def test_no_answer_is_never_right() -> None:
    top = np.array([[2, NO_ANSWER], [NO_ANSWER, NO_ANSWER], [NO_ANSWER, NO_ANSWER]])
    assert first_hit(top, np.array([2, 1, -1])).tolist() == [0, MISSED, MISSED]
    groups = np.array([5, 6, 5, 7])  # -1 would pick the last one's
    assert first_hit(top, np.array([7, 7, 5]), groups).tolist() == [MISSED] * 3
    assert first_hit(top, np.array([5, 5, 5]), groups).tolist() == [0, MISSED, MISSED]


def test_against_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    n = 300
    values = rng.random((n, 3))
    places = rng.integers(40, size=n)
    part = rng.integers(4, size=n)
    part[part == 2] = 3  # no query at all
    found = breakdown(values, places, Partition(("a", "b", "c", "d"), part))
    assert [p.name for p in found] == ["a", "b", "d"]
    for one, number in zip(found, (0, 1, 3), strict=True):
        rows = [i for i in range(n) if part[i] == number]
        assert one.queries == len(rows)
        assert one.places == len({int(places[i]) for i in rows})
        for column in range(3):
            assert one.estimates[column].value == pytest.approx(sum(values[i, column] for i in rows) / len(rows))
        alone = clustered_means(values[rows], places[rows])
        assert [e.ci95 for e in one.estimates] == [e.ci95 for e in alone]


def test_a_part_of_one_place_has_no_interval() -> None:
    found = breakdown(np.ones((2, 1)), np.array([7, 7]), Partition(("a",), np.zeros(2, np.int64)))
    assert found[0].estimates[0].ci95 is None
    assert breakdown(np.ones((0, 1)), np.zeros(0, int), Partition(("a",), np.zeros(0, np.int64))) == []


def test_names() -> None:
    partition = by_name(["b", "a", "b"])
    assert partition.names == ("a", "b")
    assert partition.part.tolist() == [1, 0, 1]


def test_edges_belong_to_the_part_above() -> None:
    values = np.array([0.0, 0.9, 1.0, 1.9, 2.0, 5.0, np.inf])
    partition = by_edges(values, [1.0, 2.0, np.inf], ["low", "mid", "high", "none"])
    assert [partition.names[i] for i in partition.part] == ["low", "low", "mid", "mid", "high", "high", "none"]


@pytest.mark.parametrize(
    ("degrees", "sector"),
    [(0, "N"), (22.4, "N"), (22.5, "NE"), (90, "E"), (180, "S"), (269, "W"), (337.4, "NW"), (337.5, "N"), (360, "N"),
     (-45, "NW"), (405, "NE"), (float("nan"), "?")],
)  # fmt: skip
def test_sectors(degrees: float, sector: str) -> None:
    partition = by_sector(np.array([degrees], dtype=np.float32), "?")
    assert partition.names[partition.part[0]] == sector


def test_areas_number_streets_within_neighbourhoods_and_spell_them_as_the_first_address_does() -> None:
    addresses = [
        Address("Oak Street", "West", ("Elm Road",)), Address("Ash Lane", "East"), Address("OAK STREET", "west"),
        Address("Oak Street", "East"), Address("Ash lane", "East", ("Oak Street",)),
    ]  # fmt: skip
    areas = Areas.of(addresses)
    assert areas.neighbourhoods == ["East", "West"]
    assert areas.streets == ["Ash Lane", "Oak Street", "Oak Street"]
    assert areas.street_of.tolist() == [2, 0, 2, 1, 0]
    assert areas.neighbourhood_of.tolist() == [0, 0, 1]
    assert areas.first_of.tolist() == [1, 3, 0]
    nothing = Areas.of([])
    assert (nothing.streets, nothing.street_of.tolist()) == ([], [])
