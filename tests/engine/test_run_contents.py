"""Runs and features hang on what their photos show, where the dataset tells it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.verify import take_contents
from ial_bench.engine.answering import fitting
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.identity import RunSpec
from ial_bench.engine.plan import ConfiguredMethod, EngineOptions, plan
from ial_bench.engine.record import RunRecord
from ial_bench.engine.records import record_path
from ial_bench.engine.run import Engine
from ial_bench.engine.scoring import disagreements
from ial_bench.engine.timing import measure_queries
from ial_bench.errors import ImageError
from ial_bench.method import RunContext
from ial_bench.progress import NoReport
from ial_bench.registry import Registry
from ial_bench.report.selection import one_population
from ial_bench.settings import config_from_text
from ial_bench.testing import CHECK_BACKBONE
from support.made_contents import replace_photo, without_contents
from support.made_records import make_record, run_baselines

EARLIER, LATER = "2026-01-01T00:00:00+00:00", "2026-02-01T00:00:00+00:00"


@pytest.fixture
def city(tiny_city: Dataset, tmp_path: Path) -> Dataset:
    """The tiny city, to spoil."""
    return Dataset(Path(shutil.copytree(tiny_city.folder, tmp_path / "city")))


def run_of(data: Dataset, folder: Path, method: str = "majority") -> RunRecord:
    return run_baselines(data, folder, [method])[0]


def spec_of(record: RunRecord, contents: str | None) -> RunSpec:
    m, d = record.method, record.dataset
    return RunSpec(
        m.name, m.version, m.config, None, d.digest, d.candidate_digest, None, record.seed, record.k,
        contents_digest=contents,
    )  # fmt: skip


def test_a_run_is_of_the_contents_of_its_photos(tiny_city: Dataset, tmp_path: Path) -> None:
    now = run_of(tiny_city, tmp_path)
    before = run_of(without_contents(tiny_city, tmp_path / "old"), tmp_path)
    assert now.dataset.contents_digest == tiny_city.contents_digest
    assert before.dataset.contents_digest is None
    assert now.dataset.digest == before.dataset.digest
    assert now.run_id == spec_of(now, tiny_city.contents_digest).run_id
    assert before.run_id == spec_of(now, None).run_id  # as ever
    assert now.run_id != before.run_id


def test_a_replaced_photo_stops_a_run_and_new_digests_make_another(city: Dataset, tmp_path: Path) -> None:
    """With features, which look at every photo; those of photos that stayed are not computed again."""

    def run(data: Dataset, home: str) -> RunRecord:
        options = EngineOptions(tmp_path / home / "results", tmp_path / home / "cache", batch_size=8, timing=False)
        store = FeatureStore(options.cache, "cpu", 8, 0, NoReport())
        cls = Registry().get("retrieval")
        choice = ConfiguredMethod(cls, config_from_text(cls, {"backbone": CHECK_BACKBONE}), "ial-bench")
        (planned,) = plan(data, [choice], (0,), options, store, NoReport())
        return Engine(data, options, store, NoReport()).execute(planned)

    def features(home: str) -> set[str]:
        return {p.parent.name for p in (tmp_path / home / "cache" / "features").glob("*/*/features.f32")}

    first = run(city, "a")
    assert first.status == "done"
    keys = features("a")
    replace_photo(city.split("query"), 2)
    refused = run(Dataset(city.folder), "b")
    assert (refused.status, refused.run_id) == ("failed", first.run_id)
    assert "has other content than when the dataset was made" in str(refused.reason)
    assert not list((tmp_path / "b" / "results").rglob("*.parquet"))

    take_contents(city, overwrite=True)
    other = run(Dataset(city.folder), "a")
    assert other.status == "done"
    assert other.run_id != first.run_id
    assert other.dataset.digest == first.dataset.digest
    assert len(features("a") - keys) == 1  # of the queries


def test_latency_is_of_the_same_photos(city: Dataset, tmp_path: Path) -> None:
    cls = Registry().get("majority")
    store = FeatureStore(tmp_path, "cpu", 8, 0, NoReport())
    method = cls(cls.Config(), RunContext(0, "cpu", store, NoReport()))
    for i in range(len(city.split("query"))):
        replace_photo(city.split("query"), i)
    with pytest.raises(ImageError, match="has other content"):
        measure_queries(method, city.split("query"), 3, "cpu")


def test_check_holds_contents_against_a_record_where_both_are_known(city: Dataset, tmp_path: Path) -> None:
    record = run_of(city, tmp_path)
    path = record_path(tmp_path / "results", city.name, record.method.name, record.run_id)
    assert disagreements(path, record, city) == []
    assert disagreements(path, record, without_contents(city, tmp_path / "old")) == []
    replace_photo(city.split("train"), 0)
    take_contents(city, overwrite=True)
    other = Dataset(city.folder)
    (line,) = disagreements(path, record, other)
    told, true = city.contents_digest, other.contents_digest
    assert line == f"the digest of the photos' contents is {told} in the record and {true} in the dataset"


def test_the_fitted_method_of_these_photos_is_taken_first(city: Dataset, tmp_path: Path) -> None:
    cls = Registry().get("majority")
    mine = run_of(city, tmp_path)
    replace_photo(city.split("train"), 0)
    take_contents(city, overwrite=True)
    later = run_of(Dataset(city.folder), tmp_path)
    for data, first in ((city, mine), (Dataset(city.folder), later)):
        assert fitting([mine, later], cls, data, None, {})[0] == first
        assert len(fitting([mine, later], cls, data, None, {})) == 2


def made(method: str, contents: str | None, finished: str = EARLIER, seed: int = 0) -> RunRecord:
    record = make_record(method, finished=finished, seed=seed)
    return record.model_copy(update={"dataset": record.dataset.model_copy(update={"contents_digest": contents})})


class TestPopulation:
    """Which runs may stand in one table."""

    def test_runs_on_other_contents_never_stand_together(self) -> None:
        runs = [made("a", "1"), made("b", "2", LATER), made("c", "2"), made("d", "1")]
        shown, notes = one_population(runs, None)
        assert [r.method.name for r in shown] == ["b", "c"]
        assert notes == [
            "2 other runs are left out: another version of the dataset or its photos, another limit, k or protocol"
        ]

    def test_runs_that_do_not_tell_stand_beside_those_that_do_and_it_is_said(self) -> None:
        shown, notes = one_population([made("a", None, LATER), made("b", "1"), made("c", None)], None)
        assert [r.method.name for r in shown] == ["a", "b", "c"]
        (note,) = notes
        assert note.startswith("2 runs do not tell the contents of the photos")

    def test_one_run_is_not_two_seeds(self) -> None:
        """Made again once the dataset had digests."""
        runs = [made("a", None, LATER), made("a", "1"), made("a", None, seed=1)]
        shown, notes = one_population(runs, None)
        assert [(r.seed, r.dataset.contents_digest) for r in shown] == [(0, "1"), (1, None)]
        assert any(note.startswith("1 run does not tell") for note in notes)

    def test_where_none_tells_nothing_is_said(self) -> None:
        shown, notes = one_population([made("a", None), made("b", None)], None)
        assert (len(shown), notes) == (2, [])
