"""What must hold of any partition, on generated networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from ial_bench.partition.network import Segment, StreetNetwork
from ial_bench.partition.substreets import Partition
from support.drawn_streets import check_invariants, degrees, shape

NAMES = ["Main St", "MAIN STREET", "Oak St", "Elm Ave", "Ash Ct", "Fir Way", "", "3rd St"]
nodes = st.tuples(st.integers(0, 6), st.integers(0, 6))
links = st.tuples(
    nodes, st.sampled_from([(1, 0), (0, 1), (1, 1), (2, 1), (0, 3)]), st.sampled_from(NAMES), st.booleans()
)


@st.composite
def networks(draw: st.DrawFn) -> tuple[list[Segment], float]:
    """Links of a bent grid, of few names, so that streets cross, fork, loop, break off and lie side by side."""
    with_ids = draw(st.booleans())
    step = draw(st.sampled_from([12.0, 25.0, 70.0, 160.0]))
    bend = draw(st.sampled_from([0.0, 0.23]))

    def place(node: tuple[int, int]) -> tuple[float, float]:
        x, y = node
        return (step * x + bend * step * np.sin(2 * y), step * y + bend * step * np.cos(3 * x))

    segments = []
    for start, (right, up), name, ring in draw(st.lists(links, min_size=1, max_size=25)):
        stop = (start[0] + right, start[1] + up)
        ids = (f"{start}", f"{stop}") if with_ids else None
        segments.append(
            Segment(name, np.round(degrees(place(start), place(stop)), 7), ids, roundabout=ring and not name)
        )
    return segments, draw(st.sampled_from([0.0, 40.0, 90.0]))


def some_name(segments: list[Segment]) -> bool:
    return any(s.name for s in segments)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(networks())
def test_invariants(case: tuple[list[Segment], float]) -> None:
    segments, least = case
    if some_name(segments):
        network = StreetNetwork.of(segments)
        check_invariants(network, Partition.of(network, least), least)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(networks(), st.randoms(use_true_random=False))
def test_neither_order_nor_direction_matters(case: tuple[list[Segment], float], random: object) -> None:
    segments, least = case
    if not some_name(segments):
        return
    changed = []
    for segment in segments:
        flip = random.random() < 0.5  # type: ignore[attr-defined]
        ids = segment.nodes[::-1] if segment.nodes and flip else segment.nodes
        changed.append(replace(segment, points=segment.points[::-1] if flip else segment.points, nodes=ids))
    random.shuffle(changed)  # type: ignore[attr-defined]
    one, other = (Partition.of(StreetNetwork.of(s), least) for s in (segments, changed))
    assert shape(one) == shape(other)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(networks(), st.sampled_from([32617, 3857, 2272]))
def test_the_coordinate_system_does_not_matter(case: tuple[list[Segment], float], epsg: int) -> None:
    """To the metres of a projection and back, as a file in that system is read."""
    segments, least = case
    if not some_name(segments):
        return
    there = Transformer.from_crs(4326, epsg, always_xy=True)
    back = Transformer.from_crs(epsg, 4326, always_xy=True)
    moved = []
    for segment in segments:
        lon, lat = back.transform(*there.transform(segment.points[:, 1], segment.points[:, 0]))
        moved.append(replace(segment, points=np.stack([lat, lon], axis=1)))
    assert shape(Partition.of(StreetNetwork.of(moved), least)) == shape(Partition.of(StreetNetwork.of(segments), least))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(networks(), st.lists(st.integers(0, 9), min_size=200, max_size=200))
def test_joining_for_places_keeps_every_metre(case: tuple[list[Segment], float], counts: list[int]) -> None:
    segments, least = case
    if not some_name(segments):
        return
    network = StreetNetwork.of(segments)
    before = Partition.of(network, least)
    mine = [counts[i % 200] for i in range(len(before.subs))]
    after, into = before.with_places(mine)
    check_invariants(network, after, least)
    totals = np.bincount(into, weights=mine, minlength=len(after.subs))
    assert totals.sum() == sum(mine)
    assert all(set(before.subs[i].parts) <= set(after.subs[into[i]].parts) for i in range(len(into)))


def test_rounding_of_coordinates_is_below_a_kerb() -> None:
    """Seven decimals: what `shape` and the network compare by."""
    a, b = degrees((0, 0)), degrees((0.005, 0.005))
    assert np.abs(np.round(a, 7) - np.round(b, 7)).max() == pytest.approx(0, abs=2e-7)
