"""Results that are passed on without names and positions: as right or wrong as they were, and clear on what is gone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from committed_records import copy, numbered
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.ground_truth import GroundTruth, ground_truth_key
from ial_bench.engine.predictions import read_predictions
from ial_bench.engine.records import read_record, records
from ial_bench.engine.scoring import outcomes, rescore
from ial_bench.errors import DataError, UnknownNameError
from ial_bench.plots.kinds import KINDS
from ial_bench.plots.scene import Scene
from ial_bench.progress import NoReport
from ial_bench.report.selection import Selected
from ial_bench.report.site.build import Options, build
from ial_bench.report.site.source import gather
from support.made_answers import a_run
from support.made_results import NAME, Method, made_truth, write_results

METHODS = [Method("a", "A", 0.7), Method("b", "B", 0.5, positions=True)]


@pytest.fixture
def passed_on(tmp_path: Path) -> Path:
    """Two made-up runs, one of which predicts positions."""
    write_results(tmp_path / "own", made_truth(240), METHODS)
    copy(tmp_path / "own", NAME, tmp_path / "passed-on")
    return tmp_path


def test_outcomes_of_names_are_what_they_were(passed_on: Path) -> None:
    own, given = (Selected.among(passed_on / name, NAME, ["a", "b"], None) for name in ("own", "passed-on"))
    for before, after in zip(own.groups, given.groups, strict=True):
        assert before.runs[0].metrics == after.runs[0].metrics
        names, values, _ = outcomes(own.answers.top(before.runs[0]), own.answers.truth)
        kept, same, metres = outcomes(given.answers.top(after.runs[0]), given.answers.truth)
        assert names[: len(kept)] == kept
        assert {name.partition("_")[0] for name in names[len(kept) :]} == {"within"}
        np.testing.assert_array_equal(values[:, : len(kept)], same)
        assert np.isnan(metres).all()


def test_nothing_of_the_city_is_left(passed_on: Path) -> None:
    truth = Selected.among(passed_on / "passed-on", NAME, ["a"], None).answers.truth
    assert not np.isfinite(truth.positions).any()
    assert not np.isfinite(truth.candidate_positions).any()
    texts = " ".join(a.text for a in truth.addresses)
    assert not [word for word in ("Quarter", "Crossing") if word in texts]
    for file in (passed_on / "passed-on").rglob("*.predictions.parquet"):
        assert read_predictions(file)[1].positions is None


def test_numbers_are_equal_where_names_are(passed_on: Path) -> None:
    before = made_truth(240).addresses
    after = numbered(before)
    for part in ("street", "neighbourhood", "cross_streets"):
        pairs = {(getattr(a, part), getattr(b, part)) for a, b in zip(before, after, strict=True)}
        assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)


def test_distances_are_no_metric_and_the_map_says_why(passed_on: Path) -> None:
    selected = Selected.among(passed_on / "passed-on", NAME, ["a"], None)
    with pytest.raises(UnknownNameError, match="within_50"):
        selected.answers.values(selected.groups[0].runs, "within_50")
    with pytest.raises(DataError, match="passed on without positions"):
        KINDS["map"](Scene(selected, named=True))


def test_a_report_needs_no_positions(passed_on: Path) -> None:
    options = Options(passed_on / "passed-on", home=passed_on)
    _, problems = build(passed_on / "report", [NAME], options, NoReport())
    assert problems == []
    assert (passed_on / "report" / "index.html").is_file()


def test_the_dataset_at_hand_tells_what_is_missing(tmp_path: Path, tiny_city: Dataset) -> None:
    a_run(tmp_path / "own", tiny_city, "linear-probe", 0.4, run=1)
    copy(tmp_path / "own", tiny_city.name, tmp_path / "passed-on")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / tiny_city.name).symlink_to(tiny_city.folder)
    answers = gather(tmp_path / "passed-on", tiny_city.name, tmp_path / "home").answers
    assert answers is not None
    assert answers.truth.has_positions
    (path, record), = records(tmp_path / "passed-on")  # fmt: skip
    assert not isinstance(record, DataError)
    assert rescore(path, record, tiny_city).metrics == read_record(path).metrics
    key = ground_truth_key(record.dataset)
    assert GroundTruth.read(tmp_path / "passed-on" / tiny_city.name, key).has_positions


def test_predicted_positions_that_are_gone_are_not_scored_as_centroids(tmp_path: Path, tiny_city: Dataset) -> None:
    made = a_run(tmp_path / "own", tiny_city, "two-stage", 0.4, run=1)
    assert made.metrics is not None
    (path, record), = records(tmp_path / "own")  # fmt: skip
    assert not isinstance(record, DataError)
    assert record.metrics is not None
    told = record.metrics.distance_m.model_copy(update={"to": "predicted position"})
    record = record.model_copy(update={"metrics": record.metrics.model_copy(update={"distance_m": told})})
    with pytest.raises(DataError, match="without the positions that it predicts"):
        rescore(path, record, tiny_city)
