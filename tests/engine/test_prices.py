"""Prices of units of work, what methods say they have to do, and the probe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ial_bench.encoders.encoder import EncoderCard
from ial_bench.engine import prices, provenance
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.plan import EngineOptions
from ial_bench.engine.prices import Prices, Probe, Towers, peak_memory, probe, reference
from ial_bench.progress import NoReport
from ial_bench.registry import Registry
from ial_bench.workload import PHOTO, Effort, Sizes, Workload, distinct

HERE = provenance.hardware_digest(provenance.hardware("cpu"))


def test_seconds_are_units_times_their_prices() -> None:
    price, there = reference()["seconds"], Prices()
    towers = Towers(image_flops=2e9, pixels=1e6, token_flops=3e6, megapixels=2.0)
    decoded = price["photo"] + 2 * price["megapixel"] + price["megapixel_seen"]
    assert there.photo(towers) == pytest.approx(decoded + 2 * price["image_gflop"])
    effort = Effort(images_trained=10, tokens=1000, tokens_trained=2000, flops=5e9, steps=7)
    by_hand = (
        10 * (decoded + 2 * price["image_gflop_trained"]) + 3 * price["text_gflop"] + 6 * price["text_gflop_trained"]
        + 5 * price["gflop"] + 7 * price["step"]
    )  # fmt: skip
    assert there.seconds(effort, towers) == pytest.approx(by_hand)
    assert there.seconds(effort * 3 + effort, towers) == pytest.approx(4 * by_hand)


def test_a_slower_machine_computes_and_decodes_more_slowly_each_by_its_own_ratio() -> None:
    there = reference()["probe"]
    here = Prices(Probe(3 * there["compute"], 5 * there["decode"], there["measured"]))
    computed, decoded = Towers(token_flops=1e9), Towers(megapixels=1.0)
    text = Effort(tokens=5)
    assert here.seconds(text, computed) == pytest.approx(3 * Prices().seconds(text, computed))
    assert here.photo(decoded) == pytest.approx(5 * Prices().photo(decoded))
    assert here.seconds(Effort(steps=1), computed) == pytest.approx(5 * Prices().seconds(Effort(steps=1), computed))


def test_answers_from_cached_features_leave_the_image_tower_to_the_latency() -> None:
    towers, none = Towers(image_flops=1e9, token_flops=1e6), Towers()
    there, query = Prices(), Effort(images=1, tokens=10)
    start = there.answers(Effort(), none, 0, True, 0, 0)
    texts = there.seconds(Effort(tokens=10), towers)
    assert there.answers(query, towers, 100, True, 0, 0) == pytest.approx(start + 100 * texts)
    assert there.answers(query, towers, 100, False, 0, 0) == pytest.approx(start + 100 * there.seconds(query, towers))
    timed = there.answers(query, towers, 0, True, 0, 50)
    assert timed == pytest.approx(start + 50 * there.seconds(query, towers))
    alone = there.answers(query, towers, 0, True, 10, 0) - start
    assert alone == pytest.approx(10 * (there.seconds(query, towers) + reference()["seconds"]["call"]))
    assert there.answers(Effort(), none, 0, True, 10, 0) == start


def test_memory_is_of_weights_moments_and_the_activations_of_a_step() -> None:
    towers = Towers(image_flops=4e9, pixels=1e4, parameters=1e8)
    told = reference()["bytes"]
    activation = told["activation"] * (4e9 * 1e4) ** 0.5 + 12 * 1e4
    work = Workload(trained=1e8, batch=256, held=5e8)
    expected = told["process"] + told["row"] * 1000 + 4e8 + 16e8 + 256 * activation + 5e8
    assert peak_memory(work, towers, 1000, on_gpu=False).host == pytest.approx(expected)
    apart = peak_memory(work, towers, 1000, on_gpu=True)
    assert apart.device == pytest.approx(4e8 + 16e8 + 256 * activation + 5e8)
    assert apart.host < 2 * told["process"]


def test_an_encoder_without_counted_operations_is_taken_by_its_parameters_and_the_size_of_photos() -> None:
    card = EncoderCard("timm:some_model", "w", "s", {"size": [224, 224]}, 512, 10_000_000, 40_000_000, 0, {})
    small, large = (Towers.of(replace(card, preprocessing={"size": s}), None, 1.0) for s in (112, [448, 448]))
    assert small.image_flops * 16 == pytest.approx(large.image_flops)
    assert Towers.of(card, 7e9, 1.0).image_flops == 7e9
    known = replace(card, spec="openclip:ViT-B-16/openai")
    assert Towers.of(known, None, 1.0).image_flops == reference()["flops"]["openclip:ViT-B-16"]


def test_how_many_are_different_in_a_draw() -> None:
    rng = np.random.default_rng(0)
    drawn = [len(np.unique(rng.integers(0, 40, 32))) for _ in range(2000)]
    assert distinct(32, 40) == pytest.approx(np.mean(drawn), rel=0.02)
    assert distinct(5, 0) == 0


def test_the_probe_is_remembered_for_this_hardware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ial_bench.engine import prices as module

    measured = [Probe(1.0, 2.0, "2026-01-01T00:00:00+00:00")]
    monkeypatch.setattr(module, "measure", lambda _: measured.pop())
    first = probe("cpu", tmp_path)
    assert probe("cpu", tmp_path) == first
    assert first.age.endswith("days ago")
    (file,) = (tmp_path / "probe").iterdir()
    assert file.stem == HERE
    monkeypatch.setenv("OMP_NUM_THREADS", "7")  # other hardware, as latencies see it
    measured.append(Probe(3.0, 4.0, "2026-01-01T00:00:00+00:00"))
    assert probe("cpu", tmp_path).compute == 3.0
    monkeypatch.undo()
    file.write_text("{}")
    monkeypatch.setattr(module, "measure", lambda _: Probe(5.0, 6.0, "2026-01-01T00:00:00+00:00"))
    assert probe("cpu", tmp_path).compute == 5.0


def test_the_probe_measures_computing_and_decoding() -> None:
    from ial_bench.engine.prices import measure

    found = measure("cpu")
    assert 0 < found.compute < 30
    assert 0 < found.decode < 30
    assert found.age == "today"


def test_every_built_in_method_says_what_it_has_to_do() -> None:
    from ial_bench.engine.plan import make_context

    registry, small = Registry(), Sizes(1000, 100, 50, 200, 40, 64, 10**6, 10**6, 9, 30)
    large = replace(small, train=2000, val=200, queries=400, candidates=80, database=100)
    options, store = EngineOptions(Path(), Path()), FeatureStore(Path(), "cpu", 32, 0, NoReport())
    towers, there = Towers(1e9, 1e4, 1e6), Prices()
    for name in registry.names:
        cls = registry.get(name)
        method = cls(cls.Config(), make_context(cls, options, store, NoReport(), 0))
        one, two = method.workload(small), method.workload(large)
        assert one is not None, name
        assert two is not None, name
        grown = there.seconds(two.fit, towers) / max(1e-12, there.seconds(one.fit, towers))
        assert one.fit == Effort() or 1.5 < grown < 8.5, (name, grown)
        if cls.Config.model_fields.get("epochs"):
            assert one.trained > 0, name


def test_trainings_of_a_tower_take_their_photos_once_an_epoch() -> None:
    from ial_bench.engine.plan import make_context

    registry, sizes = Registry(), Sizes(6400, 100, 0, 200, 40, 64, 10**6, 10**6, 9, 30)
    options, store = EngineOptions(Path(), Path()), FeatureStore(Path(), "cpu", 32, 0, NoReport())
    for name in ("addressclip", "clip-address", "maple", "retrieval-tuned"):
        cls = registry.get(name)
        method = cls(
            cls.Config.model_validate({"epochs": 3, "batch_size": 64}), make_context(cls, options, store, NoReport(), 0)
        )
        work = method.workload(sizes)
        assert work is not None
        assert (work.fit.images_trained, work.fit.steps, work.batch) == (3 * 6400, 300, 64)
        assert work.query.images == PHOTO.images


def test_reference_figures_are_whole() -> None:
    told = prices.reference()
    assert set(told) == {"probe", "seconds", "bytes", "flops"}
    assert all(v > 0 for table in ("seconds", "bytes", "flops") for v in told[table].values())
    assert Probe(**told["probe"]).compute > 0
