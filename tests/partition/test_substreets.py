"""Streets cut into sub-streets: drawn cases whose cut is plain to see."""

from __future__ import annotations

import numpy as np
import pytest

from ial_bench.partition.network import Segment, StreetNetwork
from ial_bench.partition.substreets import merge_small
from support.drawn_streets import check_invariants, line, partition_of, texts

MAIN = line("Main St", (0, 0), (300, 0))


def side(name: str, x: float, y: float = 100.0) -> Segment:
    return line(name, (x, 0), (x, y))


def main_street(segments: list[Segment], min_length_m: float = 50.0) -> list[str]:
    return [t for t in texts(partition_of(segments, min_length_m)) if t.startswith("Main")]


def test_a_street_is_cut_at_its_crossings() -> None:
    found = main_street([MAIN, side("Oak St", 0), side("Elm St", 150), side("Ash St", 300)])
    assert found == ["Main Street (Ash Street, Elm Street)", "Main Street (Elm Street, Oak Street)"]


def test_a_dead_end_has_one_cross_street_and_a_lone_street_none() -> None:
    assert main_street([MAIN, side("Oak St", 0)]) == ["Main Street (Oak Street)"]
    assert main_street([MAIN]) == ["Main Street"]


def test_crossings_too_close_are_thinned() -> None:
    """The 20 m between Elm and Fir are joined to the shorter neighbour, so that Fir's crossing counts no more."""
    sides = [side("Oak St", 0), side("Elm St", 130), side("Fir St", 150), side("Ash St", 300)]
    assert main_street([MAIN, *sides]) == [
        "Main Street (Ash Street, Fir Street)",
        "Main Street (Fir Street, Oak Street)",
    ]
    assert len(main_street([MAIN, *sides], min_length_m=10)) == 3
    assert partition_of([MAIN, *sides]).dropped_crossings == 1


def test_a_street_shorter_than_the_minimum_stays() -> None:
    partition = partition_of([line("Main St", (0, 0), (30, 0)), side("Oak St", 0), side("Elm St", 30)])
    assert "Main Street (Elm Street, Oak Street)" in texts(partition)


def test_one_name_in_two_parts_of_town_is_two_streets() -> None:
    far = [line("Main St", (5000, 0), (5100, 0)), line("Pine St", (5000, 0), (5000, 90))]
    partition = partition_of([MAIN, side("Oak St", 0), *far])
    assert [t for t in texts(partition) if t.startswith("Main")] == [
        "Main Street (Oak Street)",
        "Main Street (Pine Street)",
    ]
    assert partition.n_streets == 4


def test_a_gap_is_bridged() -> None:
    """A loose end and the next line of the same street 20 m on are one street; 200 m on they are two."""
    for gap, n in ((20.0, 1), (200.0, 2)):
        parts = [line("Main St", (0, 0), (100, 0)), line("Main St", (100 + gap, 0), (500, 0))]
        assert partition_of(parts).n_streets == n


def dual(gap: float = 20.0) -> list[Segment]:
    """A boulevard's carriageways, crossed by two streets, and one that ends at the southern carriageway."""
    return [
        line("Main St", (0, 0), (150, 0), (300, 0)),
        line("Main St", (0, gap), (150, gap), (300, gap)),
        line("Oak St", (0, -100), (0, 100 + gap)),
        line("Ash St", (300, -100), (300, 100 + gap)),
        line("Elm St", (150, -100), (150, 0)),
    ]


def test_carriageways_are_one_street() -> None:
    partition = partition_of(dual())
    found = [s for s in partition.subs if s.street.key == "main street"]
    assert texts(partition)[3:5] == ["Main Street (Ash Street, Elm Street)", "Main Street (Elm Street, Oak Street)"]
    assert [round(s.length_m) for s in found] == [150, 150]
    assert [len(s.lines) for s in found] == [2, 2]


def test_a_crossing_with_both_carriageways_counts_once() -> None:
    assert [t for t in texts(partition_of(dual())) if t.startswith("Oak")] == ["Oak Street (Main Street)"] * 2


def test_the_stretch_between_carriageways_is_no_sub_street() -> None:
    """It is 20 m long, and stays out however short a sub-street may be."""
    partition = partition_of(dual(), min_length_m=10.0)
    oak = [s for s in partition.subs if s.street.key == "oak street"]
    assert [round(s.length_m) for s in oak] == [100, 100]


def test_lines_far_apart_are_no_carriageways() -> None:
    found = [s for s in partition_of(dual(gap=80.0)).subs if s.street.key == "main street"]
    assert all(len(s.lines) == 1 for s in found)


def test_carriageways_that_part_from_one_line() -> None:
    segments = [
        line("Main St", (-200, 0), (0, 0)),
        line("Main St", (0, 0), (20, 10), (200, 10)),
        line("Main St", (0, 0), (20, -10), (200, -10)),
        line("Oak St", (200, -90), (200, 90)),
        line("Elm St", (-200, -90), (-200, 90)),
    ]
    assert main_street(segments) == ["Main Street (Elm Street, Oak Street)"]


def ring(n: int = 24, radius: float = 60.0) -> Segment:
    turns = np.linspace(0, 2 * np.pi, n + 1)
    return line("Main St", *[(radius * np.cos(t), radius * np.sin(t)) for t in turns])


def test_a_loop_on_one_street() -> None:
    assert main_street([ring(), line("Oak St", (60, 0), (200, 0))]) == ["Main Street (Oak Street)"]


def test_the_halves_of_a_loop_share_their_address() -> None:
    found = main_street([ring(), line("Oak St", (60, 0), (200, 0)), line("Elm St", (-60, 0), (-200, 0))])
    assert found == ["Main Street (Elm Street, Oak Street)"] * 2


def test_a_loop_without_a_crossing() -> None:
    assert main_street([ring()]) == ["Main Street"]


def test_a_street_that_forks() -> None:
    """Where its arms meet is no crossing: no other street is there."""
    arms = [line("Main St", (300, 0), (400, 80)), line("Main St", (300, 0), (400, -80))]
    found = main_street([MAIN, *arms, side("Oak St", 0), line("Elm St", (400, 80), (400, 200))])
    assert found == ["Main Street (Elm Street, Oak Street)"]


def test_a_name_that_changes_along_a_way() -> None:
    found = texts(partition_of([MAIN, line("Oak St", (300, 0), (600, 0))]))
    assert found == ["Main Street (Oak Street)", "Oak Street (Main Street)"]


def test_of_several_streets_at_an_end_the_one_that_passes_is_named() -> None:
    through = line("Oak St", (0, -100), (0, 100))
    assert main_street([MAIN, through, line("Ash St", (0, 0), (-70, 70))]) == ["Main Street (Oak Street)"]


def test_places_join_sub_streets() -> None:
    sides = [side("Oak St", 0), side("Elm St", 100), side("Fir St", 200), side("Ash St", 300)]
    partition = partition_of([MAIN, *sides])
    main = [i for i, s in enumerate(partition.subs) if s.street.key == "main street"]
    named = {partition.address(partition.subs[i], "N").cross_streets: i for i in main}
    west, middle, east = (named[pair] for pair in [("Elm Street", "Oak Street"), ("Elm Street", "Fir Street"),
                                                   ("Ash Street", "Fir Street")])  # fmt: skip
    counts = [0] * len(partition.subs)
    counts[west], counts[middle], counts[east] = 9, 2, 7
    joined, into = partition.with_places(counts)
    assert into[middle] == into[east] != into[west], "the neighbour with the fewest places takes it"
    assert joined.address(joined.subs[into[middle]], "N").cross_streets == ("Ash Street", "Elm Street")
    counts[west] = counts[east] = 0
    alone, same = partition.with_places(counts)
    assert len(alone.subs) == len(partition.subs), "neighbours without places are none"
    assert same == list(range(len(counts)))


def test_merging_against_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        n = int(rng.integers(1, 9))
        sizes = rng.integers(0, 20, n).astype(float).tolist()
        neighbours = {i: {j for j in (i - 1, i + 1) if 0 <= j < n} for i in range(n)}
        assert merge_small(sizes, neighbours, 10.0) == _plain(sizes, neighbours, 10.0)


def _plain(sizes: list[float], neighbours: dict[int, set[int]], least: float) -> list[int]:
    groups = {i: [i] for i in range(len(sizes))}
    while True:
        size = {g: sum(sizes[i] for i in members) for g, members in groups.items()}
        beside = {
            g: {h for h in groups if h != g and any(neighbours[i] & set(groups[h]) for i in groups[g])} for g in groups
        }
        small = sorted((size[g], g) for g in groups if size[g] < least and beside[g])
        if not small:
            break
        g = small[0][1]
        h = min(beside[g], key=lambda x: (size[x], x))
        groups[min(g, h)] = sorted(groups.pop(g) + groups.pop(h))
    return [next(g for g, members in groups.items() if i in members) for i in range(len(sizes))]


@pytest.mark.parametrize(
    "segments", [dual(), [ring(), side("Oak St", 60)], [MAIN, side("Oak St", 0), side("Elm St", 20)]]
)
def test_drawn_cases_keep_the_invariants(segments: list[Segment]) -> None:
    network = StreetNetwork.of(segments)
    check_invariants(network, partition_of(segments), 50.0)
