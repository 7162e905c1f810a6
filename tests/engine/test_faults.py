"""A method's faults are stored as its failure, those of the machine are not, and none ends bench in silence."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from ial_bench import Candidates, ImageBatch, Method, MethodInfo, Photos, TopK
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine import answering, fitted_methods
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.plan import ConfiguredMethod, EngineOptions, plan
from ial_bench.engine.record import RunRecord
from ial_bench.engine.run import Engine
from ial_bench.errors import BenchError, DataError, StorageError, WorkerError
from ial_bench.method import RunContext
from ial_bench.progress import NoReport
from ial_bench.testing import run_checks

STEPS = ("prepare", "fit", "index", "predict", "state", "parameters", "answered")


class Faulty(Method):
    """Raises what it is told to, where it is told to."""

    info = MethodInfo(name="faulty", title="Faulty", family="test")
    raised: ClassVar[dict[str, BaseException]] = {}

    def at(self, step: str) -> None:
        if step in self.raised:
            raise self.raised[step]

    def prepare(self) -> None:
        self.at("prepare")

    def fit(self, train: Photos, val: Photos) -> None:
        self.at("fit")

    def index(self, candidates: Candidates) -> None:
        self.at("index")

    def predict(self, images: ImageBatch, k: int) -> TopK:
        self.at("predict")
        return TopK.from_scores(np.broadcast_to(np.arange(6.0), (len(images), 6)), k)

    def state(self) -> Any:
        self.at("state")
        return {}

    def parameters(self) -> Any:
        self.at("parameters")
        return super().parameters()

    def answered(self) -> None:
        self.at("answered")


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch) -> dict[str, BaseException]:
    own: dict[str, BaseException] = {}
    monkeypatch.setattr(Faulty, "raised", own)
    return own


def run(data: Dataset, folder: Path, method: type[Method] = Faulty, **changes: Any) -> RunRecord:
    options = replace(EngineOptions(folder / "results", folder / "cache", timing=False), **changes)
    report = NoReport()
    store = FeatureStore(options.cache, "cpu", 8, 0, report)
    (planned,) = plan(data, [ConfiguredMethod(method, method.Config(), "tests")], (0,), options, store, report)
    return Engine(data, options, store, report).execute(planned)


@pytest.mark.parametrize("step", STEPS)
def test_a_method_that_would_end_the_command_has_failed(
    tiny_city: Dataset, tmp_path: Path, raised: dict[str, BaseException], step: str
) -> None:
    raised[step] = SystemExit(0)
    record = run(tiny_city, tmp_path)
    assert (record.status, record.reason) == ("failed", "SystemExit: 0")
    assert f'self.at("{step}")' in (record.traceback or "")
    raised.clear()
    assert run(tiny_city, tmp_path).status == "done"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StorageError("full"), WorkerError("killed", "fewer --workers")])
def test_what_is_not_the_method_s_fault_is_no_failure_of_it(
    tiny_city: Dataset, tmp_path: Path, raised: dict[str, BaseException], error: BaseException
) -> None:
    raised["fit"] = error
    with pytest.raises(type(error)):
        run(tiny_city, tmp_path)
    assert not list(tmp_path.glob("results/*/*/*.json"))
    raised.clear()
    assert run(tiny_city, tmp_path).status == "done"


class EndsWhenMade(Faulty):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        sys.exit("not on this machine")


def test_one_that_ends_the_command_when_it_is_planned_is_named(tiny_city: Dataset, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"method faulty called sys\.exit\('not on this machine'\)"):
        run(tiny_city, tmp_path, EndsWhenMade)


def test_one_that_ends_the_command_when_it_answers_is_named(
    tiny_city: Dataset, tmp_path: Path, raised: dict[str, BaseException]
) -> None:
    record = run(tiny_city, tmp_path)
    folder = fitted_methods.kept(tmp_path / "cache", record.run_id)
    assert folder is not None
    store = FeatureStore(tmp_path / "cache", "cpu", 8, 0, NoReport())
    context = RunContext(0, "cpu", store, NoReport(), cache=tmp_path / "cache")
    method = answering.fitted(Faulty, record, folder, context)
    raised["predict"] = SystemExit(0)
    with pytest.raises(BenchError, match=r"method faulty called sys\.exit\(0\)"):
        answering.answer(method, [tiny_city.split("query").path(0)], tiny_city, 3)
    raised["prepare"] = SystemExit(0)
    with pytest.raises(DataError, match="SystemExit: 0"):
        answering.fitted(Faulty, record, folder, context)


def test_the_conformance_suite_names_it(raised: dict[str, BaseException]) -> None:
    raised["predict"] = SystemExit(0)
    problems = {outcome.name: outcome.problem for outcome in run_checks(Faulty, Faulty.Config())}
    assert problems["answers are valid"] == "SystemExit: 0"
    assert problems["presets fit the settings"] is None
