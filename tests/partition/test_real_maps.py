"""Real streets: Cambridge against an annotation made by another, simpler cut; San Francisco; West Oakland."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pyproj import Transformer

from ial_bench.addresses import Address
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.verify import verify
from ial_bench.geocoding.street_names import NameNormalizer
from ial_bench.partition.dataset import build_dataset
from ial_bench.partition.geojson import read_geojson_streets
from ial_bench.partition.network import Segment, StreetNetwork
from ial_bench.partition.options import BuildOptions
from ial_bench.partition.osm import read_osm
from ial_bench.partition.substreets import MIN_LENGTH_M, Partition
from support.drawn_streets import check_invariants, shape, texts

DOWNTOWN = np.array([[37.775, -122.425], [37.795, -122.395]])
"""A part of San Francisco with a boulevard, two grids askew, alleys and ramps."""


@pytest.fixture(scope="module")
def downtown(street_maps: Path) -> list[Segment]:
    segments = read_geojson_streets(street_maps / "san_francisco.geojson").segments
    return [s for s in segments if ((s.points >= DOWNTOWN[0]) & (s.points <= DOWNTOWN[1])).all()]


def test_cambridge_against_the_ready_annotation(cambridge: Path, tmp_path: Path) -> None:
    build = build_dataset(
        BuildOptions(
            cambridge / "coords.csv", tmp_path / "c", "c", cambridge / "streets.geojson", neighbourhood="City Centre"
        )
    )
    data = Dataset(build.folder)
    assert verify(data, quick=True).problems == []
    ready: dict[str, Address] = {}
    for name in ("train", "queries"):
        for path, texts_of in json.loads((cambridge / "annotations" / f"cambridge_{name}.json").read_text()).items():
            ready[path.removeprefix("./")] = Address.parse(texts_of[2])
    normalizer = NameNormalizer()
    streets, whole = Counter[bool](), Counter[bool]()
    differences: Counter[tuple[str, str]] = Counter()
    for path, row in zip(data.texts("path").to_pylist(), data.numbers("address").tolist(), strict=True):
        if path in ready:
            mine, other = data.addresses[row], ready[path]
            same = normalizer.key(mine.street) == normalizer.key(other.street)
            streets[same] += 1
            whole[same and _crossings(normalizer, mine) == _crossings(normalizer, other)] += 1
            if not same:
                differences[other.text, mine.text] += 1
    for (other_text, mine_text), photos in differences.most_common():
        print(f"{photos} photos: {other_text} there, {mine_text} here")
    share = streets[True] / streets.total()
    print(f"{streets.total()} photos: main street {share:.1%}, whole address {whole[True] / whole.total():.1%}")
    assert streets.total() == len(ready)
    assert share > 0.95


def _crossings(normalizer: NameNormalizer, address: Address) -> list[str]:
    return sorted(normalizer.key(c) for c in address.cross_streets)


def test_invariants_of_cambridge(cambridge: Path) -> None:
    network = StreetNetwork.of(read_geojson_streets(cambridge / "streets.geojson").segments)
    check_invariants(network, Partition.of(network), MIN_LENGTH_M)


@pytest.mark.slow
def test_invariants_of_san_francisco(street_maps: Path) -> None:
    """The whole city; its middle is in the tests below."""
    source = read_geojson_streets(street_maps / "san_francisco.geojson")
    assert len(source.segments) == 15_602
    network = StreetNetwork.of(source.segments)
    partition = Partition.of(network)
    check_invariants(network, partition, MIN_LENGTH_M)
    assert network.noded == "ids"
    assert len(partition.subs) > 10_000
    assert any(s.street.key == "saint germain avenue" for s in partition.subs)


def test_invariants_of_downtown(downtown: Sequence[Segment]) -> None:
    network = StreetNetwork.of(downtown)
    check_invariants(network, Partition.of(network), MIN_LENGTH_M)


def test_invariants_without_node_ids(downtown: Sequence[Segment]) -> None:
    """Found by geometry, nearly all crossings are those that the ids tell of."""
    bare = [replace(s, nodes=None) for s in downtown]
    network = StreetNetwork.of(bare)
    by_geometry = Partition.of(network)
    check_invariants(network, by_geometry, MIN_LENGTH_M)
    one, other = set(texts(by_geometry)), set(texts(Partition.of(StreetNetwork.of(downtown))))
    assert len(one & other) > 0.95 * len(one | other)


def test_order_direction_and_coordinates_of_san_francisco(downtown: Sequence[Segment]) -> None:
    plain = shape(Partition.of(StreetNetwork.of(downtown)))
    rng = np.random.default_rng(0)
    there = Transformer.from_crs(4326, 7131, always_xy=True)  # the city's own projection
    back = Transformer.from_crs(7131, 4326, always_xy=True)
    changed = []
    for i in rng.permutation(len(downtown)).tolist():
        segment = downtown[i]
        lon, lat = back.transform(*there.transform(segment.points[:, 1], segment.points[:, 0]))
        moved = replace(segment, points=np.stack([lat, lon], axis=1))
        if rng.random() < 0.5:
            moved = replace(moved, points=moved.points[::-1], nodes=(moved.nodes or ())[::-1])
        changed.append(moved)
    assert shape(Partition.of(StreetNetwork.of(changed))) == plain


def test_the_carriageways_of_van_ness_avenue(street_maps: Path) -> None:
    """Two lines on the map, one street: every block between two named crossings, and none twice."""
    segments = read_geojson_streets(street_maps / "san_francisco.geojson").segments
    near = [s for s in segments if (np.abs(s.points - [37.7905, -122.4225]) < [0.004, 0.003]).all()]
    found = [t for t in texts(Partition.of(StreetNetwork.of(near))) if t.startswith("Van Ness Avenue")]
    assert "Van Ness Avenue (California Street, Pine Street)" in found
    assert len(found) == len(set(found))


def test_west_oakland(street_maps: Path) -> None:
    source = read_osm(street_maps / "west_oakland.osm.bz2")
    network = StreetNetwork.of(source.segments)
    partition = Partition.of(network)
    check_invariants(network, partition, MIN_LENGTH_M)
    found = texts(partition)
    assert "7th Street (Willow Street, Wood Street)" in found
    assert "Willow Street (Chase Street, Goss Street)" in found
    assert found.count("7th Street (Willow Street, Wood Street)") == 1
