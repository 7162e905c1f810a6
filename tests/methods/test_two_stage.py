"""Image -> GPS -> address, against twins by brute force and a server of our own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ial_bench import Address, ImageBatch, Method, MethodInfo, RunContext, TopK, unit_norm
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine import fitted_methods
from ial_bench.engine.answering import answer
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.plan import ConfiguredMethod, EngineOptions, plan
from ial_bench.engine.record import RunRecord
from ial_bench.engine.records import record_path
from ial_bench.engine.run import Engine
from ial_bench.engine.scoring import rescore
from ial_bench.errors import DataError, SkipMethod, StorageError
from ial_bench.geo.points import haversine_m
from ial_bench.progress import NoReport
from ial_bench.registry import Registry
from ial_bench.settings import config_from_text
from ial_bench.testing import CHECK_BACKBONE, check_method
from ial_methods.two_stage.neighbours import grid
from ial_methods.two_stage.pipeline import Pipeline, addresses_from_array, texts_as_array
from support.nominatim_server import Nominatim, serve, streets_of


@pytest.fixture
def server(tiny_city: Dataset, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nominatim]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serve(streets_of(tiny_city.split("train", "val", "query"))) as nominatim:
        yield nominatim


def network(server: Nominatim, **more: str) -> dict[str, str]:
    return {
        "stage2": "geopy:nominatim", "geocoder_domain": server.domain, "geocoder_scheme": "http",
        "geocoder_interval_s": "0", "geocoder_backoff_s": "0", "geocoder_retries": "1", **more,
    }  # fmt: skip


def make(folder: Path, name: str = "two-stage", **settings: str) -> Any:
    method = Registry().get(name)
    if name == "two-stage":
        settings.setdefault("backbone", CHECK_BACKBONE)
    store = FeatureStore(folder, "cpu", 8, 0, NoReport())
    return method(config_from_text(method, settings), RunContext(0, "cpu", store, NoReport(), 8, cache=folder))


def fitted(folder: Path, data: Dataset, name: str = "two-stage", **settings: str) -> Any:
    method = make(folder, name, **settings)
    method.prepare()
    method.fit(data.split("train"), data.split("val"))
    method.index(data.candidates)
    return method


def ask(method: Any, data: Dataset, k: int = 6) -> TopK:
    top: TopK = method.predict(data.split("query").batch(oracle=method.info.oracle), k)
    top.check(len(data.split("query")), k, len(data.candidates), method.info.name)
    return top


def run(data: Dataset, folder: Path, name: str = "two-stage", **settings: str) -> RunRecord:
    method = Registry().get(name)
    if name == "two-stage":
        settings.setdefault("backbone", CHECK_BACKBONE)
    options = EngineOptions(folder / "results", folder / "cache", timing=False)
    store, report = FeatureStore(folder / "cache", "cpu", 8, 0, NoReport()), NoReport()
    (planned,) = plan(
        data, [ConfiguredMethod(method, config_from_text(method, settings), "")], [0], options, store, report
    )
    return Engine(data, options, store, report).execute(planned)


@pytest.mark.parametrize(
    ("stage1", "stage2"),
    [("nearest", "nearest"), ("mean", "radius"), ("mean-shift", "nearest"), ("nearest", "reverse-geocoder")],
)
def test_the_contract_is_kept(stage1: str, stage2: str) -> None:
    method = Registry().get("two-stage")
    check_method(method, config_from_text(method, {"backbone": CHECK_BACKBONE, "stage1": stage1, "stage2": stage2}))


@pytest.mark.parametrize("stage2", ["radius", "reverse-geocoder"])
def test_the_oracle_keeps_the_contract_with_each_geocoder(stage2: str) -> None:
    method = Registry().get("gps-oracle")
    check_method(method, config_from_text(method, {"stage2": stage2}))


@pytest.mark.parametrize("name", ["two-stage", "gps-oracle"])
def test_the_contract_is_kept_with_a_service(server: Nominatim, name: str, tmp_path: Path) -> None:
    method = Registry().get(name)
    settings = network(server, **({"backbone": CHECK_BACKBONE} if name == "two-stage" else {}))
    check_method(method, config_from_text(method, settings))


def twin(data: Dataset, folder: Path, kind: str, k: int, temperature: float) -> tuple[Any, Any]:
    """Positions of the queries and their ranked addresses, by loops."""
    store = FeatureStore(folder, "cpu", 8, 0, NoReport())
    labelled, queries = data.split("train", "val"), data.split("query")
    x = np.concatenate([store.photos(CHECK_BACKBONE, data.split(s)) for s in ("train", "val")])
    positions = np.concatenate([data.split(s).positions for s in ("train", "val")])
    q = unit_norm(np.asarray(store.photos(CHECK_BACKBONE, queries)))
    located, ranked = [], []
    for row in q @ unit_norm(x).T:
        order = np.argsort(-row)[: 1 if kind == "nearest" else k]
        weights = np.exp(row[order].astype(float) / temperature)
        where = (weights[:, None] * positions[order]).sum(axis=0) / weights.sum()  # plain: the city is small
        metres = haversine_m(where, labelled.positions)
        nearest = [metres[labelled.labels == c].min() for c in range(len(data.candidates))]
        located.append(where)
        ranked.append(np.argsort(nearest))
    return np.array(located), np.array(ranked)


@pytest.mark.parametrize(("kind", "k", "temperature"), [("nearest", 1, 1.0), ("mean", 5, 0.05), ("mean", 20, 1.0)])
def test_positions_and_addresses_are_those_of_loops(
    tiny_city: Dataset, tmp_path: Path, kind: str, k: int, temperature: float
) -> None:
    method = fitted(tmp_path, tiny_city, stage1=kind, k_grid=f"[{k}]", temperature_grid=f"[{temperature}]")
    top = ask(method, tiny_city)
    located, ranked = twin(tiny_city, tmp_path, kind, k, temperature)
    assert top.positions is not None
    assert haversine_m(top.positions, located).max() < 0.05
    np.testing.assert_array_equal(top.indices, ranked)


def test_the_choice_on_val_is_the_least_median_distance(tiny_city: Dataset, tmp_path: Path) -> None:
    settings = {"stage1": "mean-shift", "k_grid": "[3,9]", "temperature_grid": "[0.01,1]", "bandwidth_grid": "[5,500]"}
    chosen = fitted(tmp_path, tiny_city, **settings)
    train, val = tiny_city.split("train"), tiny_city.split("val")
    medians = {}
    for one in grid("mean-shift", [9, 3], [1, 0.01], [5, 500]):
        single = fitted(
            tmp_path, tiny_city, stage1="mean-shift", k_grid=f"[{one.k}]", temperature_grid=f"[{one.temperature}]",
            bandwidth_grid=f"[{one.bandwidth_m}]",
        )  # fmt: skip
        single.stage1.index([single.features(train)], "encoder")  # as it was when the choice was made
        located = single.stage1.locate(np.asarray(single.features(val).x))
        medians[one] = float(np.median(haversine_m(located, val.positions)))
    assert len(medians) == 8
    assert chosen.stage1.choice == min(medians, key=lambda c: medians[c])
    told = chosen.facts["stage1"]
    assert told["val_median_m"] == pytest.approx(min(medians.values()))
    assert set(told) == {"k", "temperature", "bandwidth_m", "val_median_m"}
    assert set(fitted(tmp_path, tiny_city).facts["stage1"]) == {"val_median_m"}


def test_what_it_keeps_locates_as_it_does(tiny_city: Dataset, tmp_path: Path) -> None:
    method = fitted(tmp_path, tiny_city, stage1="mean")
    (tmp_path / "state").mkdir()
    fitted_methods.store(method, tmp_path / "state", {})
    again = make(tmp_path, stage1="mean")
    again.prepare()
    fitted_methods.restored(again, tmp_path / "state")
    assert again.storage_bytes() == method.storage_bytes()
    np.testing.assert_array_equal(ask(again, tiny_city).positions, ask(method, tiny_city).positions)


def test_a_state_of_another_release_is_refused(tiny_city: Dataset, tmp_path: Path) -> None:
    method = fitted(tmp_path, tiny_city)
    (tmp_path / "state").mkdir()
    fitted_methods.store(method, tmp_path / "state", {})
    (tmp_path / "state" / "gallery.npz").unlink()
    fitted_methods.seal(tmp_path / "state", {fitted_methods.FACTS: {}})
    with pytest.raises(DataError, match=r"another release of two-stage stored .*gallery\.npz") as caught:
        fitted_methods.restored(make(tmp_path), tmp_path / "state")
    assert "--rerun" in str(caught.value.fix)


def test_a_gallery_of_another_encoder_is_refused(
    tiny_city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = fitted(tmp_path, tiny_city)
    (tmp_path / "state").mkdir()
    method.save(tmp_path / "state")
    monkeypatch.setattr(Pipeline, "_encoder_digest", "another encoder's")
    with pytest.raises(DataError, match=r"made from other features: its encoder is .* but another encoder"):
        make(tmp_path).load(tmp_path / "state")


def test_a_folder_that_cannot_be_written_to_is_an_error_of_storage(tiny_city: Dataset, tmp_path: Path) -> None:
    method = fitted(tmp_path, tiny_city)
    with pytest.raises(StorageError, match=r"nowhere.gallery\.faiss.*No such file"):
        method.save(tmp_path / "nowhere")


def test_the_loss_of_each_stage_on_val_is_told(tiny_city: Dataset, tmp_path: Path) -> None:
    told = fitted(tmp_path, tiny_city).facts["val"]
    train, val = tiny_city.split("train"), tiny_city.split("val")
    nearest = haversine_m(val.positions[:, None], train.positions[None]).argmin(axis=1)
    assert told["ssa1_true_position"] == pytest.approx((train.labels[nearest] == val.labels).mean())
    assert 0 < told["ssa1_predicted_position"] <= told["ssa1_true_position"]
    assert told["photos"] == len(val)
    assert fitted(tmp_path, tiny_city, stage2="reverse-geocoder").facts["val"]["ssa1_true_position"] == 0


def test_a_geocoder_without_streets_is_wrong_at_every_k(tiny_city: Dataset, tmp_path: Path) -> None:
    record = run(tiny_city, tmp_path, stage2="reverse-geocoder")
    assert record.status == "done", record.traceback
    assert record.metrics is not None
    assert all(i.value == 0 for i in record.metrics.accuracy.values())
    assert record.metrics.distance_m.to == "predicted position"
    assert record.metrics.distance_m.median < 1000  # the first stage is as good as with any geocoder
    path = record_path(tmp_path / "results", tiny_city.name, "two-stage", record.run_id)
    assert rescore(path, record, tiny_city).metrics == record.metrics  # -1 comes back from the file as it went
    oracle = run(tiny_city, tmp_path, "gps-oracle", stage2="reverse-geocoder")
    assert oracle.metrics is not None
    assert oracle.metrics.distance_m.median == pytest.approx(20_015_115, abs=100)
    assert oracle.metrics.distance_m.within_200.value == 0


def test_without_an_answer_a_photo_of_ones_own_has_none(tiny_city: Dataset, tmp_path: Path) -> None:
    method = fitted(tmp_path, tiny_city, stage2="reverse-geocoder")
    photo = next((tiny_city.folder / "images").rglob("*.png"))
    (told,) = answer(method, [photo], tiny_city, 3)
    assert told.answers == ()
    assert told.problem is None


class Guess(Method):
    """Knows the first two candidates."""

    info = MethodInfo(name="guess", title="Guess", family="test", scores="logits")

    def predict(self, images: ImageBatch, k: int) -> TopK:
        scores = np.tile(np.array([1.0, 2.0, 9.0, 9.0, 9.0, 9.0]), (len(images), 1))
        return TopK.from_scores(scores, k, named=scores < 9)


def test_probabilities_are_shared_by_the_candidates_that_are_named(tiny_city: Dataset, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, "cpu", 8, 0, NoReport())
    photo = next((tiny_city.folder / "images").rglob("*.png"))
    (told,) = answer(Guess(Guess.Config(), RunContext(0, "cpu", store, NoReport())), [photo], tiny_city, 5)
    assert [a.address for a in told.answers] == [tiny_city.candidates.addresses[i] for i in (1, 0)]
    assert [a.probability for a in told.answers] == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))])


def test_a_service_names_the_street_and_distance_the_sub_street(
    tiny_city: Dataset, tmp_path: Path, server: Nominatim
) -> None:
    oracle = fitted(tmp_path, tiny_city, "gps-oracle", **network(server))
    top, queries = ask(oracle, tiny_city), tiny_city.split("query")
    assert (top.indices[:, 0] == queries.labels).all()
    assert (top.indices[:, 2:] == -1).all()  # two sub-streets to a street
    streets = np.array([a.street for a in tiny_city.candidates.addresses])
    assert (streets[top.indices[:, 0]] == streets[top.indices[:, 1]]).all()
    oracle.answered()
    told = oracle.facts["geocoder"]
    assert told["positions"] == told["answered"] == len(np.unique(queries.places))
    assert told["requests"] == len(server.asked) == 1 + len(np.unique(queries.places))  # and one to see if it is there
    assert told["cache_hits"] == len(queries) - len(np.unique(queries.places))


def test_all_of_a_run_with_a_service(tiny_city: Dataset, tmp_path: Path, server: Nominatim) -> None:
    record = run(tiny_city, tmp_path, **network(server))
    assert record.status == "done", record.traceback
    assert record.metrics is not None
    assert record.metrics.accuracy["SSA-1"].value > 0
    assert record.method.facts["val"]["ssa1_true_position"] == 1
    asked = len(server.asked)
    again = run(tiny_city, tmp_path, **network(server, street_match="0.95"))  # another run, the same answers
    assert again.metrics == record.metrics
    assert len(server.asked) == asked + 1
    assert again.method.facts["geocoder"]["requests"] == 1


def test_no_named_street_within_range_counts_as_wrong(tiny_city: Dataset, tmp_path: Path, server: Nominatim) -> None:
    server.range_m = 0.0
    record = run(tiny_city, tmp_path, "gps-oracle", **network(server))
    assert record.metrics is not None
    assert record.metrics.accuracy["SSA-5"].value == record.metrics.accuracy["MRR"].value == 0
    assert record.method.facts["geocoder"]["without_street"] == len(np.unique(tiny_city.split("query").places))


def test_a_service_that_is_not_there_skips_and_one_that_goes_away_fails(
    tiny_city: Dataset, tmp_path: Path, server: Nominatim
) -> None:
    with serve() as gone:
        pass
    record = run(tiny_city, tmp_path, **network(gone))
    assert record.status == "skipped"
    assert gone.domain in (record.reason or "")
    with pytest.raises(SkipMethod, match="does not answer"):
        make(tmp_path, "gps-oracle", **network(gone)).prepare()
    method = make(tmp_path / "other", **network(server))
    method.prepare()
    server.always = "500"
    record = run(tiny_city, tmp_path / "third", **network(server))
    assert record.status == "skipped"
    server.faults.append("fine")  # the first request, to see if it is there
    record = run(tiny_city, tmp_path / "third", **network(server))
    assert record.status == "failed"
    assert "does not answer" in (record.reason or "")
    server.always = None
    assert run(tiny_city, tmp_path / "third", **network(server)).status == "done"


def test_a_loaded_method_asks_the_service_too(tiny_city: Dataset, tmp_path: Path, server: Nominatim) -> None:
    method = fitted(tmp_path, tiny_city, **network(server))
    folder = tmp_path / "state"
    folder.mkdir()
    fitted_methods.store(method, folder, {})
    loaded = make(tmp_path, **network(server))
    loaded.prepare()
    fitted_methods.restored(loaded, folder)
    np.testing.assert_array_equal(ask(loaded, tiny_city).indices, ask(method, tiny_city).indices)
    assert loaded.facts["val"] == method.facts["val"]
    assert loaded.storage_bytes() == method.storage_bytes()


def test_without_val_the_defaults_are_taken_and_told(tmp_path: Path) -> None:
    from ial_bench.testing import make_tiny_city

    data = make_tiny_city(tmp_path / "city", val=False)
    method = fitted(tmp_path, data, stage1="mean")
    assert any("no val split" in line for line in method.context.report.lines)
    assert method.facts == {"stage1": {"k": 10, "temperature": 0.05, "val_median_m": None}, "val": {}}
    ask(method, data)


def test_addresses_as_arrays() -> None:
    addresses = [Address.parse(t) for t in ("Elm Street, Old Town (Oak, Ash)", "Straße, Köln (\u8857, Quai 2)")]
    stored = texts_as_array(addresses)
    assert stored.dtype == np.uint8
    assert addresses_from_array(stored) == addresses
