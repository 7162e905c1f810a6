"""Stored runs with made-up scores, for what reads results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.ground_truth import GroundTruth, ground_truth_key
from ial_bench.engine.predictions import write_predictions
from ial_bench.engine.record import PredictionsRecord, RunRecord
from ial_bench.engine.records import record_path, write_record
from ial_bench.engine.scoring import score
from ial_bench.topk import TopK
from support.made_city import truth_of
from support.made_records import identified, make_record


def noisy_scores(truth: GroundTruth, noise: float, seed: int = 0) -> npt.NDArray[np.float32]:
    """[n, n_candidates] logits: the true address has 1 more than the others, give or take `noise`."""
    scores = noise * np.random.default_rng(seed).standard_normal((len(truth), len(truth.candidate_rows)))
    known = truth.labels >= 0
    scores[known, truth.labels[known]] += 1
    return scores.astype(np.float32)


def store_run(
    results: Path,
    dataset: Dataset,
    record: RunRecord,
    scores: npt.NDArray[np.float32],
    k: int = 10,
    *,
    told: bool = True,
) -> RunRecord:
    """Store a run that gave these scores, as the engine would; `told`: with the sum of all of them."""
    truth = truth_of(dataset)
    top = TopK.from_scores(scores, k)
    if not told:
        top = TopK(top.indices, top.scores)
    about = record.dataset.model_copy(
        update={"name": dataset.name, "digest": dataset.digest, "candidate_digest": dataset.candidates.digest,
                "n_train": len(dataset.split("train")), "n_queries": len(truth),
                "n_candidates": len(truth.candidate_rows)}
    )  # fmt: skip
    record = identified(record, dataset=about, k=k)
    path = record_path(results, dataset.name, record.method.name, record.run_id)
    truth.write(results / dataset.name, ground_truth_key(about))
    stored = path.with_suffix(".predictions.parquet")
    stored.parent.mkdir(parents=True, exist_ok=True)
    sha = write_predictions(stored, truth.ids, top)
    made = record.model_copy(
        update={"metrics": score(top, truth),
                "predictions": PredictionsRecord(path=stored.name, sha256=sha, k=top.indices.shape[1])}
    )  # fmt: skip
    write_record(path, made)
    return made


def a_run(
    results: Path, dataset: Dataset, name: str, noise: float, *, run: int = 0, seed: int = 0, k: int = 4,
    told: bool = True, latency_ms: float = 1.0, storage: int = 1000, hardware: str = "fast machine", epochs: int = 0,
    **settings: float,
) -> RunRecord:  # fmt: skip
    """A stored run of `name`; noise, drawn by `run`, makes it wrong; `epochs` lets it tell of a training."""
    record = make_record(
        name, seed=seed, config=settings, latency_ms=latency_ms, storage_bytes=storage, hardware=hardware
    )
    told_epochs = [{"losses": {"loss": 2.0 / e, "address": 1.0 / e}, "val_ssa1": 0.1 * e} for e in range(1, epochs + 1)]
    facts = {"training": {"epochs": told_epochs, "best_epoch": epochs}} if epochs else {}
    method = record.method.model_copy(update={"facts": facts})
    record = record.model_copy(update={"method": method})
    return store_run(results, dataset, record, noisy_scores(truth_of(dataset), noise, run), k, told=told)
