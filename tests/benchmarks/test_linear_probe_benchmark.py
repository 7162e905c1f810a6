"""The linear probe's solver as photos get more: seconds a row and pass over the features, and memory.

    pytest tests/benchmarks/test_linear_probe_benchmark.py --benchmark-enable -s

Timings are for reading, nothing fails for being slow.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.large_probe import measured_apart

GIB = 1 << 30
SIZES = {  # rows, features, classes, Newton steps, bytes that may be kept
    "10 k": (10_000, 128, 200, 3, GIB),
    "40 k": (40_000, 128, 200, 3, GIB),
    "160 k": (160_000, 128, 200, 3, GIB),
    "10 k, read anew": (10_000, 128, 200, 3, 0),
    "40 k, read anew": (40_000, 128, 200, 3, 0),
    "160 k, read anew": (160_000, 128, 200, 3, 0),
    "as wide as SF-IAL-Large, read anew": (10_000, 512, 3_616, 1, 0),
}


@pytest.mark.parametrize("size", SIZES)
def test_fit_a_linear_probe(benchmark: BenchmarkFixture, size: str, tmp_path: Path) -> None:
    rows, dim, classes, steps, kept = SIZES[size]
    if benchmark.disabled:
        rows, dim, classes = 600, 8, 12
    arguments = (rows, dim, classes, steps, kept, tmp_path)
    found: dict[str, Any] = benchmark.pedantic(measured_apart, args=arguments, rounds=1)  # type: ignore[no-untyped-call]
    benchmark.extra_info |= found
    print(
        f"\n{rows:,} x {dim}, {classes:,} classes: {found['us_a_row_and_pass']:.1f} us a row and pass;"
        f" {found['steps']} steps with {found['products']} products and {found['gradients']} gradients,"
        f" {found['cpu_seconds']:.1f} s of the processor, {found['reading_seconds']:.1f} s of it before the first;"
        f" peak memory {found['peak_rss_bytes'] / 1e6:,.0f} MB"
    )
    assert found["kept"] == (kept > 0)
    assert found["peak_rss_bytes"] < 4 * GIB
