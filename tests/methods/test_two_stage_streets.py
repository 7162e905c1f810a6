"""Image -> GPS -> address by the street network: runs, their identity, keeping and loading, skips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.streets import STREETS, write_streets
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.identity import RunSpec
from ial_bench.engine.plan import ConfiguredMethod, EngineOptions, Planned, plan
from ial_bench.engine.run import Engine
from ial_bench.errors import SkipMethod
from ial_bench.geo.lines import StreetLines
from ial_bench.method import RunContext
from ial_bench.progress import NoReport
from ial_bench.registry import Registry
from ial_bench.settings import config_from_text
from ial_bench.testing import CHECK_BACKBONE, check_method, make_tiny_city

NAMES = ("two-stage", "gps-oracle")


def settings(name: str, **more: str) -> dict[str, str]:
    backbone = {"backbone": CHECK_BACKBONE} if name == "two-stage" else {}
    return {"stage2": "streets", **backbone, **more}


def planned(data: Dataset, folder: Path, name: str, **more: str) -> tuple[Planned, Engine]:
    method = Registry().get(name)
    options = EngineOptions(folder / "results", folder / "cache", timing=False)
    store, report = FeatureStore(folder / "cache", "cpu", 8, 0, NoReport()), NoReport()
    choice = ConfiguredMethod(method, config_from_text(method, settings(name, **more)), "")
    (one,) = plan(data, [choice], [0], options, store, report)
    return one, Engine(data, options, store, report)


@pytest.mark.parametrize("name", NAMES)
def test_the_contract_is_kept(name: str) -> None:
    method = Registry().get(name)
    check_method(method, config_from_text(method, settings(name)))


def test_the_oracle_knows_every_street_of_the_tiny_city(tiny_city: Dataset, tmp_path: Path) -> None:
    one, engine = planned(tiny_city, tmp_path, "gps-oracle")
    record = engine.execute(one)
    assert record.metrics is not None, record.traceback
    assert record.metrics.accuracy["SSA-1"].value == 1
    places = len(np.unique(tiny_city.split("query").places))
    told = {"positions": places, "answered": places, "out_of_range": 0, "street_not_a_candidate": 0}
    assert record.method.facts["geocoder"] == told


def test_what_is_out_of_range_is_unknown_and_wrong(tiny_city: Dataset, tmp_path: Path) -> None:
    one, engine = planned(tiny_city, tmp_path, "gps-oracle", street_range_m="0.001")
    record = engine.execute(one)
    assert record.metrics is not None, record.traceback
    assert record.metrics.accuracy["SSA-5"].value == 0
    assert record.method.facts["geocoder"]["out_of_range"] == record.method.facts["geocoder"]["positions"]


@pytest.mark.parametrize("name", NAMES)
def test_a_loaded_method_needs_no_dataset_and_answers_alike(tiny_city: Dataset, tmp_path: Path, name: str) -> None:
    cls = Registry().get(name)
    store = FeatureStore(tmp_path, "cpu", 8, 0, NoReport())
    made, loaded = (cls(config_from_text(cls, settings(name)), RunContext(0, "cpu", store, NoReport())) for _ in "ab")
    assert made.reads_streets
    made.prepare()
    made.fit(tiny_city.split("train"), tiny_city.split("val"))
    made.index(tiny_city.candidates)
    folder = tmp_path / "state"
    folder.mkdir()
    made.save(folder)
    loaded.prepare()
    loaded.load(folder)
    queries = tiny_city.split("query").batch(oracle=name == "gps-oracle")
    wanted, found = made.predict(queries, 6), loaded.predict(queries, 6)
    np.testing.assert_array_equal(found.indices, wanted.indices)
    np.testing.assert_array_equal(found.scores, wanted.scores)
    assert (wanted.indices[:, 0] >= 0).any()
    assert loaded.storage_bytes() == made.storage_bytes()
    assert tiny_city.streets is not None
    network = sum(a.nbytes for a in tiny_city.streets.state().values())
    assert made.storage_bytes() >= network
    if name == "gps-oracle":
        assert made.storage_bytes() == network


@pytest.mark.parametrize("name", NAMES)
def test_the_network_is_part_of_the_identity_of_runs_that_read_it(tmp_path: Path, name: str) -> None:
    data = make_tiny_city(tmp_path / "city")
    before = {s: planned(data, tmp_path, name, stage2=s)[0].spec for s in ("streets", "nearest")}
    assert data.streets is not None
    assert before["streets"].streets_digest == data.streets.digest
    assert before["nearest"].streets_digest is None
    write_streets(data.folder, StreetLines.of(data.streets.addresses, [data.streets.line(i) + 1e-6 for i in range(6)]))
    data = Dataset(data.folder)
    after = {s: planned(data, tmp_path, name, stage2=s)[0].spec for s in ("streets", "nearest")}
    assert after["nearest"].run_id == before["nearest"].run_id
    assert after["streets"].run_id != before["streets"].run_id
    assert after["streets"].dataset_digest == before["streets"].dataset_digest


def test_runs_that_read_no_network_have_the_identity_they_had() -> None:
    assert RunSpec("m", "1", {"a": 1}, None, "d", "c", None, 0, 10).run_id == "623d4bf636ab2445"
    for name in NAMES:  # a setting that they do not read does not tell them apart
        config: Any = Registry().get(name).Config
        assert "street_range_m" not in config().model_dump(mode="json")
        assert config(stage2="streets").model_dump(mode="json")["street_range_m"] == 100


@pytest.mark.parametrize("name", NAMES)
def test_without_a_street_network_the_run_is_skipped_before_work(tmp_path: Path, name: str) -> None:
    data = make_tiny_city(tmp_path / "city")
    (data.folder / STREETS).unlink()
    one, engine = planned(data, tmp_path, name)
    assert one.state == "skip"
    assert "bench data synth" in (one.reason or "")
    assert engine.execute(one).status == "skipped"
    assert planned(data, tmp_path, name, stage2="nearest")[0].state == "run"
    cls = Registry().get(name)
    store = FeatureStore(tmp_path / "cache", "cpu", 8, 0, NoReport())
    method = cls(config_from_text(cls, settings(name)), RunContext(0, "cpu", store, NoReport()))
    with pytest.raises(SkipMethod, match="no street network"):  # of one that is fitted without an engine
        method.fit(data.split("train"), data.split("val"))
