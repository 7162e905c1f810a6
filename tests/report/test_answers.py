"""Rows that the answers cannot tell from the best, and what is said where that cannot be known."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.ground_truth import GroundTruth, ground_truth_key
from ial_bench.engine.predictions import read_predictions, write_predictions
from ial_bench.engine.record import PredictionsRecord, RunRecord
from ial_bench.engine.records import records
from ial_bench.registry import Registry
from ial_bench.report.layout import Layout
from ial_bench.report.leaderboard import build_table, lay_out
from ial_bench.report.stale import Code
from ial_bench.topk import TopK
from support.made_records import make_record, run_baselines

QUERIES, PLACES = 1200, 300
DATASET = "made-city"


def answered(folder: Path, name: str, right: np.ndarray, seed: int = 0, oracle: bool = False) -> RunRecord:
    """A stored run whose first answer is right for these queries."""
    indices = np.stack([np.where(right, 0, 1), np.where(right, 1, 0)], axis=1).astype(np.int32)
    run = f"{name}-{seed}"
    file = folder / DATASET / name / f"{run}.predictions.parquet"
    digest = write_predictions(file, [str(i) for i in range(QUERIES)], TopK(indices, np.ones((QUERIES, 2), np.float32)))
    record = make_record(name, {"SSA-1": float(right.mean())}, seed=seed, oracle=oracle)
    about = record.dataset.model_copy(update={"n_queries": QUERIES})
    return record.model_copy(
        update={"run_id": run, "dataset": about, "predictions": PredictionsRecord(path=file.name, sha256=digest, k=2)}
    )


def write_truth(city: Dataset, folder: Path, about: RunRecord) -> None:
    """All queries have the first candidate; four queries a place."""
    from ial_bench.engine.selection import Selection

    truth = GroundTruth.of(city, Selection.of(city, None))
    repeat = np.resize(np.arange(len(truth)), QUERIES)
    made = replace(
        truth, ids=[str(i) for i in range(QUERIES)], paths=[truth.paths[i] for i in repeat],
        places=np.arange(QUERIES, dtype=np.int64) // (QUERIES // PLACES),
        address_rows=np.full(QUERIES, truth.candidate_rows[0]), positions=truth.positions[repeat],
        headings=truth.headings[repeat], train_m=truth.train_m[repeat],
    )  # fmt: skip
    made.write(folder / DATASET, ground_truth_key(about.dataset))


def tied(found: list[RunRecord], folder: Path | None) -> tuple[set[str], list[str]]:
    table = build_table(found, DATASET, ["SSA-1"], results=folder)
    notes = [n for n in table.notes if "separable" in n]
    return {r.title for r in table.rows if any(c.tied for c in r.cells.values())}, notes


@pytest.fixture
def right() -> dict[str, np.ndarray]:
    """``near`` has 52 queries wrong that the best has right, and 48 the other way round; ``steady`` has 30 wrong that
    the best has right, and none the other way round; ``far`` is much worse."""
    rng = np.random.default_rng(0)
    best = rng.random(QUERIES) < 0.7
    near, steady = best.copy(), best.copy()
    near[rng.choice(np.flatnonzero(best), 52, replace=False)] = False
    near[rng.choice(np.flatnonzero(~best), 48, replace=False)] = True
    steady[rng.choice(np.flatnonzero(best), 30, replace=False)] = False
    return {"best": best, "near": near, "steady": steady, "far": rng.random(QUERIES) < 0.4}


def test_pairing_tells_rows_apart(tiny_city: Dataset, tmp_path: Path, right: dict[str, np.ndarray]) -> None:
    found = [answered(tmp_path, name, values) for name, values in right.items()]
    found.append(answered(tmp_path, "oracle", np.ones(QUERIES, bool), oracle=True))
    write_truth(tiny_city, tmp_path, found[0])
    # Leads of 4 and of 30 queries, with standard errors of sqrt(100) and sqrt(30): under one and over five of them.
    # Both lie within the interval of either accuracy alone, half of which is 31 queries.
    names, notes = tied(found, tmp_path)
    assert names == {"near"}
    assert len(notes) == 1
    assert notes[0].startswith("†: not separable from the best in SSA-1 at the 5 % level")
    names, notes = tied([r for r in found if r.method.name != "near"], tmp_path)
    assert names == set()
    assert notes[0].startswith("all other rows are separable")


def test_answers_are_read_once_for_the_mark_and_for_what_contradicts_a_record(
    tiny_city: Dataset, tmp_path: Path, right: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [answered(tmp_path, name, right[name], seed) for name in ("best", "near") for seed in (0, 1)]
    false = answered(tmp_path, "false", right["far"])
    found.append(false.model_copy(update={"metrics": found[0].metrics}))
    write_truth(tiny_city, tmp_path, found[0])
    files: list[str] = []

    def read(path: Path, *size: int) -> tuple[list[str], TopK]:
        files.append(path.name)
        return read_predictions(path, *size)

    monkeypatch.setattr("ial_bench.report.answers.read_predictions", read)
    table = build_table(found, DATASET, ["SSA-1"], results=tmp_path)
    assert [r.kind for r in table.rows] == ["measured", "measured", "contradicted"]
    assert [r.cells["SSA-1"].tied for r in table.rows] == [False, True, False]
    assert sorted(files) == sorted(r.predictions.path for r in found if r.predictions)


def test_seeds_are_averaged_query_by_query(tiny_city: Dataset, tmp_path: Path, right: dict[str, np.ndarray]) -> None:
    # Of two seeds that take turns in being right, each query counts half: no query differs from the other such row.
    even = np.arange(QUERIES) % 2 == 0
    found = [answered(tmp_path, "a", even), answered(tmp_path, "a", ~even, seed=1)]
    found += [answered(tmp_path, "b", ~even), answered(tmp_path, "b", even, seed=1)]
    found.append(answered(tmp_path, "far", right["far"]))
    write_truth(tiny_city, tmp_path, found[0])
    assert tied(found, tmp_path)[0] == {"b"}


def test_nothing_is_marked_or_said_of_a_single_row_or_unasked(
    tiny_city: Dataset, tmp_path: Path, right: dict[str, np.ndarray]
) -> None:
    found = [answered(tmp_path, name, right[name]) for name in ("best", "near")]
    write_truth(tiny_city, tmp_path, found[0])
    assert tied(found[:1], tmp_path) == (set(), [])
    assert tied(found, None) == (set(), [])
    unmarked = lay_out(found, [DATASET], Layout(separable=False), results=tmp_path)
    assert not any("separable" in n for n in unmarked.notes)


def test_a_stale_row_is_neither_the_best_nor_compared_with_it(
    tiny_city: Dataset, tmp_path: Path, right: dict[str, np.ndarray]
) -> None:
    file = tmp_path / "idea.py"
    file.write_text(
        "from ial_bench import Method, MethodInfo\n\n\nclass Idea(Method):\n"
        "    info = MethodInfo(name='best', title='Best', family='mine')\n    predict = None\n"
    )
    found = [answered(tmp_path, name, right[name]) for name in ("best", "near", "far")]
    write_truth(tiny_city, tmp_path, found[0])
    assert tied(found, tmp_path)[0] == {"near"}
    plugin = found[0].method.model_copy(update={"origin": file.name, "source_digest": "a" * 64})
    found[0] = found[0].model_copy(update={"method": plugin})
    table = build_table(found, DATASET, ["SSA-1"], results=tmp_path, code=Code(Registry([file])))
    assert [(r.title, r.kind) for r in table.rows][-1] == ("best (stale)", "stale")
    assert not any(c.tied for r in table.rows for c in r.cells.values())
    assert any(n.startswith("all other rows are separable from the best") for n in table.notes)


def test_what_is_missing_is_said_with_its_mend(tiny_city: Dataset, tmp_path: Path) -> None:
    run_baselines(tiny_city, tmp_path, seeds=(0, 1))
    results = tmp_path / "results"
    found = [r for _, r in records(results) if isinstance(r, RunRecord)]

    def note(metric: str = "SSA-1") -> str:
        table = build_table(found, "tiny-city", [metric], results=results)
        assert not any(c.tied for r in table.rows for c in r.cells.values()) or "†" in "".join(table.notes)
        return next(n for n in table.notes if "separable" in n)

    assert note().startswith("†")
    assert "macro-SSA-1 is no mean over queries" in note("macro-SSA-1")
    file = next((results / "tiny-city" / "majority").glob("*.parquet"))
    kept = file.read_bytes()
    for damage in (lambda: file.write_bytes(kept + b" "), file.unlink):
        damage()
        assert "answers of majority are missing or changed" in note()
        assert "`bench run --dataset tiny-city --methods majority --rerun`" in note()
    file.write_bytes(kept)
    assert note().startswith("†")
    shutil.rmtree(results / "tiny-city" / "ground-truth")
    assert "no ground truth beside the results; `bench score --dataset tiny-city` writes it" in note()
    assert str(tmp_path) not in note()
