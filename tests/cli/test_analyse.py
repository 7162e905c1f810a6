"""`bench analyse` on stored runs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from ial_bench.addresses import Address
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.derive import join
from ial_bench.engine.ground_truth import GroundTruth
from ial_bench.engine.predictions import read_predictions
from ial_bench.metrics.calibration import reliability
from support.bench_command import Bench
from support.made_answers import a_run, noisy_scores
from support.made_city import truth_of, write_city
from support.made_records import run_baselines


@pytest.fixture(scope="module")
def runs(tiny_city: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of a method with logits, one that kept no sum, and one whose scores are an order; read only."""
    results = tmp_path_factory.mktemp("analysed")
    a_run(results, tiny_city, "linear-probe", 0.5, run=1)
    a_run(results, tiny_city, "linear-probe", 0.5, run=2, seed=1)
    a_run(results, tiny_city, "clip-adapter", 0.8, run=3, told=False)
    a_run(results, tiny_city, "retrieval", 2.0, run=4)
    return results


@pytest.fixture(scope="module")
def truth(tiny_city: Dataset) -> GroundTruth:
    return truth_of(tiny_city)


def right(truth: GroundTruth, noise: float, *runs: int) -> np.ndarray:
    """[runs, n]: whether the first answers are right."""
    return np.stack([noisy_scores(truth, noise, r).argmax(axis=1) == truth.labels for r in runs]).astype(float)


def told(bench: Bench, *arguments: str | Path) -> list[dict[str, object]]:
    said = bench("analyse", *arguments, "--format", "json")
    assert said.code == 0, said.err
    found: list[dict[str, object]] = json.loads(said.out)
    return found


def test_breakdown_by_neighbourhood(bench: Bench, runs: Path, truth: GroundTruth) -> None:
    (sheet,) = told(bench, "breakdown", "linear-probe", "retrieval", "--by", "neighbourhood", "--results", runs)
    first, other = right(truth, 0.5, 1, 2).mean(axis=0), right(truth, 2.0, 4)[0]
    areas = np.array([truth.addresses[i].neighbourhood for i in truth.address_rows])
    rows: list[dict[str, object]] = sheet["rows"]  # type: ignore[assignment]
    assert [r["neighbourhood"] for r in rows] == sorted(set(areas))
    for row in rows:
        inside = areas == row["neighbourhood"]
        assert row["queries"] == inside.sum()
        assert row["linear-probe"]["value"] == pytest.approx(first[inside].mean())  # type: ignore[index]
        assert row["retrieval"]["value"] == pytest.approx(other[inside].mean())  # type: ignore[index]


def test_all_breakdowns_have_all_queries(bench: Bench, runs: Path, truth: GroundTruth) -> None:
    sheets = told(bench, "breakdown", "retrieval", "--results", runs)
    assert [s["by"] for s in sheets] == ["neighbourhood", "street", "train-photos", "train-distance", "heading"]
    for sheet in sheets:
        assert sum(r["queries"] for r in sheet["rows"]) == len(truth)  # type: ignore[attr-defined]


def test_a_joined_dataset_by_the_dataset_that_a_query_comes_from(bench: Bench, tmp_path: Path) -> None:
    cities = []
    for number, name in enumerate(("ash", "birch")):
        addresses = [Address(f"{name} {i}", "Hill") for i in range(3)]
        cities.append(
            write_city(
                tmp_path / name, addresses, name=name, split=["train"] * 3 + ["query"] * (2 + number),
                place=[f"p{i}" for i in range(5 + number)], address=[0, 1, 2, 0, 1, 1][: 5 + number],
                lat=[40.0 + number] * (5 + number), lon=[-80.0] * (5 + number),
            )
        )  # fmt: skip
    joined = join(cities, "both", tmp_path / "both")
    run_baselines(joined, tmp_path, ["majority"])
    (sheet,) = told(bench, "breakdown", "majority", "--by", "dataset", "--results", tmp_path / "results")
    labels, ids = truth_of(joined).labels, truth_of(joined).ids
    (file,) = (tmp_path / "results").glob("both/majority/*.predictions.parquet")
    _, top = read_predictions(file)
    for row in sheet["rows"]:  # type: ignore[attr-defined]
        own = [i for i, photo_id in enumerate(ids) if photo_id.startswith(f"{row['dataset']}/")]
        assert row["queries"] == len(own)
        assert row["Most frequent address"]["value"] == pytest.approx(np.mean(top.indices[own, 0] == labels[own]))
    assert [r["dataset"] for r in sheet["rows"]] == ["ash", "birch"]  # type: ignore[attr-defined]


def test_train_photos_and_distance(bench: Bench, runs: Path, truth: GroundTruth) -> None:
    photos, metres = told(bench, "breakdown", "retrieval", "--results", runs)[2:4]
    of_query = truth.train_photos[truth.labels]
    for row in photos["rows"]:  # type: ignore[attr-defined]
        low, _, high = row["train photos of the address"].partition(" to ")
        assert row["queries"] == np.sum((of_query >= int(low)) & (of_query <= int(high or low)))
    for row in metres["rows"]:  # type: ignore[attr-defined]
        low, _, high = row["nearest train photo"].removesuffix(" m").partition(" to ")
        if high:
            assert row["queries"] == np.sum((truth.train_m >= int(low)) & (truth.train_m < int(high)))


def test_calibration(bench: Bench, runs: Path, truth: GroundTruth) -> None:
    (sheet,) = told(bench, "calibration", "--bins", "5", "--results", runs)
    rows = {r["method"]: r for r in sheet["rows"]}  # type: ignore[attr-defined]
    sure = []
    for run in (1, 2):
        scores = noisy_scores(truth, 0.5, run).astype(np.float64)
        sure.append((np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)).max(axis=1))
    outcome = right(truth, 0.5, 1, 2)
    expected = reliability(np.concatenate(sure), outcome.ravel(), 5).ece
    assert rows["linear-probe"]["ECE"] == pytest.approx(expected, rel=1e-4)
    assert rows["linear-probe"]["risk at 100%"] == pytest.approx(1 - outcome.mean())
    curve = sheet["curves"][0]["risk"]  # type: ignore[index]
    assert len(curve["coverage"]) == len(curve["risk"]) == len(truth)
    assert curve["coverage"][-1] == 1
    assert rows["clip-adapter"]["ECE"] is None
    assert rows["retrieval"]["ECE"] is None
    notes = " ".join(sheet["notes"])  # type: ignore[arg-type]
    assert "clip-adapter: no ECE, for the predictions hold the best scores alone" in notes
    assert "retrieval: no ECE, for the scores are no probabilities" in notes
    for row in rows.values():
        assert row["AURC"] >= row["best AURC"]


def test_all_candidates_stored_make_a_probability(bench: Bench, tmp_path: Path, tiny_city: Dataset) -> None:
    for name, told_sum, k in (("linear-probe", False, 6), ("clip-adapter", True, 2)):
        a_run(tmp_path, tiny_city, name, 0.5, run=1, told=told_sum, k=k)
    errors = []
    for name in ("linear-probe", "clip-adapter"):  # other k, other population: one at a time
        for path in tmp_path.glob("*/*/*.json"):
            path.rename(path.with_suffix(".json" if path.parent.name == name else ".off"))
        (sheet,) = told(bench, "calibration", "--results", tmp_path)
        errors.append(sheet["rows"][0]["ECE"])  # type: ignore[index]
        for path in tmp_path.glob("*/*/*.off"):
            path.rename(path.with_suffix(".json"))
    assert errors[0] == pytest.approx(errors[1], rel=1e-4)


def test_only_logits_have_a_sum(tiny_city: Dataset, tmp_path: Path) -> None:
    (record,) = run_baselines(tiny_city, tmp_path, ["majority"])
    assert record.predictions is not None
    path = tmp_path / "results" / "tiny-city" / "majority" / record.predictions.path
    assert read_predictions(path)[1].log_sum is None


def test_confusion(bench: Bench, runs: Path, truth: GroundTruth) -> None:
    kinds, pairs = told(bench, "confusion", "retrieval", "--pairs", "3", "--results", runs)
    wrong = 1 - right(truth, 2.0, 4)[0]
    rows = {r["answered"]: r["retrieval"] for r in kinds["rows"]}  # type: ignore[attr-defined]
    assert rows.pop("wrong answers") == wrong.sum()
    assert sum(r["value"] for r in rows.values()) == pytest.approx(1)
    assert len(pairs["rows"]) == 3  # type: ignore[arg-type]
    answered = noisy_scores(truth, 2.0, 4).argmax(axis=1)
    for row in pairs["rows"]:  # type: ignore[attr-defined]
        texts = [a.text for a in truth.addresses]
        asked = truth.address_rows == texts.index(row["truth"])
        given = truth.candidate_rows[answered] == texts.index(row["answered"])
        assert row["queries"] == np.sum(asked & given)


def test_forms(bench: Bench, runs: Path) -> None:
    arguments = ("analyse", "breakdown", "retrieval", "--by", "heading", "--results", runs)
    assert bench(*arguments, "--format", "md").out.startswith("**")
    assert r"\begin{tabular}" in bench(*arguments, "--format", "latex").out
    assert "<table>" in bench(*arguments, "--format", "html").out
    header, *rows = csv.reader(io.StringIO(bench(*arguments, "--format", "csv").out))
    assert header == ["heading", "queries", "places", "retrieval", "retrieval low", "retrieval high"]
    assert len(rows) >= 1
    plain = bench(*arguments)
    assert plain.out.splitlines()[0].split("\t") == ["heading", "queries", "places", "retrieval"]
    assert "note: " in plain.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("breakdown", "--by", "street-name"), "did you mean 'street'"),
        (("breakdown", "--metric", "SSB-1"), "did you mean"),
        (("breakdown", "--format", "xml"), "unknown format"),
        (("confusion", "retreival"), "did you mean 'retrieval'"),
        (("calibration", "--dataset", "nowhere"), "nowhere"),
    ],
)
def test_what_is_not_there_is_said(bench: Bench, runs: Path, arguments: tuple[str, ...], says: str) -> None:
    said = bench("analyse", *arguments, "--results", runs)
    assert said.code == 2
    assert says in said.err
