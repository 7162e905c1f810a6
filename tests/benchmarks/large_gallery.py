"""Retrieval at the size of large galleries, for its benchmark, in a process of its own. In `tests`:

    python -m benchmarks.large_gallery INDEX ROWS DIM     prints what was measured, as JSON

The vectors are made as they are read and never held: what the process takes is the index and what building it needs.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from ial_bench import RunContext, unit_norm
from ial_bench.progress import NoReport
from ial_methods.retrieval.knn import Retrieval
from ial_methods.retrieval.search import index_bytes
from support.apart import output_of
from support.retrieval_lab import held

ADDRESSES = 3_616
QUERIES = 1_000
_PER_CLUSTER = 100
_BLOCK = 8192


class MadeRows:
    """float32 [n, d], read like an array: vectors around centres, 100 a centre, made anew block by block."""

    def __init__(self, n: int, dim: int, stream: int, clusters: int) -> None:
        self.shape = n, dim
        self._stream = stream
        self._centres = np.random.default_rng(1).standard_normal((clusters, dim), dtype=np.float32)
        self._last: tuple[int, Any] = -1, None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, which: slice | npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        rows = np.arange(*which.indices(len(self))) if isinstance(which, slice) else which
        out = np.empty((len(rows), self.shape[1]), np.float32)
        home = rows // _BLOCK
        for block in np.unique(home).tolist():
            out[home == block] = self._made(block)[rows[home == block] - block * _BLOCK]
        return out

    def _made(self, block: int) -> npt.NDArray[np.float32]:
        if self._last[0] != block:
            rng = np.random.default_rng([self._stream, block])
            size = min(_BLOCK, len(self) - block * _BLOCK)
            x = rng.standard_normal((size, self.shape[1]), dtype=np.float32)
            x += self._centres[rng.integers(0, len(self._centres), size)]
            self._last = block, x
        made: npt.NDArray[np.float32] = self._last[1]
        return made


def measure(index: str, rows: int, dim: int, **settings: Any) -> dict[str, float]:
    """Build the method's gallery and ask it: seconds, milliseconds, recall, bytes."""
    card = SimpleNamespace(digest="none", image_bytes=0, image_parameters=0)
    source: Any = SimpleNamespace(card=lambda spec: card)
    config = Retrieval.Config(index=index, k_grid=(20,), temperature_grid=(0.05,), **settings)
    method = Retrieval(config, RunContext(0, "cpu", source, NoReport()))
    clusters = max(rows // _PER_CLUSTER, 2)
    train: Any = MadeRows(rows, dim, 1, clusters)
    asked: Any = MadeRows(QUERIES, dim, 2, clusters)
    started = time.perf_counter()
    method.fit_features(
        held(train, np.arange(rows) % ADDRESSES, ADDRESSES), held(asked, np.arange(QUERIES) % ADDRESSES, ADDRESSES)
    )
    fit = time.perf_counter() - started
    candidates: Any = SimpleNamespace(database=())
    started = time.perf_counter()
    method.index(candidates)
    build = time.perf_counter() - started
    x = asked[:]
    started = time.perf_counter()
    method.gallery.index.search(unit_norm(x), 10)
    return {
        "fit_seconds": fit,
        "index_seconds": build,
        "recall_at_10": method.facts["recall_at_10"],
        "index_bytes": index_bytes(method.gallery.index, method.spec),
        "batch_ms": (time.perf_counter() - started) / QUERIES * 1e3,
        **_latency(method, x),
        "peak_rss_bytes": _peak_bytes(),
    }


def measured_apart(index: str, rows: int, dim: int) -> dict[str, float]:
    """`measure` in a process of its own."""
    found: dict[str, float] = json.loads(output_of("benchmarks.large_gallery", index, rows, dim).splitlines()[-1])
    return found


def _latency(method: Retrieval, x: npt.NDArray[np.float32], calls: int = 100) -> dict[str, float]:
    """Medians for one query, in turns so that a machine whose speed drifts is fair to all."""
    ways: dict[str, Callable[[npt.NDArray[np.float32]], Any]] = {
        "predict_p50_ms": lambda one: method.predict_features(one, 10),
        "bare_200_p50_ms": lambda one: method.gallery.index.search(one, 200),  # as many as the method asks for
        "bare_10_p50_ms": lambda one: method.gallery.index.search(one, 10),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for call in range(calls + 5):
        one = x[call : call + 1]
        for name, way in ways.items():
            started = time.perf_counter()
            way(one)
            taken[name].append(time.perf_counter() - started)
    told = {name: float(np.median(seconds[5:])) * 1e3 for name, seconds in taken.items()}
    ratios = np.divide(taken["predict_p50_ms"], taken["bare_200_p50_ms"])[5:]
    return {**told, "ratio": float(np.median(ratios))}


def _peak_bytes() -> int:
    if sys.platform != "linux":
        return 0
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
