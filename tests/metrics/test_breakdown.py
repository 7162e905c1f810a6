"""Parts of queries against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from ial_bench.metrics.accuracy import Partition, breakdown, by_edges, by_name, by_sector
from ial_bench.metrics.intervals import clustered_means


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
