"""Records of photographs that cannot be passed on, as they are committed: without names, positions and streets.

python tests/committed_records.py RESULTS DATASET results/committed

Records are as `bench run` wrote them. Predictions lose the positions that two-stage methods predict, and the ground
truth its positions and paths; streets, neighbourhoods and cross streets are numbered, equal names alike, so that
answers stay right or wrong as they were under every metric of names.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from ial_bench.addresses import Address, fold
from ial_bench.engine.ground_truth import GroundTruth, ground_truth_key
from ial_bench.engine.predictions import read_predictions, write_predictions
from ial_bench.engine.record import RunRecord
from ial_bench.engine.records import read_record, record_path, write_record
from ial_bench.topk import TopK


def numbered(addresses: list[Address]) -> list[Address]:
    """The same addresses in the same order, named by numbers in the order of the names."""
    streets = sorted({fold(name) for a in addresses for name in (a.street, *a.cross_streets)})
    areas = sorted({fold(a.neighbourhood) for a in addresses})

    def street(name: str) -> str:
        return f"Street {1 + streets.index(fold(name))}"

    def area(name: str) -> str:
        return f"Neighbourhood {1 + areas.index(fold(name))}"

    return [Address(street(a.street), area(a.neighbourhood), tuple(map(street, a.cross_streets))) for a in addresses]


def without_positions(truth: GroundTruth) -> GroundTruth:
    """What is committed of a ground truth."""
    return replace(
        truth,
        paths=truth.ids,
        positions=np.full_like(truth.positions, np.nan),
        addresses=numbered(truth.addresses),
        candidate_positions=np.full_like(truth.candidate_positions, np.nan),
    )


def copy(results: Path, dataset: str, to: Path) -> list[Path]:
    """The records of the dataset's finished runs, with predictions and ground truth, in a folder of results."""
    found, truths = [], {}
    for path in sorted((results / dataset).glob("*/*.json")):
        record = read_record(path)
        if record.status != "done" or record.predictions is None:
            continue
        truths[ground_truth_key(record.dataset)] = GroundTruth.read(results / dataset, ground_truth_key(record.dataset))
        found.append((path, record))
    public = {key: without_positions(truth) for key, truth in truths.items()}
    for key, truth in public.items():
        truth.write(to / dataset, key, again=True)
    return [_copy(path, record, to, public[ground_truth_key(record.dataset)]) for path, record in found]


def _copy(path: Path, record: RunRecord, to: Path, truth: GroundTruth) -> Path:
    target = record_path(to, record.dataset.name, record.method.name, record.run_id)
    target.parent.mkdir(parents=True, exist_ok=True)
    assert record.predictions is not None
    ids, top = read_predictions(path.parent / record.predictions.path)
    sha256 = write_predictions(
        target.parent / record.predictions.path, ids, TopK(top.indices, top.scores, None, top.log_sum)
    )
    predictions = record.predictions.model_copy(update={"sha256": sha256})
    about = record.dataset.model_copy(update={"truth_digest": truth.digest})
    write_record(target, record.model_copy(update={"predictions": predictions, "dataset": about}))
    return target


if __name__ == "__main__":
    copied = copy(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
    print(json.dumps([str(path) for path in copied], indent=2))
