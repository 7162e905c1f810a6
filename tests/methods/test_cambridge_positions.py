"""Retrieval and image-position-address pipelines through the engine, on real photographs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.importing.released import ReleasedOptions, import_released
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.plan import ConfiguredMethod, EngineOptions, plan
from ial_bench.engine.record import RunRecord
from ial_bench.engine.run import Engine
from ial_bench.progress import NoReport
from ial_bench.registry import Registry
from ial_bench.testing import CHECK_BACKBONE

INDEXES = ("flat", "ivf:16", "hnsw:16")
STAGES = [(first, second) for first in ("nearest", "mean", "mean-shift") for second in ("nearest", "radius")]


def choices(registry: Registry) -> Iterator[tuple[Any, ConfiguredMethod]]:
    def one(name: str, **settings: Any) -> ConfiguredMethod:
        method = registry.get(name)
        return ConfiguredMethod(method, method.Config(**settings), registry.origin(name))

    for index in INDEXES:
        # All lists and many nodes are looked at: the indexes then differ from exact search in speed alone.
        yield index, one("retrieval", backbone=CHECK_BACKBONE, index=index, nprobe=16, ef_search=512)
    for first, second in STAGES:
        yield (first, second), one("two-stage", backbone=CHECK_BACKBONE, stage1=first, stage2=second)
    for second in ("nearest", "radius"):
        yield second, one("gps-oracle", stage2=second)


@pytest.fixture(scope="module")
def found(cambridge: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Any, RunRecord]:
    folder = tmp_path_factory.mktemp("cambridge")
    annotations = cambridge / "annotations"
    import_released(
        ReleasedOptions(annotations, cambridge, "cambridge", folder / "data", annotations / "coords.csv", "31N")
    )
    dataset, registry, report = Dataset(folder / "data"), Registry(), NoReport()
    options = EngineOptions(folder / "results", folder / "cache", timing=False)
    store = FeatureStore(options.cache, options.device, options.batch_size, options.workers, report)
    engine = Engine(dataset, options, store, report)
    made = {}
    for key, choice in choices(registry):
        (planned,) = plan(dataset, [choice], (0,), options, store, report)
        made[key] = engine.execute(planned)
    return made


def accuracy(record: RunRecord, name: str = "SSA-1") -> float:
    assert record.status == "done", record.reason
    assert record.metrics is not None
    return record.metrics.accuracy[name].value


def test_all_run_and_the_nearest_photo_is_better_than_chance(found: dict[Any, RunRecord]) -> None:
    """Even with an untrained encoder. Means of positions are not: its neighbours lie all over the town."""
    assert len(found) == len(INDEXES) + len(STAGES) + 2
    assert all(record.status == "done" for record in found.values())
    assert all(accuracy(found[key]) > 2 / 27 for key in (*INDEXES, *STAGES[:2]))


def test_approximate_indexes_that_look_everywhere_answer_as_the_exact_one(found: dict[Any, RunRecord]) -> None:
    for index in INDEXES[1:]:
        assert accuracy(found[index]) == pytest.approx(accuracy(found["flat"]), abs=0.02)
        assert found[index].method.facts["recall_at_10"] > 0.98


@pytest.mark.parametrize("second", ["nearest", "radius"])
def test_the_oracle_is_the_ceiling_of_its_geocoder(found: dict[Any, RunRecord], second: str) -> None:
    """Train and query places of a street are about 6 m apart and positions are up to 10 m off: not 100 %."""
    ceiling = accuracy(found[second])
    assert 0.8 < ceiling < 1.0
    for first in ("nearest", "mean", "mean-shift"):
        record = found[first, second]
        assert accuracy(record) < ceiling
        val = record.method.facts["val"]
        assert val["ssa1_predicted_position"] <= val["ssa1_true_position"]
        assert val["median_m"] > 0


def test_a_mean_is_nearer_on_the_map(found: dict[Any, RunRecord]) -> None:
    """It is what its numbers are chosen for on val."""
    nearest, mean = found["nearest", "nearest"], found["mean", "nearest"]
    assert mean.method.facts["val"]["median_m"] <= nearest.method.facts["val"]["median_m"]
