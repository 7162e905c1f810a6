"""Fusion as a method: what its weights 0 and 1 are, what is kept, and what happens without val."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ial_bench import Candidates
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine import fitted_methods
from ial_bench.engine.answering import answer, fitted, softmax
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.plan import ConfiguredMethod as Chosen
from ial_bench.engine.plan import EngineOptions, plan
from ial_bench.engine.run import Engine
from ial_bench.errors import ConfigError, DataError, SkipMethod
from ial_bench.geo.points import haversine_m
from ial_bench.method import RunContext
from ial_bench.progress import NoReport
from ial_bench.settings import config_from_text
from ial_bench.testing import CHECK_BACKBONE, check_method, make_tiny_city
from ial_methods.addressclip.method import AddressClip
from ial_methods.fusion.late_fusion import Fusion, FusionGeographic
from support.retrieval_lab import fitted as fitted_retrieval
from support.retrieval_lab import held

SHORT: dict[str, Any] = {"backbone": CHECK_BACKBONE, "epochs": "2", "batch_size": "16", "learning_rate": "0.003"}
FIXED: dict[str, Any] = {"k_grid": "[4]", "temperature_grid": "[0.1]", "text_temperature_grid": "[2]"}


def context(folder: Path) -> RunContext:
    report = NoReport()
    return RunContext(0, "cpu", FeatureStore(folder / "cache", "cpu", 8, 0, report), report, 8)


def make(folder: Path, cls: type[AddressClip] = Fusion, **settings: str) -> Any:
    return cls(config_from_text(cls, {**SHORT, **settings}), context(folder))


def fit(method: Any, data: Dataset) -> Any:
    method.prepare()
    method.fit(data.split("train"), data.split("val"))
    method.index(data.candidates)
    return method


def lines(method: Any) -> list[str]:
    return list(method.context.report.lines)


def tuned(method: Any, data: Dataset, split: str) -> Any:
    """Unit features of a split by the method's tower."""
    return np.concatenate([x for _, x in method.photo_features(data.split(split))])


@pytest.fixture(scope="module")
def fused(tiny_city: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Fitted with a weight of 0.4; read only."""
    return fit(make(tmp_path_factory.mktemp("fused"), weight_grid="[0.4]", **FIXED), tiny_city)


@pytest.mark.parametrize(("cls", "train"), [(Fusion, "none"), (FusionGeographic, "both")])
def test_the_contract_is_kept(cls: type[Fusion], train: str) -> None:
    check_method(cls, config_from_text(cls, {**SHORT, "epochs": "1", "train": train}))


def test_without_weight_it_is_addressclip(tiny_city: Dataset, tmp_path: Path) -> None:
    queries = tiny_city.split("query").batch()
    theirs = fit(make(tmp_path, AddressClip), tiny_city).predict(queries, 6)
    for temperature, cls in (("[1]", Fusion), ("[4]", FusionGeographic)):
        more: dict[str, Any] = {"spread_grid": "[0]"} if cls is FusionGeographic else {}
        settings = {**FIXED, "weight_grid": "[0]", "text_temperature_grid": temperature, **more}
        ours = fit(make(tmp_path, cls, **settings), tiny_city).predict(queries, 6)
        np.testing.assert_array_equal(ours.indices, theirs.indices)
        np.testing.assert_allclose(ours.scores * float(temperature[1]), theirs.scores, rtol=1e-6)


def test_with_all_weight_it_is_retrieval_on_the_tuned_features(tiny_city: Dataset, tmp_path: Path) -> None:
    """Down to the order of addresses without a vote, and with the same choice of neighbours and temperature."""
    grids: dict[str, Any] = {"k_grid": "[1,3,9]", "temperature_grid": "[0.01,0.3]"}
    ours = fit(make(tmp_path, weight_grid="[1]", **grids), tiny_city)
    parts = [
        held(tuned(ours, tiny_city, s), tiny_city.split(s).labels, len(tiny_city.candidates), name=s)
        for s in ("train", "val")
    ]
    theirs = fitted_retrieval(tmp_path, *parts, **grids)
    top = ours.predict(tiny_city.split("query").batch(), 6)
    expected = theirs.predict_features(tuned(ours, tiny_city, "query"), 6)
    assert ours.facts["fusion"]["val_ssa1"]["retrieval"] == theirs.facts["val_ssa1"]
    if (ours.choice.k, ours.choice.temperature) == (theirs.k, theirs.temperature):  # else equally good on val
        np.testing.assert_array_equal(top.indices, expected.indices)
    theirs.k, theirs.temperature = ours.choice.k, ours.choice.temperature
    expected = theirs.predict_features(tuned(ours, tiny_city, "query"), 6)
    np.testing.assert_array_equal(top.indices, expected.indices)
    votes = expected.scores > 0
    np.testing.assert_allclose(softmax(top.scores)[votes], expected.scores[votes], rtol=1e-4)


def by_hand(method: Any, data: Dataset, weight: float) -> Any:
    """Probabilities of the queries with `FIXED` by plain formulas."""
    x, texts = tuned(method, data, "query").astype(float), method.texts.astype(float)
    gallery = np.concatenate([tuned(method, data, s) for s in ("train", "val")]).astype(float)
    labels = np.concatenate([data.split(s).labels for s in ("train", "val")])
    rows = []
    for feature in x:
        text = np.exp(texts @ feature / 2)
        near = np.argsort(-(gallery @ feature))[:4]
        votes = np.bincount(labels[near], np.exp(gallery[near] @ feature / 0.1), minlength=len(texts))
        rows.append(weight * votes / votes.sum() + (1 - weight) * text / text.sum())
    return np.array(rows)


def test_probabilities_are_those_of_the_formula(fused: Any, tiny_city: Dataset) -> None:
    """The gallery holds train and val photos, though the choice was made among train photos."""
    top = fused.predict(tiny_city.split("query").batch(), 6)
    p = by_hand(fused, tiny_city, 0.4)
    np.testing.assert_allclose(np.exp(top.scores), np.take_along_axis(p, top.indices, axis=1), rtol=1e-3)
    np.testing.assert_allclose(np.exp(top.scores).sum(axis=1), 1, rtol=1e-5)
    assert len(fused.gallery) == len(tiny_city.split("train")) + len(tiny_city.split("val"))


def test_the_rows_differ_in_the_spreading_alone(fused: Any, tiny_city: Dataset, tmp_path: Path) -> None:
    spreading: dict[str, Any] = {
        "spread_grid": "[0.5]",
        "bandwidth_grid": "[60]",
    }  # neighbours of the tiny city are 111 m apart
    ours = fit(make(tmp_path, FusionGeographic, weight_grid="[0.4]", **FIXED, **spreading), tiny_city)
    assert ours.facts["fusion"] == fused.facts["fusion"]
    assert ours.facts["spread"].keys() == {"part", "bandwidth_m", "val_ssa1"}
    top = ours.predict(tiny_city.split("query").batch(), 6)
    p = by_hand(ours, tiny_city, 0.4)
    metres = haversine_m(tiny_city.candidates.positions[:, None], tiny_city.candidates.positions)
    shares = np.where((metres > 0) & (metres < 180), np.exp(-0.5 * (metres / 60) ** 2), 0)
    shares /= shares.sum(axis=1, keepdims=True)
    out = 0.5 * p + 0.5 * p @ shares
    np.testing.assert_allclose(np.exp(top.scores), np.take_along_axis(out, top.indices, axis=1), rtol=1e-3)


def test_the_choice_is_told(tiny_city: Dataset, tmp_path: Path) -> None:
    method = fit(make(tmp_path, FusionGeographic), tiny_city)
    told = method.facts
    both = told["fusion"]["val_ssa1"]
    assert both["fused"] >= max(both["text"], both["retrieval"])
    assert both["text"] == told["training"]["epochs"][told["training"]["best_epoch"] - 1]["val_ssa1"]
    assert told["spread"]["val_ssa1"] >= both["fused"]  # none is among the spreads
    assert {k: told["fusion"][k] for k in ("weight", "k")} == {"weight": method.choice.weight, "k": method.choice.k}


def test_without_val_the_defaults_are_taken_and_said(tmp_path: Path) -> None:
    city = make_tiny_city(tmp_path / "city", val=False)
    method = fit(make(tmp_path, FusionGeographic), city)
    said = [line for line in lines(method) if "no val split" in line]
    assert len(said) == 2
    assert "weight=0.5" in said[0]
    assert "part=0.02" in said[1]
    assert method.facts["fusion"]["val_ssa1"] is None
    fixed: dict[str, Any] = {**FIXED, "weight_grid": "[0.9]", "spread_grid": "[0.2]", "bandwidth_grid": "[70]"}
    asked = fit(make(tmp_path, FusionGeographic, **fixed), city)
    assert (asked.choice.weight, asked.spreading.bandwidth_m) == (0.9, 70)
    assert not [line for line in lines(asked) if "no val split" in line]


def test_database_photos_join_the_gallery(fused: Any, tiny_city: Dataset, tmp_path: Path) -> None:
    method = make(tmp_path, weight_grid="[0.4]", **FIXED)
    method.prepare()
    train, places = tiny_city.split("train"), tiny_city.split("train").places
    some = np.isin(places, np.unique(places)[::2])
    method.fit(train.part(np.flatnonzero(~some)), tiny_city.split("val"))
    everything = tiny_city.candidates
    method.index(Candidates(everything.addresses, everything.positions, train.part(np.flatnonzero(some))))
    assert len(method.gallery) == len(method.gallery.known["labels"]) == len(fused.gallery)


def test_what_is_kept_is_all_that_is_needed(fused: Any, tiny_city: Dataset, tmp_path: Path) -> None:
    n, dim = len(fused.gallery), fused.texts.shape[1]
    plain = super(Fusion, fused).storage_bytes()
    assert fused.storage_bytes() == plain + 4 * n * dim + 4 * n
    folder = tmp_path / "kept"
    folder.mkdir()
    fitted_methods.store(fused, folder, {})
    again = make(tmp_path, weight_grid="[0.4]", **FIXED)
    fitted_methods.restored(again, folder)
    assert again.facts == fused.facts
    assert again.storage_bytes() == fused.storage_bytes()
    queries = tiny_city.split("query").batch()
    np.testing.assert_array_equal(again.predict(queries, 6).scores, fused.predict(queries, 6).scores)


def test_a_gallery_of_another_tower_is_refused(fused: Any, tiny_city: Dataset, tmp_path: Path) -> None:
    other = fit(make(tmp_path, epochs="1", weight_grid="[0.4]", **FIXED), tiny_city)
    for method, name in ((fused, "one"), (other, "other")):
        (tmp_path / name).mkdir()
        fitted_methods.store(method, tmp_path / name, {})
    for file in ("gallery.faiss", "gallery.json"):
        (tmp_path / "one" / file).write_bytes((tmp_path / "other" / file).read_bytes())
    again = make(tmp_path, weight_grid="[0.4]", **FIXED)
    again.facts.update(fused.facts)
    with pytest.raises(DataError, match="made from other features: its encoder"):
        again.load(tmp_path / "one")


def test_a_finished_run_answers_for_photos_of_ones_own(tiny_city: Dataset, tmp_path: Path) -> None:
    options = EngineOptions(tmp_path / "results", tmp_path / "cache", batch_size=8, timing=False)
    report = NoReport()
    store = FeatureStore(options.cache, "cpu", 8, 0, report)
    config = config_from_text(FusionGeographic, {**SHORT, "epochs": "1"})
    (planned,) = plan(tiny_city, [Chosen(FusionGeographic, config, "tests")], (0,), options, store, report)
    record = Engine(tiny_city, options, store, report).execute(planned)
    assert record.status == "done", record.reason
    assert record.method.final_fit == "train+val"
    folder = fitted_methods.kept(options.cache, record.run_id)
    assert folder is not None
    ready = fitted(FusionGeographic, record, folder, context(tmp_path))
    photos = [tiny_city.split("query").path(i) for i in (0, 5)]
    for one in answer(ready, photos, tiny_city, top=6):
        assert sum(a.probability or 0 for a in one.answers) == pytest.approx(1)


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SkipMethod, match="text tower"):
        make(tmp_path, backbone="timm:resnet18").prepare()
    wrong = (("weight_grid", "[1.5]"), ("k_grid", "[0]"), ("temperature_grid", "[0]"), ("weight_grid", "[]"))
    for name, value in wrong:
        setting: dict[str, Any] = {name: value}
        with pytest.raises(ConfigError, match=name):
            make(tmp_path, **setting)
