"""From lines to a network: where lines meet, and where they do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ial_bench.errors import DataError
from ial_bench.geo.lines import length_m
from ial_bench.partition.network import StreetNetwork
from support.drawn_streets import line, partition_of, shape, texts

CROSS = [line("Main St", (-100, 0), (100, 0)), line("Oak St", (0, -100), (0, 100))]


def test_lines_without_ids_meet_where_they_cross() -> None:
    network = StreetNetwork.of(CROSS)
    assert network.noded == "geometry"
    assert len(network.edges) == 4
    assert len({n for e in network.edges for n in e.ends}) == 5


def test_a_bridge_crosses_without_meeting() -> None:
    over = [CROSS[0], replace(CROSS[1], level="bridge=yes layer=1")]
    assert len(StreetNetwork.of(over).edges) == 2
    assert texts(partition_of(over)) == ["Main Street", "Oak Street"]


def test_a_bridge_goes_on_where_it_ends() -> None:
    parts = [
        CROSS[0],
        line("Oak St", (0, -100), (0, -20)),
        line("Oak St", (0, -20), (0, 20), level="bridge=yes"),
        line("Oak St", (0, 20), (0, 100)),
    ]
    network = StreetNetwork.of(parts)
    assert len(network.edges) == 4
    assert len({n for e in network.edges for n in e.ends}) == 6
    assert texts(partition_of(parts)) == ["Main Street", "Oak Street"]
    assert partition_of(parts).n_streets == 2


def test_with_ids_only_a_shared_node_is_a_crossing() -> None:
    apart = [line("Main St", (-100, 0), (100, 0), ids="a b"), line("Oak St", (0, -100), (0, 100), ids="c d")]
    assert texts(partition_of(apart)) == ["Main Street", "Oak Street"]
    shared = [
        line("Main St", (-100, 0), (0, 0), (100, 0), ids="a x b"),
        line("Oak St", (0, -100), (0, 0), (0, 100), ids="c x d"),
    ]
    assert StreetNetwork.of(shared).noded == "ids"
    assert texts(partition_of(shared)) == ["Main Street (Oak Street)"] * 2 + ["Oak Street (Main Street)"] * 2


@pytest.mark.parametrize(("gap", "meets"), [(0.5, True), (-0.5, True), (3.0, False)])
def test_ends_meet_within_the_tolerance(gap: float, meets: bool) -> None:
    """A side street that ends short of the street, or a little past it."""
    found = texts(partition_of([CROSS[0], line("Oak St", (0, gap), (0, 100))]))
    assert found == (["Main Street (Oak Street)"] * 2 + ["Oak Street (Main Street)"] if meets else
                     ["Main Street", "Oak Street"])  # fmt: skip


def test_ends_of_several_lines_are_one_node() -> None:
    star = [line(f"Street {i}", (0.3 * i, 0.2 * i), (100 * np.cos(i), 100 * np.sin(i))) for i in range(3)]
    network = StreetNetwork.of(star)
    assert len({n for e in network.edges for n in e.ends}) == 4


def test_lines_that_share_a_stretch() -> None:
    """A name that changes along a way drawn twice: the shared metres are of both names, and cut at their ends."""
    network = StreetNetwork.of([line("Main St", (0, 0), (200, 0)), line("Oak St", (100, 0), (300, 0))])
    assert sorted(round(length_m(e.metres)) for e in network.edges) == [100, 100, 100, 100]


def test_a_line_that_stands_twice_counts_once() -> None:
    backwards = replace(CROSS[0], points=CROSS[0].points[::-1])
    assert shape(partition_of([*CROSS, backwards, CROSS[1]])) == shape(partition_of(CROSS))


def test_points_that_repeat_do_no_harm() -> None:
    doubled = replace(CROSS[0], points=np.repeat(CROSS[0].points, 3, axis=0))
    assert shape(partition_of([doubled, CROSS[1]])) == shape(partition_of(CROSS))


def test_a_roundabout_is_one_node() -> None:
    """Its ring has no name; the streets that end on it meet there all the same."""
    ring = line("", (20, 0), (0, 20), (-20, 0), (0, -20), (20, 0), ids="e n w s e", roundabout=True)
    arms = [
        line("Main St", (-200, 0), (-20, 0), ids="a w"),
        line("Main St", (20, 0), (200, 0), ids="e b"),
        line("Oak St", (0, 20), (0, 200), ids="n c"),
    ]
    assert texts(partition_of([ring, *arms])) == ["Main Street (Oak Street)"] * 2 + ["Oak Street (Main Street)"]
    assert partition_of([ring, *arms]).n_streets == 2


def test_a_roundabout_with_the_streets_name_is_part_of_it() -> None:
    ring = line("Main St", (20, 0), (0, 20), (-20, 0), (0, -20), (20, 0), ids="e n w s e", roundabout=True)
    arms = [
        line("Main St", (-200, 0), (-20, 0), ids="a w"),
        line("Main St", (20, 0), (200, 0), ids="e b"),
        line("Oak St", (0, 20), (0, 200), ids="n c"),
    ]
    partition = partition_of([ring, *arms])
    assert texts(partition) == ["Main Street (Oak Street)"] * 2 + ["Oak Street (Main Street)"]
    assert sorted(round(s.length_m) for s in partition.subs) == [180, 180, 180]


def test_ways_without_a_name_are_no_streets() -> None:
    network = StreetNetwork.of([*CROSS, line("", (50, -100), (50, 100)), line("UNNAMED 7", (60, -100), (60, 0))])
    assert round(network.unnamed_m) == 300
    assert texts(partition_of([*CROSS, line("", (50, -100), (50, 100))])) == texts(partition_of(CROSS))
    with pytest.raises(DataError, match="no line of the street map has a name"):
        StreetNetwork.of([line("", (0, 0), (1, 1))])


def test_the_commonest_spelling_is_shown() -> None:
    lines = [line("Main Street", (0, 0), (9, 0)), line("Main St.", (9, 0), (19, 0)), line("MAIN ST", (19, 0), (29, 0))]
    assert StreetNetwork.of(lines).names == {"main street": "Main Street"}
