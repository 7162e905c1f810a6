"""Distances to streets against projections of other libraries and brute force; answers against loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import shapely
from scipy.optimize import minimize_scalar
from scipy.spatial.transform import Rotation

from ial_bench.geo.lines import MAX_RANGE_M, LineIndex, StreetLines
from ial_bench.geo.points import Points, haversine_m, points_of, unit_vectors
from ial_bench.geo.projections import from_local_m, to_local_m
from ial_bench.geocoding.geocoder import NearestStreet
from ial_bench.topk import NO_ANSWER

PLACES = [(37.76, -122.44), (0.0, 0.0), (12.0, 179.9999), (-40.0, -180.0), (89.9999, 30.0), (-90.0, 0.0)]


def town(origin: tuple[float, float], seed: int, n: int = 60, labels: int = 12) -> tuple[StreetLines, Points]:
    """Crooked lines and positions within about a kilometre of a place; some labels are -1."""
    rng = np.random.default_rng(seed)
    middle = np.array(origin)
    starts = rng.uniform(-800, 800, (n, 2))
    lines = [
        from_local_m(s + np.concatenate([np.zeros((1, 2)), np.cumsum(rng.normal(0, 90, (m, 2)), axis=0)]), middle)
        for s, m in zip(starts, rng.integers(1, 6, size=n), strict=True)
    ]
    positions = from_local_m(rng.uniform(-1000, 1000, (60, 2)), middle)
    return StreetLines.of(rng.integers(-1, labels, size=n), lines), positions


def by_shapely(lines: StreetLines, positions: Points) -> npt.NDArray[np.float64]:
    """[positions, lines] metres, on a plane that touches the Earth at each position in turn."""
    owners = np.repeat(np.arange(len(lines)), np.diff(lines.starts))
    planes = (shapely.linestrings(to_local_m(lines.points, p), indices=owners) for p in positions)
    return np.array([shapely.distance(plane, shapely.Point(0, 0)) for plane in planes])


def index_of(lines: StreetLines) -> LineIndex:
    return LineIndex(lines.points, lines.starts, lines.addresses)


def dense(lines: StreetLines, positions: Points, range_m: float) -> dict[tuple[int, int], float]:
    rows, labels, metres = index_of(lines).within(positions, range_m)
    assert (np.lexsort((labels, rows)) == np.arange(len(rows))).all()
    pairs = list(zip(rows.tolist(), labels.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    return dict(zip(pairs, metres.tolist(), strict=True))


@pytest.mark.parametrize("origin", PLACES)
def test_distances_are_those_of_shapely_anywhere_on_the_earth(origin: tuple[float, float]) -> None:
    lines, positions = town(origin, 1)
    found, wanted = dense(lines, positions, 300.0), by_shapely(lines, positions)
    n = 0
    for row in range(len(positions)):
        for label in np.unique(lines.addresses):
            metres = wanted[row, lines.addresses == label].min()
            if abs(metres - 300.0) > 0.01:
                assert ((row, label) in found) == (metres <= 300.0)
            if (row, label) in found:
                assert found[row, label] == pytest.approx(metres, abs=0.01)
                n += 1
    assert n > 100


def test_distances_in_a_utm_projection() -> None:
    """On the ellipsoid; the sphere is within 0.6 % of it."""
    from pyproj import Transformer

    lines, positions = town((37.76, -122.44), 2)
    project = Transformer.from_crs(4326, 32610, always_xy=True).transform
    flat = [shapely.LineString(np.stack(project(p[:, 1], p[:, 0]), axis=1)) for p in map(lines.line, range(len(lines)))]
    points = shapely.points(np.stack(project(positions[:, 1], positions[:, 0]), axis=1))
    for (row, label), metres in dense(lines, positions, 200.0).items():
        there = [f for f, a in zip(flat, lines.addresses, strict=True) if a == label]
        assert metres == pytest.approx(shapely.distance(points[row], np.array(there)).min(), rel=0.006, abs=0.01)


@pytest.mark.parametrize("length_m", [0.0, 0.01, 3.0, 39.9, 40.1, 5_000.0])
def test_the_nearest_point_of_an_arc_by_minimizing(length_m: float) -> None:
    """A line of any length, against the distance to points of the great circle, `haversine_m` telling it."""
    origin = np.array([61.0, 25.0])
    rng = np.random.default_rng(3)
    ends = from_local_m(np.array([[0.0, 0.0], [0.6 * length_m, 0.8 * length_m]]), origin)
    a, b = unit_vectors(ends)
    index = index_of(StreetLines.of([0], [ends]))
    for position in from_local_m(rng.uniform(-150, 150, (12, 2)) + rng.uniform(0, 1) * length_m * 0.5, origin):

        def metres(t: float, here: Points = position) -> float:
            return float(haversine_m(points_of((1 - t) * a + t * b), here))

        inner = minimize_scalar(metres, bounds=(0, 1), method="bounded", options={"xatol": 1e-9})
        wanted = min(float(inner.fun), metres(0.0), metres(1.0))
        _, _, found = index.within(position[None], MAX_RANGE_M)
        if wanted < MAX_RANGE_M - 0.01:
            assert found[0] == pytest.approx(wanted, abs=0.001)
        else:
            assert len(found) == 0


def test_turning_the_earth_turns_nothing() -> None:
    lines, positions = town((48.0, 8.0), 4)
    here = dense(lines, positions, 150.0)
    for seed in range(3):
        turn = Rotation.random(random_state=seed)
        points, where = (points_of(turn.apply(unit_vectors(p))) for p in (lines.points, positions))
        there = dense(StreetLines(lines.addresses, lines.starts, points), where, 150.0)
        assert here.keys() == there.keys()
        np.testing.assert_allclose(list(there.values()), list(here.values()), atol=1e-4)


def test_range_has_limits() -> None:
    lines, positions = town((48.0, 8.0), 5)
    for range_m in (0.0, -1.0, MAX_RANGE_M + 1, np.nan):
        with pytest.raises(ValueError, match="range"):
            index_of(lines).within(positions, range_m)


@pytest.mark.parametrize("k", [1, 3, 15])
def test_answers_are_those_of_loops(k: int) -> None:
    lines, positions = town((-33.0, 151.0), 6)
    n_candidates, range_m = 15, 80.0  # the last have no line
    geocoder = NearestStreet(lines, n_candidates, range_m)
    top, metres = geocoder.rank(positions, k), by_shapely(lines, positions)
    top.check(len(positions), k, n_candidates, "streets")
    outcomes = {"answered": 0, "out_of_range": 0, "street_not_a_candidate": 0}
    for row in range(len(positions)):
        listed, scores = top.indices[row][top.indices[row] >= 0], top.scores[row]
        nearest = metres[row].argmin()
        if metres[row, nearest] > range_m:
            outcomes["out_of_range"] += 1
            wanted: list[int] = []
        elif lines.addresses[nearest] < 0:
            outcomes["street_not_a_candidate"] += 1
            wanted = []
        else:
            outcomes["answered"] += 1
            each = {a: metres[row, lines.addresses == a].min() for a in set(lines.addresses.tolist()) - {-1}}
            wanted = sorted((a for a in each if each[a] <= range_m), key=lambda a: each[a])[:k]
            np.testing.assert_allclose(-scores[: len(wanted)], [each[a] for a in wanted], atol=0.01)
        assert listed.tolist() == wanted
        assert (top.indices[row][len(wanted) :] == NO_ANSWER).all()
    assert min(outcomes.values()) > 0
    assert geocoder.facts() == {"positions": len(positions), **outcomes}
    geocoder.rank(positions, k)  # as for latency
    assert geocoder.facts()["positions"] == len(positions)


def test_where_streets_meet_candidates_come_first_and_in_order() -> None:
    corner = np.array([10.0, 20.0])
    rays: list[Any] = [from_local_m(np.array([(0.0, 0.0), ray]), corner) for ray in ((90, 0), (0, 90), (90, 90))]
    here = from_local_m(np.array([[-3.0, -4.0]]), corner)
    top = NearestStreet(StreetLines.of([2, -1, 0], rays), 3, 100.0).rank(here, 3)
    assert top.indices.tolist() == [[0, 2, NO_ANSWER]]
    np.testing.assert_allclose(top.scores, -5.0, atol=1e-3)


def test_a_network_without_lines_and_no_positions_at_all() -> None:
    geocoder = NearestStreet(StreetLines.of([], []), 4, 100.0)
    top = geocoder.rank(np.zeros((3, 2)), 2)
    top.check(3, 2, 4, "streets")
    assert (top.indices == NO_ANSWER).all()
    assert geocoder.facts() == {"positions": 1, "answered": 0, "out_of_range": 1, "street_not_a_candidate": 0}
    assert geocoder.rank(np.zeros((0, 2)), 2).indices.shape == (0, 2)
