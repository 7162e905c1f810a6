"""The linear probe's solver on many photos, for its benchmark, in a process of its own. In `tests`:

    python -m benchmarks.large_probe ROWS DIM CLASSES STEPS KEPT_BYTES FOLDER     prints what was measured, as JSON

Features lie in a memory map in FOLDER, drawn around a centre a class; up to KEPT_BYTES of them, with probabilities, the
solver holds in memory.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ial_bench.progress import chunks
from ial_methods.clip import logistic
from support.apart import output_of
from support.retrieval_lab import held

C = 0.316
TOLERANCE = 1e-4


def draw(folder: Path, rows: int, dim: int, classes: int) -> tuple[Any, Any]:
    """A memory map float32 [rows, dim], and labels."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((classes, dim), dtype=np.float32)
    labels = rng.integers(0, classes, rows).astype(np.int32)
    x: Any = np.lib.format.open_memmap(folder / f"{rows}.npy", "w+", np.float32, (rows, dim))
    for part in chunks(rows, 8192):
        x[part] = centres[labels[part]] + 3 * rng.standard_normal((len(labels[part]), dim), dtype=np.float32)
    x.flush()
    return np.load(folder / f"{rows}.npy", mmap_mode="r"), labels


def measured(rows: int, dim: int, classes: int, steps: int, kept: int, folder: Path) -> dict[str, Any]:
    """Seconds (of the processor, and by the clock), passes over the features, and memory."""
    x, y = draw(folder, rows, dim, classes)
    clock, processor = time.perf_counter(), time.process_time()
    logistic._KEPT_BYTES = kept
    problem = logistic.LogisticRegression([held(x, y, classes)], "cpu")
    reading = time.process_time() - processor
    found = problem.solve(C, None, TOLERANCE, steps)
    seconds = time.process_time() - processor
    passes = found.products + found.gradients
    return {
        "rows": rows,
        "kept": problem.kept is not None,
        "steps": found.steps,
        "products": found.products,
        "gradients": found.gradients,
        "reading_seconds": reading,
        "cpu_seconds": seconds,
        "wall_seconds": time.perf_counter() - clock,
        "us_a_row_and_pass": (seconds - reading) / passes / rows * 1e6,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def measured_apart(rows: int, dim: int, classes: int, steps: int, kept: int, folder: Path) -> dict[str, Any]:
    """The same in a process of its own, whose peak memory is then the solver's."""
    found: dict[str, Any] = json.loads(output_of("benchmarks.large_probe", rows, dim, classes, steps, kept, folder))
    return found


if __name__ == "__main__":
    ROWS, DIM, CLASSES, STEPS, KEPT = (int(a) for a in sys.argv[1:6])
    print(json.dumps(measured(ROWS, DIM, CLASSES, STEPS, KEPT, Path(sys.argv[6]))))
