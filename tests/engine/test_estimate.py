"""What a plan is said to cost, against sums that are made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ial_bench import ImageBatch, Method, MethodInfo, State, TopK
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine import fitted_methods, provenance
from ial_bench.engine.bill import Bill, RunCost
from ial_bench.engine.estimate import Estimator
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.past_runs import Past
from ial_bench.engine.plan import ConfiguredMethod, EngineOptions, Planned, plan
from ial_bench.engine.prices import Probe, reference
from ial_bench.engine.record import FeaturePhase, PartRecord, Phases, RunRecord, TimedPhase
from ial_bench.engine.selection import Selection
from ial_bench.errors import StorageError
from ial_bench.machine import Room
from ial_bench.method import MethodConfig, Part
from ial_bench.progress import NoReport
from ial_bench.registry import Registry
from ial_bench.testing import CHECK_BACKBONE
from ial_bench.workload import Effort, Sizes, Workload
from support.made_records import identified, make_record, run_baselines

HERE = provenance.hardware_digest(provenance.hardware("cpu"))
ROOMY = Room(memory=10**15, device=None, cache=10**15, results=10**15, one_disk=False)


def never() -> Probe:
    raise AssertionError("the machine is not to be probed here")


def as_there() -> Probe:
    """The probe of a machine that is as fast as the reference."""
    return Probe(**reference()["probe"])


class Desk:
    """A results folder, a cache, and what is asked about them."""

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        self.dataset, self.report = dataset, NoReport()
        self.options = EngineOptions(folder / "results", folder / "cache", timing=False)
        self.store = FeatureStore(self.options.cache, "cpu", 32, 0, self.report)

    def plan(self, *methods: type[Method] | str, seeds: Sequence[int] = (0,), **settings: Any) -> list[Planned]:
        registry, choices = Registry(), []
        for method in methods:
            cls = registry.get(method) if isinstance(method, str) else method
            own = {k: v for k, v in settings.items() if k in cls.Config.model_fields}
            choices.append(ConfiguredMethod(cls, cls.Config(**own), "a test"))
        return plan(self.dataset, choices, seeds, self.options, self.store, self.report)

    def costs(
        self, planned: list[Planned], records: Sequence[RunRecord] = (), probed: Callable[[], Probe] = as_there
    ) -> list[RunCost]:
        estimator = Estimator(self.options, self.store, self.report, Past(records, HERE), probed)
        return estimator.costs(self.dataset, planned)

    def bill(self, planned: list[Planned], *records: RunRecord, free: Room = ROOMY) -> Bill:
        return Bill.of(self.costs(planned, records), free)


@pytest.fixture
def desk(tmp_path: Path, tiny_city: Dataset) -> Desk:
    return Desk(tmp_path, tiny_city)


class Half(Method):
    """Says that it does as many steps as it has photos, and shares its fit."""

    info = MethodInfo(name="half", title="Half", family="test", stochastic=True)
    shares_fit = True

    class Config(MethodConfig):
        """Settings."""

        epochs: int = 1

    config: Config

    def workload(self, sizes: Sizes) -> Workload | None:
        return Workload(Effort(steps=1000 * self.config.epochs * sizes.train))

    def fit_state(self) -> State:
        return {}

    def predict(self, images: ImageBatch, k: int) -> TopK:
        raise NotImplementedError


class Whole(Method):
    """Is made of `Half`, and adds a tenth of its steps."""

    info = MethodInfo(name="whole", title="Whole", family="test", stochastic=True)

    def workload(self, sizes: Sizes) -> Workload | None:
        return Workload(Effort(steps=100 * sizes.train))

    def parts(self) -> dict[str, Part]:
        return {"half": Part(Half, Half.Config())}

    def predict(self, images: ImageBatch, k: int) -> TopK:
        raise NotImplementedError


class Silent(Method):
    """Says nothing of its work."""

    info = MethodInfo(name="silent", title="Silent", family="test", stochastic=True)

    class Config(MethodConfig):
        """Settings."""

        epochs: int = 1

    def predict(self, images: ImageBatch, k: int) -> TopK:
        raise NotImplementedError


def finished(planned: Planned, fit: float, rest: float = 0.0, **update: Any) -> RunRecord:
    """A record of a planned run of this machine, as if it had been run."""
    spec = planned.spec
    made = make_record(spec.method, config=spec.config, version=spec.version, seed=spec.seed, hardware=HERE)
    phases = Phases(fit=TimedPhase(seconds=fit, peak_rss_bytes=10**9), index=TimedPhase(seconds=0.0))
    times = {"started": "2026-01-01T00:00:00+00:00", "finished": f"2026-01-01T00:{int(fit + rest) // 60:02d}:"}
    times["finished"] += f"{int(fit + rest) % 60:02d}+00:00"
    about = made.dataset.model_copy(
        update={
            "digest": spec.dataset_digest, "candidate_digest": spec.candidate_digest,
            "contents_digest": spec.contents_digest,
        }
    )  # fmt: skip
    record = identified(
        made, phases=phases, dataset=about.model_copy(update=update.pop("dataset", {})),
        provenance=made.provenance.model_copy(update=times), k=spec.k,
    )  # fmt: skip
    return identified(record, **update) if update else record


def test_runs_that_differ_by_their_seed_tell_the_time_without_a_probe(desk: Desk) -> None:
    earlier, later = desk.plan(Half, seeds=(1, 2)), desk.plan(Half)
    records = [finished(earlier[0], 10, 2), finished(earlier[1], 20, 4)]
    (cost,) = desk.costs(later, records, never)
    fit, rest = cost.things
    assert (fit.seconds, rest.seconds) == (15, 3)
    assert fit.source == rest.source == "2 runs of it here"
    assert cost.memory is not None
    assert (cost.memory.host, cost.memory_source) == (10**9, "runs of it here")


def test_a_run_on_a_larger_city_tells_the_time_by_what_both_have_to_do(desk: Desk) -> None:
    (planned,) = desk.plan(Half, epochs=3)
    (other,) = desk.plan(Half)
    train = len(desk.dataset.split("train"))
    record = finished(other, 100, dataset={"digest": "e" * 64, "n_train": 100 * train, "name": "large"})
    (cost,) = desk.costs([planned], [record], never)
    seconds = cost.things[0].seconds
    assert seconds == pytest.approx(100 * 3 / 100, rel=0.05)
    assert cost.things[0].source == f"a run here on large ({100 * train:,} train photos), scaled"


def test_a_method_that_says_nothing_is_scaled_by_photos_and_epochs_or_unknown(desk: Desk) -> None:
    planned = desk.plan(Silent, epochs=4)
    bill = desk.bill(planned)
    assert [line.run.planned for line in bill.unknown] == planned
    assert (bill.seconds, bill.largest, bill.lines[0].seconds) == (0, None, None)
    assert bill.lines[0].run.memory is None
    assert bill.as_dict()["unknown"] == [planned[0].spec.run_id]
    (once,) = desk.plan(Silent)
    train = len(desk.dataset.split("train"))
    record = finished(once, 50, dataset={"digest": "e" * 64, "n_train": 2 * train})
    (cost,) = desk.costs(planned, [record], never)
    assert cost.things[0].seconds == pytest.approx(50 * 4 / 2)


def test_other_machines_and_runs_from_packs_tell_nothing(desk: Desk) -> None:
    (earlier,), later = desk.plan(Half, seeds=(1,)), desk.plan(Half)
    record = finished(earlier, 10)
    far = record.provenance.model_copy(update={"hardware_digest": "another machine"})
    (cost,) = desk.costs(later, [record.model_copy(update={"provenance": far})])
    assert cost.things[0].source.startswith("reference x 1.00")


@pytest.mark.parametrize("order", [(Half, Whole), (Whole, Half)])
def test_a_part_is_counted_once_with_the_run_that_comes_to_it_first(
    desk: Desk, order: tuple[type[Method], ...]
) -> None:
    bill = desk.bill(desk.plan(*order))
    steps = len(desk.dataset.split("train")) * reference()["seconds"]["step"]
    once = 2 * reference()["seconds"]["run"]
    assert bill.seconds == pytest.approx(1100 * steps + once)
    first, second = (line.seconds for line in bill.lines)
    assert first is not None
    assert second is not None
    assert first > 1000 * steps > second
    assert "fit of half" in bill.lines[0].source
    assert "fit of half" not in bill.lines[1].source
    assert bill.largest is not None
    assert bill.largest.what == "fit of half"
    assert bill.largest.seconds == pytest.approx(1000 * steps)


def test_a_part_has_one_fit_a_seed(desk: Desk) -> None:
    bill = desk.bill(desk.plan(Half, Whole, seeds=(0, 1, 2)))
    keys = [t.key for line in bill.lines for t in line.own if t.what == "fit of half"]
    assert len(keys) == len(set(keys)) == 3


def test_a_part_that_a_run_of_another_seed_had_tells_its_time(desk: Desk) -> None:
    from ial_bench.engine.identity import part_id

    (half,) = desk.plan(Half, seeds=(1,))
    (whole,) = desk.plan(Whole, seeds=(1,))
    part = PartRecord(
        name="half", method="half", version="1", identity=part_id(half.spec), seconds=70.0, seconds_now=70.0
    )
    record = finished(whole, 80)
    record = record.model_copy(update={"method": record.method.model_copy(update={"parts": [part]})})
    (cost,) = desk.costs(desk.plan(Whole), [record], never)
    assert [(t.what, t.seconds) for t in cost.things[:2]] == [("fit of half", 70), ("fit of whole", 10)]


def test_a_part_that_is_kept_costs_nothing(desk: Desk) -> None:
    from ial_bench.engine.identity import part_id

    (planned,) = desk.plan(Whole)
    (half,) = desk.plan(Half)
    state = desk.options.cache / "parts" / part_id(half.spec) / fitted_methods.STATE
    state.mkdir(parents=True)
    fitted_methods.seal(state, {})
    part = desk.costs([planned])[0].things[0]
    assert (part.what, part.seconds) == ("half, fitted already", 0)


def test_a_class_that_names_parts_does_not_inherit_what_their_fit_takes(desk: Desk) -> None:
    class Heir(Half):
        info = MethodInfo(name="heir", title="Heir", family="test", stochastic=True)
        shares_fit = False

        def parts(self) -> dict[str, Part]:
            return {"half": Part(Half, Half.Config())}

    (cost,) = desk.costs(desk.plan(Heir))
    assert [t.seconds is None for t in cost.things] == [False, True, True]


def test_features_are_counted_once_for_all_methods_and_seeds_and_not_where_they_are_cached(desk: Desk) -> None:
    planned = desk.plan("linear-probe", "retrieval", "clip-adapter", seeds=(0, 1), backbone=CHECK_BACKBONE)
    bill = desk.bill(planned)
    photos = len(desk.dataset)
    dim = planned[0].encoder.dim if planned[0].encoder else 0
    assert bill.sure == 4 * dim * photos
    assert all(t.sure for t in bill.lines[0].own[:3])
    assert not any(t.sure for line in bill.lines[1:] for t in line.own)
    chosen = Selection.of(desk.dataset, None)
    desk.store.extract(CHECK_BACKBONE, chosen.train)
    assert desk.bill(planned).sure == 4 * dim * (photos - len(chosen.train))


def test_what_encoding_took_here_tells_what_encoding_takes(desk: Desk) -> None:
    (planned,) = desk.plan("retrieval", backbone=CHECK_BACKBONE)
    assert planned.encoder is not None
    from ial_bench.engine.run import encoder_record

    record = finished(planned, 1, dataset={"digest": "e" * 64})
    phases = Phases(
        features=FeaturePhase(seconds=50.0, images=100, cached=False), fit=TimedPhase(seconds=1.0),
        index=TimedPhase(seconds=0.0),
    )  # fmt: skip
    method = record.method.model_copy(update={"encoder": encoder_record(planned.encoder)})
    record = identified(record, method=method, phases=phases)
    things = [t for t in desk.costs([planned], [record], never)[0].things if t.sure]
    assert sum(t.seconds or 0 for t in things) == pytest.approx(0.5 * len(desk.dataset))
    assert {t.source for t in things} == {"this encoder here"}


def test_records_of_real_runs_tell_the_next_seed(tiny_city: Dataset, tmp_path: Path) -> None:
    records = run_baselines(tiny_city, tmp_path, ["random"])
    desk = Desk(tmp_path, tiny_city)
    done, todo = desk.plan("random", seeds=(0, 1))
    (first, second) = desk.costs([done, todo], records, never)
    assert (done.state, first.things) == ("done", ())
    assert [t.source for t in second.things] == ["a run of it here"] * 2
    assert second.memory is not None
    assert second.memory.host > 10**7


def test_what_is_free_is_held_against_what_is_needed(desk: Desk) -> None:
    planned = desk.plan("retrieval", backbone=CHECK_BACKBONE)
    assert desk.bill(planned).short() == []
    tight = replace(ROOMY, memory=1000, cache=10, results=10)
    memory, cache, results = desk.bill(planned, free=tight).short()
    assert memory.startswith("memory: retrieval on tiny-city takes about ")
    assert memory.endswith("1 kB are free")
    assert cache.startswith("disk: cache take about ")
    assert results.startswith("disk: results take about ")
    (joint,) = desk.bill(planned, free=replace(ROOMY, cache=10, results=10, one_disk=True)).short()
    assert joint.startswith("disk: cache and results take about ")
    assert desk.bill(planned, free=replace(ROOMY, memory=None)).short() == []


def test_a_plan_whose_features_do_not_fit_is_refused(desk: Desk) -> None:
    planned = desk.plan("retrieval", backbone=CHECK_BACKBONE)
    bill = desk.bill(planned)
    just = int(bill.sure)
    desk.bill(planned, free=replace(ROOMY, cache=just)).refuse(desk.options.cache)
    with pytest.raises(StorageError, match=r"cannot hold what this plan encodes: features of openclip:tiny-check"):
        desk.bill(planned, free=replace(ROOMY, cache=just - 1)).refuse(desk.options.cache)
