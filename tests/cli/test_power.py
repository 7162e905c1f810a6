"""`bench power`, of stored runs and of assumptions."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ial_bench.addresses import Address
from ial_bench.datasets.dataset import Dataset
from support.bench_command import Bench
from support.made_answers import a_run, noisy_scores
from support.made_city import truth_of, write_city

PLACES, PHOTOS = 60, 2


def grid(folder: Path, places: int) -> Dataset:
    """A dataset of so many query places of two photos."""
    n = places * PHOTOS
    return write_city(
        folder,
        [Address(f"Street {i}", "Hill") for i in range(5)],
        name="grid", split=["train"] * 5 + ["query"] * n,
        place=[f"t{i}" for i in range(5)] + [f"p{i // PHOTOS:03d}" for i in range(n)],
        address=[*range(5), *(i // PHOTOS % 5 for i in range(n))], lat=[40.0] * (5 + n), lon=[-80.0] * (5 + n),
    )  # fmt: skip


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Sixty query places."""
    return grid(tmp_path_factory.mktemp("city") / "grid", PLACES)


@pytest.fixture(scope="module")
def runs(city: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods, one of them with two configurations; read only."""
    results = tmp_path_factory.mktemp("power")
    a_run(results, city, "linear-probe", 0.5, run=0)
    a_run(results, city, "clip-adapter", 0.7, run=1, a=1)
    a_run(results, city, "clip-adapter", 0.9, run=2, a=2)
    a_run(results, city, "retrieval", 1.0, run=9)
    return results


def rows(bench: Bench, *arguments: str | Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    said = bench("power", *arguments, "--format", "json")
    assert said.code == 0, said.err
    (sheet,) = json.loads(said.out)
    return sheet, sheet["rows"]


def test_stored_answers(bench: Bench, runs: Path, city: Dataset) -> None:
    sheet, (row,) = rows(bench, "linear-probe", "retrieval", "--difference", "5,10", "--results", runs)
    truth = truth_of(city)
    first, other = (noisy_scores(truth, s, r).argmax(axis=1) == truth.labels for s, r in ((0.5, 0), (1.0, 9)))
    difference = first.astype(float) - other
    assert row["one alone %"] == pytest.approx(100 * np.mean(first != other), abs=0.01)
    assert row["correlation"] == pytest.approx(np.corrcoef(first, other)[0, 1], abs=0.001)
    assert row["places"] == PLACES
    sums = difference.reshape(PLACES, PHOTOS).sum(axis=1)
    # The usual formula for large samples, in units of a place's two photos.
    spread, reach = sums.std(ddof=1), 1.96 + 0.8416
    assert row["smallest difference"] == pytest.approx(100 * reach * spread / np.sqrt(PLACES) / PHOTOS, rel=0.06)
    assert row["places for 5"] == pytest.approx((reach * spread / (0.05 * PHOTOS)) ** 2, rel=0.03)
    assert row["places for 5"] > 3 * row["places for 10"]
    assert row["power % for 5"] < row["power % for 10"]
    assert (row["power % for 10"] >= 80) == (row["smallest difference"] <= 10)
    assert (sheet["power"], sheet["level"], sheet["comparisons"]) == (80, 5, 1)


def test_pairs_are_corrected_as_compare_corrects_them(bench: Bench, runs: Path) -> None:
    sheet, pairs = rows(bench, "--results", runs)
    assert (len(pairs), sheet["comparisons"]) == (6, 6)
    _, alone = rows(bench, "--comparisons", "1", "--results", runs)
    for corrected, plain in zip(pairs, alone, strict=True):
        assert corrected["smallest difference"] > plain["smallest difference"]
    _, (more,) = rows(bench, "--methods", "linear-probe,retrieval", "--places", "600", "--results", runs)
    _, (there,) = rows(bench, "--methods", "linear-probe, retrieval", "--results", runs)
    assert more["places"] == 600
    assert more["smallest difference"] == pytest.approx(there["smallest difference"] / np.sqrt(10), rel=0.06)


def test_oracles_take_no_part_unless_they_are_named(bench: Bench, packed_results: Path) -> None:
    _, (row,) = rows(bench, "--results", packed_results)
    assert "oracle" not in f"{row['A']} {row['B']}"
    _, (named,) = rows(bench, "gps-oracle", "majority", "--results", packed_results)
    assert "oracle" in named["A"]


def test_ids_of_runs(bench: Bench, runs: Path) -> None:
    ids = [p.stem for p in sorted(runs.glob("*/clip-adapter/*.json"))]
    _, (row,) = rows(bench, *ids, "--results", runs)
    assert "a=" in row["A"]
    said = bench("power", "clip-adapter", "retrieval", "--results", runs)
    assert said.code == 1
    assert all(one in said.err for one in ids)


def test_equal_answers_tell_nothing_of_a_difference(bench: Bench, city: Dataset, tmp_path: Path) -> None:
    for name in ("linear-probe", "retrieval"):
        a_run(tmp_path, city, name, 0.5, run=1)
    sheet, (row,) = rows(bench, "--difference", "2", "--results", tmp_path)
    assert row["smallest difference"] is row["places for 2"] is row["power % for 2"] is None
    assert any("same answers" in note for note in sheet["notes"])


def test_a_single_place_tells_nothing_of_how_places_vary(bench: Bench, tmp_path: Path) -> None:
    one = grid(tmp_path / "grid", 1)
    for run, name in enumerate(("linear-probe", "retrieval")):
        a_run(tmp_path / "results", one, name, 1.0, run=run)
    said = bench("power", "--results", tmp_path / "results")
    assert said.code == 1
    assert "of one place" in said.err
    said = bench("power", "--accuracy", "60", "--dataset", one.folder)
    assert said.code == 0
    assert "1 place cannot show anything" in said.err


def test_assumptions(bench: Bench) -> None:
    sheet, (row,) = rows(
        bench, "--accuracy", "60", "--difference", "3", "--photos-per-place", "4", "--within", "0.2",
        "--correlation", "0.5",
    )  # fmt: skip
    first, other = 0.6 * 0.4, 0.63 * 0.37
    of_query = first + other - 2 * 0.5 * np.sqrt(first * other)
    expected = (1.96 + 0.8416) ** 2 * of_query * (1 + 3 * 0.2) / 4 / 0.03**2
    assert row["places"] == pytest.approx(expected, rel=0.01)
    assert row["queries"] == 4 * row["places"]
    assert (row["A %"], row["B %"]) == (60, 63)
    assert (sheet["photos_per_place"], sheet["within"]) == (4, 0.2)


def test_so_many_places(bench: Bench) -> None:
    _, (asked, smallest) = rows(bench, "--accuracy", "60", "--difference", "20", "--places", "77")
    assert (asked["row"], smallest["row"]) == ("asked for", "smallest shown")
    assert smallest["power % of 77 places"] == 80
    assert smallest["places"] == 77
    assert smallest["difference"] < 20
    assert asked["power % of 77 places"] > 80
    _, (again,) = rows(bench, "--accuracy", "60", "--difference", str(smallest["difference"]))
    assert again["places"] == pytest.approx(77, abs=1)


def test_the_dataset_tells_places_and_photos_without_results(bench: Bench, city: Dataset) -> None:
    sheet, (row,) = rows(bench, "--accuracy", "60", "--dataset", city.folder)
    assert (row["row"], row["places"], row["queries"]) == ("smallest shown", PLACES, PLACES * PHOTOS)
    assert (sheet["photos_per_place"], sheet["sd_photos"]) == (PHOTOS, 0)


def test_a_correlation_that_cannot_be_is_lowered_where_it_was_not_asked_for(bench: Bench) -> None:
    sheet, (row,) = rows(bench, "--accuracy", "60", "--difference", "39")
    assert row["correlation"] < 0.5
    assert any("as much as the accuracies allow" in note for note in sheet["notes"])
    said = bench("power", "--accuracy", "60", "--difference", "39", "--correlation", "0.5")
    assert said.code == 2
    assert f"to {row['correlation']:.2f}" in said.err


def test_limits_are_told(bench: Bench) -> None:
    sheet, found = rows(bench, "--accuracy", "60", "--places", "4")
    assert found == []
    assert any("cannot show anything" in note and "from 5 places on" in note for note in sheet["notes"])
    sheet, _ = rows(bench, "--accuracy", "95", "--difference", "3", "--places", "30")
    assert any("fewer than 12 would differ" in note for note in sheet["notes"])
    said = bench("power", "--accuracy", "60", "--difference", "3", "--level", "0.05")
    assert "--level 0.05 is read as 0.05 %" in said.err


def test_forms(bench: Bench, runs: Path) -> None:
    arguments = ("power", "linear-probe", "retrieval", "--results", runs)
    assert bench(*arguments, "--format", "md").out.startswith("**grid: what 60 places show of SSA-1")
    assert "grid: what 60 places show of SSA-1" in bench(*arguments, "--format", "latex").out
    header, row = csv.reader(io.StringIO(bench(*arguments, "--format", "csv").out))
    assert header == ["A", "B", "places", "correlation", "within", "one alone %", "smallest difference"]
    assert float(row[2]) == PLACES
    plain = bench(*arguments)
    assert plain.out.splitlines()[0].split("\t") == header
    assert "note: " in plain.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("linear-probe",), 2, "two methods"),
        (("linear-probe", "retreival"), 2, "did you mean 'retrieval'"),
        (("linear-probe", "linear-probe"), 1, "same"),
        (("--dataset", "gird"), 2, "did you mean 'grid'"),
        (("linear-probe", "retrieval", "--metric", "SSB-1"), 2, "did you mean"),
        (("linear-probe", "retrieval", "--format", "xml"), 2, "unknown format"),
        (("linear-probe", "retrieval", "--within", "0.2"), 2, "--within is for assumed accuracies"),
        (("linear-probe", "retrieval", "--difference", "two"), 2, "'two' is no number"),
        (("linear-probe", "retrieval", "--difference", "0"), 2, "--difference 0 is not from"),
        (("linear-probe", "retrieval", "--difference", "nan"), 2, "--difference nan is not from"),
        (("linear-probe", "retrieval", "--difference", "101"), 2, "--difference 101 is not from"),
        (("linear-probe", "retrieval", "--level", "0"), 2, "--level 0 is not from"),
        (("linear-probe", "retrieval", "--power", "0.8"), 2, "--power 0.8 is not from"),
        (("linear-probe", "retrieval", "--power", "inf"), 2, "--power inf is not from"),
        (("linear-probe", "retrieval", "--comparisons", "2000"), 2, "no p of the test is below 0.005 %"),
        (("linear-probe", "retrieval", "--comparisons", "0"), 2, "--comparisons"),
        (("linear-probe", "retrieval", "--places", "1"), 2, "--places"),
        (("linear-probe", "retrieval", "--accuracy", "60"), 2, "METHODS is for stored answers"),
    ],
)
def test_what_cannot_be_told_of_answers_is_said(
    bench: Bench, runs: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    said = bench("power", *arguments, *(() if "--accuracy" in arguments else ("--results", runs)))
    assert said.code == code, said.err
    assert says in said.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "nothing is asked for"),
        (("--difference", "41"), "101 %"),
        (("--difference", "-61"), "-1 %"),
        (("--difference", "2", "--correlation", "1.5"), "--correlation 1.5 is not from"),
        (("--difference", "2", "--within", "-0.1"), "--within -0.1 is not from"),
        (("--difference", "2", "--within", "nan"), "--within nan is not from"),
        (("--difference", "2", "--photos-per-place", "0.5"), "--photos-per-place 0.5 is not from"),
        (("--difference", "2", "--photos-per-place", "1", "--size-spread", "0.3"), "places of one photo"),
        (("--difference", "2", "--accuracy", "101"), "--accuracy 101 is not from"),
        (("--dataset", "nowhere"), "unknown dataset 'nowhere'"),
        (("--dataset", "nowhere", "--photos-per-place", "2"), "--dataset has its own photos"),
        (("--difference", "2", "--limit", "5"), "--limit is for stored answers"),
    ],
)
def test_what_cannot_be_assumed_is_said(bench: Bench, arguments: tuple[str, ...], says: str) -> None:
    said = bench("power", "--accuracy", "60", *arguments)
    assert said.code == 2, said.err
    assert says in said.err


def test_without_results_the_way_on_is_said(bench: Bench, runs: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    shutil.copytree(runs, results)
    for name in ("clip-adapter", "retrieval"):
        shutil.rmtree(results / "grid" / name)
    said = bench("power", "--results", results)
    assert said.code == 1
    assert "--accuracy" in said.err
    assert bench("power", "--results", tmp_path / "none").code == 1
