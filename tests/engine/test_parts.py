"""Parts that methods share: fitted once, whoever asks first, and the same as if each had fitted its own."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ial_bench import ImageBatch, Method, MethodInfo, Part, Photos, State, TopK
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.plan import ConfiguredMethod, EngineOptions, plan
from ial_bench.engine.record import RunRecord
from ial_bench.engine.records import read_record, record_path
from ial_bench.engine.run import Engine
from ial_bench.method import MethodConfig
from ial_bench.progress import NoReport
from ial_bench.registry import Registry
from ial_bench.settings import config_from_text
from ial_bench.testing import CHECK_BACKBONE, check_method
from ial_bench.training.loop import Trainer

BRIEF: dict[str, Any] = {"backbone": CHECK_BACKBONE, "epochs": "2", "batch_size": "8"}


class Counted(Method):
    """The mean position of the train photos of each address, by a fit that is counted."""

    info = MethodInfo(name="counted", title="Counted", family="test", stochastic=True)
    shares_fit = True
    fits: list[tuple[float, int]] = []  # noqa: RUF012 - of all of them
    slow = threading.Event()

    class Config(MethodConfig):
        """Settings."""

        factor: float = 1.0

    config: Config

    def fit(self, train: Photos, val: Photos) -> None:
        self.fits.append((self.config.factor, self.context.seed))
        self.slow.wait(0.2)
        self.votes = np.bincount(train.labels, minlength=len(train.candidates)) * np.float32(self.config.factor)
        self.facts["photos"] = len(train)

    def fit_state(self) -> State:
        return {"votes": self.votes}

    def restore_fit(self, state: State) -> None:
        self.votes = state["votes"]

    def state(self) -> State:
        return self.fit_state()

    def restore(self, state: State) -> None:
        self.restore_fit(state)

    def predict(self, images: ImageBatch, k: int) -> TopK:
        return TopK.from_scores(np.repeat(self.votes[None].astype(np.float32), len(images), axis=0), k)


class Doubled(Method):
    """Made of it."""

    info = MethodInfo(name="doubled", title="Doubled", family="test", stochastic=True)

    class Config(MethodConfig):
        """Settings."""

        factor: float = 1.0

    config: Config

    def parts(self) -> dict[str, Part]:
        return {"counts": Part(Counted, Counted.Config(factor=self.config.factor))}

    def fit(self, train: Photos, val: Photos) -> None:
        part: Any = self.part("counts", train, val)
        self.votes = 2 * part.votes

    def state(self) -> State:
        return {"votes": self.votes}

    def restore(self, state: State) -> None:
        self.votes = state["votes"]

    predict = Counted.predict


@pytest.fixture(autouse=True)
def none_was_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counted, "fits", [])


class Bench:
    """An engine on a folder of results and a cache."""

    def __init__(self, data: Dataset, folder: Path, **options: Any) -> None:
        self.data, self.report = data, NoReport()
        self.options = EngineOptions(folder / "results", folder / "cache", batch_size=8, timing=False, **options)
        self.store = FeatureStore(self.options.cache, "cpu", 8, 0, self.report)
        self.engine = Engine(data, self.options, self.store, self.report)

    def run(self, *methods: type[Method], seed: int = 0, **settings: Any) -> list[RunRecord]:
        choices = [ConfiguredMethod(m, config_from_text(m, settings), "tests") for m in methods]
        return [self.execute(p) for p in plan(self.data, choices, (seed,), self.options, self.store, self.report)]

    def execute(self, planned: Any) -> RunRecord:
        record = self.engine.execute(planned)
        assert record.status == "done", record.traceback
        return read_record(record_path(self.options.results, self.data.name, record.method.name, record.run_id))

    def answers(self) -> dict[str, bytes]:
        files = self.options.results.glob("*/*/*.predictions.parquet")
        return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in files}


@pytest.mark.parametrize("first", [Counted, Doubled])
def test_it_is_fitted_once_whoever_asks_first(tiny_city: Dataset, tmp_path: Path, first: type[Method]) -> None:
    second = Doubled if first is Counted else Counted
    bench = Bench(tiny_city, tmp_path)
    (one,) = bench.run(first)
    (two,) = Bench(tiny_city, tmp_path).run(second)  # another command
    assert Counted.fits == [(1.0, 0)]
    (part,), (again,) = one.method.parts, two.method.parts
    assert (part.identity, part.method, part.version) == (again.identity, "counted", "1")
    assert {part.name, again.name} == {"fit", "counts"}
    assert part.seconds == again.seconds >= 0.2
    assert again.seconds_now < 0.1 < part.seconds_now
    for record in (one, two):
        assert record.phases is not None
        assert record.phases.fit.seconds >= 0.2, "the whole cost, whenever it was spent"
    assert two.phases is not None
    assert two.phases.fit.seconds_now is not None
    assert two.phases.fit.seconds_now < 0.1
    counted = one if first is Counted else two
    assert counted.method.facts == {"photos": len(tiny_city.split("train"))}


def test_other_settings_and_seeds_are_other_parts(tiny_city: Dataset, tmp_path: Path) -> None:
    bench = Bench(tiny_city, tmp_path)
    bench.run(Counted)
    bench.run(Doubled, factor="3.0")
    bench.run(Doubled, seed=1)
    Bench(tiny_city, tmp_path, limit=6).run(Doubled)
    assert Counted.fits == [(1.0, 0), (3.0, 0), (1.0, 1), (1.0, 0)]


def test_rerun_fits_anew_and_once(tiny_city: Dataset, tmp_path: Path) -> None:
    Bench(tiny_city, tmp_path).run(Counted, Doubled)
    Bench(tiny_city, tmp_path, rerun=True).run(Counted, Doubled)
    assert Counted.fits == [(1.0, 0), (1.0, 0)]


def test_two_that_want_it_at_once_fit_it_once(tiny_city: Dataset, tmp_path: Path) -> None:
    threads = [threading.Thread(target=Bench(tiny_city, tmp_path).run, args=(method,)) for method in (Counted, Doubled)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counted.fits == [(1.0, 0)]
    assert len(Bench(tiny_city, tmp_path).answers()) == 2


def test_a_damaged_part_is_refused_by_name_and_rerun_gets_past_it(tiny_city: Dataset, tmp_path: Path) -> None:
    Bench(tiny_city, tmp_path).run(Counted)
    (file,) = tmp_path.glob("cache/parts/*/state/fit.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    bench = Bench(tiny_city, tmp_path)
    (planned,) = plan(
        tiny_city, [ConfiguredMethod(Doubled, Doubled.Config(), "t")], (0,), bench.options, bench.store, NoReport()
    )
    record = bench.engine.execute(planned)
    assert record.status == "failed"
    assert f"the fitted method in {file.parent} is damaged" in str(record.reason)
    assert "--rerun" in str(record.reason)
    Bench(tiny_city, tmp_path, rerun=True).run(Doubled)


def test_both_keep_the_contract() -> None:
    check_method(Counted)
    check_method(Doubled)


def test_a_part_that_is_not_shared_breaks_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counted, "shares_fit", False)
    with pytest.raises(AssertionError, match="parts: its part 'counts' is counted, which does not share its fit"):
        check_method(Doubled)


def test_a_shared_fit_that_does_not_come_back_breaks_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(self: Counted, state: State) -> None:
        self.votes = state["votes"][::-1]

    monkeypatch.setattr(Counted, "restore_fit", wrong)
    monkeypatch.setattr(Counted, "restore", lambda self, state: setattr(self, "votes", state["votes"]))
    monkeypatch.setattr(Counted, "fit", _uneven)
    with pytest.raises(AssertionError, match="parts: a shared fit that came back gives another answer"):
        check_method(Counted)


def _uneven(self: Counted, train: Photos, val: Photos) -> None:
    self.votes = np.arange(len(train.candidates), dtype=np.float32)


def test_a_method_of_facts_as_a_function_is_refused() -> None:
    with pytest.raises(TypeError, match="facts is a dictionary to write into"):

        class _Old(Counted):
            def facts(self) -> Any:  # type: ignore[override]
                return {}


# --- AddressCLIP and what is made of it -------------------------------------------------------------------------


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the methods that trained."""
    names: list[str] = []
    run = Trainer.run

    def counted(trainer: Trainer) -> Any:
        names.append(trainer.name)
        return run(trainer)

    monkeypatch.setattr(Trainer, "run", counted)
    return names


def built_in(*names: str) -> list[type[Method]]:
    return [Registry().get(name) for name in names]


def test_one_training_for_three_and_the_bytes_of_three(
    tiny_city: Dataset, tmp_path: Path, trainings: list[str]
) -> None:
    """Each alone, in a cache of its own, gives the bytes that they give together, in whatever order."""
    three = built_in("addressclip", "fusion", "fusion-geographic")
    alone: dict[str, bytes] = {}
    for method in three:
        bench = Bench(tiny_city, tmp_path / method.info.name)
        bench.run(method, **BRIEF)
        alone |= bench.answers()
    assert trainings == ["addressclip"] * 3
    for folder, order in (("forth", three), ("back", three[::-1])):
        trainings.clear()
        bench = Bench(tiny_city, tmp_path / folder)
        records = bench.run(*order, **BRIEF)
        assert trainings == ["addressclip"]
        assert bench.answers() == alone
        assert len({r.method.parts[0].identity for r in records}) == 1
        assert len({str(r.method.facts["training"]) for r in records}) == 1


def test_an_interrupted_part_goes_on_in_another_run(
    tiny_city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_epoch = Trainer._end_epoch

    def stops(trainer: Trainer, epoch: int) -> None:
        end_epoch(trainer, epoch)
        raise KeyboardInterrupt

    addressclip, fusion = built_in("addressclip", "fusion")
    monkeypatch.setattr(Trainer, "_end_epoch", stops)
    with pytest.raises(KeyboardInterrupt):
        Bench(tiny_city, tmp_path / "stopped").run(fusion, **BRIEF)
    monkeypatch.setattr(Trainer, "_end_epoch", end_epoch)
    assert list(tmp_path.glob("stopped/cache/parts/*/training.safetensors"))
    bench, whole = Bench(tiny_city, tmp_path / "stopped"), Bench(tiny_city, tmp_path / "whole")
    bench.run(addressclip, **BRIEF)
    assert any("training goes on from step" in line for line in bench.report.lines)
    whole.run(addressclip, **BRIEF)
    assert bench.answers() == whole.answers()
    assert not list(tmp_path.glob("stopped/cache/parts/*/training.safetensors"))
