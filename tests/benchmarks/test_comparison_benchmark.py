"""All pairs of a table's methods, at the size of the largest known dataset.

With ``--benchmark-enable -s`` at full size, for reading; otherwise a small one, to see that it works.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

from ial_bench.metrics.comparison import Difference, compare

METHODS = 12
LARGE = (280_000, 12_000)
SMALL = (2_000, 100)


def made_values(queries: int, places: int) -> tuple[np.ndarray, np.ndarray]:
    """Methods right on 50 % to 72 % of the queries."""
    rng = np.random.default_rng(0)
    hardness = rng.random(queries)
    rates = 0.5 + 0.02 * np.arange(METHODS)
    right = 0.5 * hardness[:, None] + 0.5 * rng.random((queries, METHODS)) < rates
    return right.astype(np.float64), rng.integers(places, size=queries)


def compare_all(queries: int, places: int) -> list[Difference]:
    """What is timed."""
    values, place = made_values(queries, places)
    return compare(values, place)


def test_compare_all_pairs(benchmark: BenchmarkFixture) -> None:
    size = SMALL if benchmark.disabled else LARGE
    found: list[Any] = benchmark.pedantic(compare_all, args=size, rounds=1 if benchmark.disabled else 3)  # type: ignore[no-untyped-call]
    assert len(found) == METHODS * (METHODS - 1) // 2
    assert found[METHODS - 2].separable  # the first and the last
    if not benchmark.disabled and sys.platform == "linux":  # aim: under 30 s and 2 GB
        done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=True)
        print(f"\n{done.stdout}")


if __name__ == "__main__":
    started = time.perf_counter()
    compare_all(*LARGE)
    peak = int(Path("/proc/self/status").read_text(encoding="utf-8").partition("VmHWM:")[2].split()[0])
    print(f"all pairs of {METHODS} methods: {time.perf_counter() - started:.1f} s, peak memory {peak / 1e6:,.2f} GB")
