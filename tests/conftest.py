"""Fixtures that several tests share."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from ial_bench.datasets.dataset import Dataset
from ial_bench.testing import make_tiny_city
from support.warm_bench import Server, serving

CAMBRIDGE = Path(__file__).resolve().parents[2] / "shared" / "data" / "cambridge"
"""Real photographs, where they lie beside the checkout; they are not part of the project."""

STREET_MAPS = CAMBRIDGE.parent / "streets"
"""Street maps of San Francisco and West Oakland; not part of the project either."""


def pytest_collection_finish() -> None:
    """What was imported stays to the end: looking for rings of objects goes past it from here on."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def homes_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folders not made yet, by number: `mktemp` would look through all that are there for each of thousands."""
    folder = tmp_path_factory.mktemp("homes")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def _own_homes(homes_of_tests: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's results, cache or datasets, or asks a hub."""
    home = next(homes_of_tests)
    home.mkdir()
    for variable, folder in (("RESULTS", "results"), ("CACHE", "cache"), ("DATA", "data")):
        monkeypatch.setenv(f"IAL_BENCH_{variable}", str(home / folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def tiny_city(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Six addresses, drawn photos; read only."""
    return make_tiny_city(tmp_path_factory.mktemp("tiny-city"))


@pytest.fixture(scope="session")
def cambridge() -> Path:
    """The folder of real photographs, or a skip that says so."""
    if not (CAMBRIDGE / "annotations").is_dir():
        pytest.skip(f"no real photographs at {CAMBRIDGE}")
    return CAMBRIDGE


@pytest.fixture(scope="session")
def street_maps() -> Path:
    """The folder of real street maps, or a skip that says so."""
    if not (STREET_MAPS / "san_francisco.geojson").is_file():
        pytest.skip(f"no street maps at {STREET_MAPS}")
    return STREET_MAPS


@pytest.fixture(scope="session")
def warm_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """What starts `bench` in processes of its own without the imports."""
    with serving(tmp_path_factory.mktemp("warm-bench")) as server:
        yield server


@pytest.fixture(scope="session")
def packed_results(tiny_city: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two baselines, one of them with two seeds, and an oracle; read only."""
    from support.made_records import run_baselines

    folder = tmp_path_factory.mktemp("packed")
    run_baselines(tiny_city, folder, seeds=(0, 1))
    return folder / "results"


@pytest.fixture(scope="session")
def pack(packed_results: Path, tiny_city: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """They in a pack; read only."""
    from ial_bench.packs.pack import make_pack

    path = tmp_path_factory.mktemp("pack") / "honest.ialpack"
    make_pack(packed_results, tiny_city.name, [], path)
    return path
