"""Trained methods through the whole engine, latency and operations included."""

from __future__ import annotations

from pathlib import Path

import pytest

from ial_bench.datasets.dataset import Dataset
from ial_bench.engine import timing
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.plan import ConfiguredMethod, EngineOptions, plan
from ial_bench.engine.record import RunRecord
from ial_bench.engine.run import Engine
from ial_bench.progress import NoReport
from ial_bench.registry import Registry
from ial_bench.settings import config_from_text
from ial_bench.testing import CHECK_BACKBONE
from ial_bench.training.config import TrainingConfig
from ial_bench.training.loop import Trainer

TRAINED = [n for n in Registry().names if issubclass(Registry().get(n).Config, TrainingConfig)]
BACKBONE = "openclip:tiny-street/random-init"  # its image tower is a vision transformer, which MaPLe needs


def test_there_are_trained_methods() -> None:
    assert "retrieval-tuned" in TRAINED
    assert {"addressclip", "clip-address", "coop", "cocoop", "maple", "clip-adapter", "tip-adapter-f"} <= set(TRAINED)


@pytest.mark.parametrize("name", TRAINED)
def test_a_run_is_done_and_measured(
    tiny_city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(timing, "WARMUP_CALLS", 2)
    monkeypatch.setattr(timing, "TIMED_CALLS", 5)  # how many there are otherwise, and their order, is seen in test_run
    options = EngineOptions(tmp_path / "results", tmp_path / "cache", batch_size=8)
    report = NoReport()
    store = FeatureStore(options.cache, "cpu", 8, 0, report)
    method = Registry().get(name)
    config = config_from_text(method, {"backbone": BACKBONE, "epochs": "1", "batch_size": "8"})
    (planned,) = plan(tiny_city, [ConfiguredMethod(method, config, "tests")], (0,), options, store, report)
    record = Engine(tiny_city, options, store, report).execute(planned)
    assert record.status == "done", record.reason
    assert record.phases is not None
    assert record.phases.query is not None
    assert record.phases.query.torch_flops
    assert record.size is not None
    assert 0 < record.size.parameters_trained <= record.size.parameters
    facts = record.method.facts
    assert facts.get("stage1", facts)["training"]["best_epoch"] == 1  # a pipeline tells of its first stage by itself


def test_a_damaged_checkpoint_becomes_no_result_and_rerun_gets_past_it(
    tiny_city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(rerun: bool = False) -> RunRecord:
        options = EngineOptions(tmp_path / "results", tmp_path / "cache", batch_size=8, timing=False, rerun=rerun)
        report = NoReport()
        store = FeatureStore(options.cache, "cpu", 8, 0, report)
        method = Registry().get("addressclip")
        config = config_from_text(method, {"backbone": CHECK_BACKBONE, "epochs": "2", "batch_size": "8"})
        (planned,) = plan(tiny_city, [ConfiguredMethod(method, config, "tests")], (0,), options, store, report)
        return Engine(tiny_city, options, store, report).execute(planned)

    end_epoch = Trainer._end_epoch

    def stops(trainer: Trainer, epoch: int) -> None:
        end_epoch(trainer, epoch)
        raise RuntimeError("the power went")

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_end_epoch", stops)
        assert run().status == "failed"
    (path,) = tmp_path.glob("cache/*/*/training.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    record = run()
    assert record.status == "failed"
    assert record.reason is not None
    assert f"the checkpoint {path} is damaged" in record.reason
    assert "--rerun" in record.reason
    assert not list(tmp_path.glob("results/*/*/*.parquet"))
    assert run(rerun=True).status == "done"
