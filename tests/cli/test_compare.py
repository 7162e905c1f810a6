"""`bench compare` on stored runs."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.predictions import read_predictions
from ial_bench.engine.records import records
from support.bench_command import Bench
from support.made_records import run_baselines


@pytest.fixture(scope="module")
def runs(tiny_city: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two baselines, one of them with two seeds, and an oracle; read only."""
    folder = tmp_path_factory.mktemp("runs")
    run_baselines(tiny_city, folder, seeds=(0, 1))
    return folder / "results"


def right_answers(runs: Path, method: str, truth: np.ndarray) -> np.ndarray:
    """[n]: share of a method's seeds that have each query right, from its files."""
    found = []
    for path, _ in records(runs):
        if path.parent.name == method:
            _, top = read_predictions(path.with_suffix(".predictions.parquet"))
            found.append(top.indices[:, 0] == truth)
    return np.asarray(np.mean(found, axis=0))


def test_two_methods(bench: Bench, runs: Path, tiny_city: Dataset) -> None:
    said = bench("compare", "random", "majority", "--results", runs, "--json")
    assert said.code == 0, said.err
    told = json.loads(said.out)
    truth = tiny_city.split("query").labels
    a, b = (right_answers(runs, m, truth) for m in ("random", "majority"))
    assert [m["mean"] for m in told["methods"]] == pytest.approx([a.mean(), b.mean()])
    assert [len(m["runs"]) for m in told["methods"]] == [2, 1]
    pair = told["pairs"][0]
    assert pair["difference"] == pytest.approx(a.mean() - b.mean())
    assert pair["a_alone"] == pytest.approx(np.sum(a * (1 - b)))
    low, high = pair["ci95"]
    assert low <= pair["difference"] <= high
    assert any("seeds" in note for note in told["notes"])


def test_all_pairs_leave_oracles_out_and_stand_best_first(bench: Bench, runs: Path) -> None:
    said = bench("compare", "--all-pairs", "--results", runs, "--metric", "SA-1")
    assert said.code == 0, said.err
    header, *rows = [line.split("\t") for line in said.out.splitlines()]
    assert header[:4] == ["A", "B", "A SA-1 %", "B SA-1 %"]
    assert len(rows) == 1
    assert float(rows[0][2]) >= float(rows[0][3])
    with_oracle = bench("compare", "gps-oracle", "random", "majority", "--results", runs)
    assert len(with_oracle.out.splitlines()) == 4


def test_every_format_tells_the_same_comparison(bench: Bench, runs: Path) -> None:
    def said(*form: str) -> str:
        found = bench("compare", "random", "majority", "--results", runs, *form)
        assert found.code == 0, found.err
        return found.out

    pair = json.loads(said("--json"))["pairs"][0]
    assert said("--format", "json") == said("--json")
    header, row = csv.reader(io.StringIO(said("--format", "csv")))
    cells = dict(zip(header, row, strict=True))
    assert float(cells["A - B"]) == pair["difference"]
    assert [float(cells["95 % low"]), float(cells["95 % high"])] == pair["ci95"]
    assert float(cells["p (Holm)"]) == pair["p_holm"]
    table = said().splitlines()[1].split("\t")
    assert f"| {' | '.join(table)} |" == next(
        line.replace("\\", "") for line in said("--format", "md").splitlines() if line.startswith("| Random")
    )
    latex = next(line for line in said("--format", "latex").splitlines() if line.startswith("Random"))
    assert latex.replace("$-$", "-").removesuffix(r" \\").split(" & ") == table
    assert f"<td>{table[0]}</td>" in said("--format", "html")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("random",), 2, "two methods"),
        (("random", "majority", "--format", "xml"), 2, "unknown format"),
        (("random", "majority", "--json", "--format", "csv"), 2, "--format csv"),
        ((), 2, "two methods"),
        (("random", "majority", "--all-pairs"), 2, "--all-pairs"),
        (("random", "majorty"), 2, "did you mean 'majority'"),
        (("random", "majority", "--metric", "SSB-1"), 2, "did you mean"),
        (("random", "majority", "--metric", "SSA-0"), 2, "unknown metric 'SSA-0'"),
        (("random", "majority", "--dataset", "nowhere"), 2, "nowhere"),
        (("random", "random"), 1, "same"),
        (("random", "majority", "--limit", "7"), 1, "no runs are limited to 7"),
    ],
)
def test_what_cannot_be_compared_is_said(
    bench: Bench, runs: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    said = bench("compare", *arguments, "--results", runs)
    assert said.code == code, said.err
    assert says in said.err


def test_lost_and_changed_answers_are_named(bench: Bench, runs: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    shutil.copytree(runs, results)
    file = next(results.glob("*/majority/*.predictions.parquet"))
    file.write_bytes(file.read_bytes() + b" ")
    said = bench("compare", "random", "majority", "--results", results)
    assert said.code == 1
    assert "was changed" in said.err
    file.unlink()
    assert "no such predictions" in bench("compare", "random", "majority", "--results", results).err
    shutil.rmtree(next(results.glob("*/ground-truth")))
    said = bench("compare", "random", "majority", "--results", results)
    assert "bench score" in said.err


def test_an_earlier_run_gets_its_ground_truth_from_the_dataset(
    bench: Bench, runs: Path, tmp_path: Path, tiny_city: Dataset
) -> None:
    results = tmp_path / "results"
    shutil.copytree(runs, results)
    shutil.rmtree(next(results.glob("*/ground-truth")))
    assert bench("score", "--dataset", tiny_city.folder, "--results", results).code == 0
    assert bench("compare", "random", "majority", "--results", results).code == 0
