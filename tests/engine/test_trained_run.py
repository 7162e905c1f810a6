"""Trained methods through the whole engine, latency and operations included."""

from __future__ import annotations

from pathlib import Path

import pytest

from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.plan import Choice, EngineOptions, plan
from ial_bench.engine.run import Engine
from ial_bench.method import NoReport, config_from_text
from ial_bench.registry import Registry
from ial_bench.training.config import TrainingConfig

TRAINED = [n for n in Registry().names if issubclass(Registry().get(n).Config, TrainingConfig)]
BACKBONE = "openclip:tiny-street/random-init"  # its image tower is a vision transformer, which MaPLe needs


def test_there_are_trained_methods() -> None:
    assert "retrieval-tuned" in TRAINED
    assert {"addressclip", "clip-address", "coop", "cocoop", "maple", "clip-adapter", "tip-adapter-f"} <= set(TRAINED)


@pytest.mark.parametrize("name", TRAINED)
def test_a_run_is_done_and_measured(tiny_city: Dataset, tmp_path: Path, name: str) -> None:
    options = EngineOptions(tmp_path / "results", tmp_path / "cache", batch_size=8)
    report = NoReport()
    store = FeatureStore(options.cache, "cpu", 8, 0, report)
    method = Registry().get(name)
    config = config_from_text(method, {"backbone": BACKBONE, "epochs": "1", "batch_size": "8"})
    (planned,) = plan(tiny_city, [Choice(method, config, "tests")], (0,), options, store, report)
    record = Engine(tiny_city, options, store, report).execute(planned)
    assert record.status == "done", record.reason
    assert record.phases is not None
    assert record.phases.query is not None
    assert record.phases.query.torch_flops
    assert record.size is not None
    assert 0 < record.size.parameters_trained <= record.size.parameters
    facts = record.method.facts
    assert facts.get("stage1", facts)["training"]["best_epoch"] == 1  # a pipeline tells of its first stage by itself
