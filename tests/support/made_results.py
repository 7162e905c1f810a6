"""Results of made-up methods: records, answers and ground truth, of any size and with any texts.

In `tests`: python -m support.made_results FOLDER QUERIES METHODS     write some, to look at a report of that size
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ial_bench.addresses import Address
from ial_bench.engine.ground_truth import GroundTruth, ground_truth_key
from ial_bench.engine.predictions import write_predictions
from ial_bench.engine.record import PredictionsRecord, RunRecord
from ial_bench.engine.records import record_path, write_record
from ial_bench.engine.scoring import score
from ial_bench.topk import TopK
from support.made_records import make_record

NAME = "made-city"


@dataclass(frozen=True)
class Method:
    """A method to make up.

    Attributes:
        name: of its folder.
        title: of its rows.
        right: chance that its first answer is right.
        seed: of its run.
        oracle: whether it is told positions.
        positions: whether it predicts them.
    """

    name: str
    title: str = "Made method"
    right: float = 0.5
    seed: int = 0
    oracle: bool = False
    positions: bool = False


def made_truth(
    queries: int, addresses: Sequence[Address] | None = None, ids: Sequence[str] | None = None, a_place: int = 4
) -> GroundTruth:
    """Queries along a grid of streets, some a place; the last address is no candidate."""
    rng = np.random.default_rng(0)
    if addresses is None:
        addresses = [
            Address(f"Street {i // 4}", f"Quarter {i // 12}", (f"Crossing {i}", f"Crossing {i + 1}")) for i in range(61)
        ]
    addresses = sorted(addresses, key=lambda a: a.text)
    n = len(addresses)
    places = np.arange(queries, dtype=np.int64) // a_place
    rows = (places * 7919 % n).astype(np.int32)
    width = int(np.ceil(np.sqrt(n)))
    centres = np.stack([48.0 + 0.002 * (np.arange(n) // width), 11.0 + 0.003 * (np.arange(n) % width)], axis=1)
    names = [f"photo {i}" for i in range(queries)] if ids is None else list(ids)
    return GroundTruth(
        names, [f"{i:07d}.jpg" for i in range(queries)], places, rows,
        centres[rows] + rng.normal(0, 2e-4, (queries, 2)),
        np.where(np.arange(queries) % 5 == 0, np.nan, np.arange(queries) % 360).astype(np.float32),
        rng.exponential(10, queries), list(addresses), np.arange(n - 1, dtype=np.int32), centres[: n - 1],
        np.full(n - 1, 12),
    )  # fmt: skip


def made_top(truth: GroundTruth, method: Method, k: int = 10) -> TopK:
    """Distinct candidates; the right one first, further down or missing."""
    rng = np.random.default_rng([method.seed, *method.name.encode()])
    n, c = len(truth), len(truth.candidate_rows)
    place = np.where(rng.random(n) < method.right, 0, rng.integers(1, k + 3, n))
    around = np.arange(k) - place[:, None]  # 0 where the right one is to stand
    indices = ((np.maximum(truth.labels, 0)[:, None] + around) % c).astype(np.int32)
    scores = -np.sort(rng.random((n, k)).astype(np.float32), axis=1)
    positions = truth.positions + 1e-4 if method.positions else None
    return TopK(indices, scores, positions)


def write_results(
    results: Path, truth: GroundTruth, methods: Sequence[Method], name: str = NAME, limit: int | None = None
) -> list[RunRecord]:
    """Store records, answers and the truth as the engine does."""
    written = []
    for method in methods:
        top = made_top(truth, method)
        record = make_record(
            method.name, title=method.title, oracle=method.oracle, seed=method.seed, dataset=name, limit=limit,
            counts=(len(truth.candidate_rows), len(truth)),
        )  # fmt: skip
        path = record_path(results, name, method.name, record.run_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.with_suffix(".predictions.parquet")
        stored = PredictionsRecord(path=file.name, sha256=write_predictions(file, truth.ids, top), k=10)
        metrics = score(top, truth)
        record = record.model_copy(update={"predictions": stored, "metrics": metrics})
        truth.write(results / name, ground_truth_key(record.dataset))
        write_record(path, record)
        written.append(record)
    return written


def _main(folder: Path, queries: int, methods: int) -> None:
    addresses = [
        Address(f"Street {i // 8}", f"Quarter {i % 37}", (f"Crossing {i}", f"Crossing {i + 1}")) for i in range(3_616)
    ]
    ids = [
        f"@0543256.96@4178906.48@10@S@037.75592@-122.50968@q{i // 23:021d}@@{15 * (i % 24):03d}@@@@201311@{i:034d}@.jpg"
        for i in range(queries)
    ]
    made = [Method(f"method-{i}", f"Made method {i}", 0.3 + 0.04 * i) for i in range(methods)]
    write_results(folder, made_truth(queries, addresses, ids, 23), made)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
