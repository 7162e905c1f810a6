"""Search of large galleries: recall, memory and time of each kind of index, and what the method adds to bare FAISS.

    pytest tests/benchmarks/test_retrieval_benchmark.py --benchmark-enable -s              250,000 x 512
    pytest tests/benchmarks/test_retrieval_benchmark.py --benchmark-enable -s -m slow      2,000,000 x 512, an hour

Timings are for reading, nothing fails for being slow; memory and recall do not depend on the machine's speed.
"""

from __future__ import annotations

from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.large_gallery import measured_apart

SMALL = 3_000, 32
LARGE = {"quarter of a million": (250_000, 512), "two million": (2_000_000, 512)}
KINDS = {  # at full size, and to see that it works
    "flat": ("flat", "flat"),
    "ivf": ("ivf:1024", "ivf:16"),
    "ivfpq": ("ivfpq:1024,64", "ivfpq:16,8"),
    "hnsw": ("hnsw:32", "hnsw:8"),
}
GIB = 1 << 30


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", ["quarter of a million", pytest.param("two million", marks=pytest.mark.slow)])
def test_search_a_large_gallery(benchmark: BenchmarkFixture, kind: str, size: str) -> None:
    full = not benchmark.disabled
    index, (rows, dim) = KINDS[kind][not full], LARGE[size] if full else SMALL
    found: dict[str, Any] = benchmark.pedantic(measured_apart, args=(index, rows, dim), rounds=1)  # type: ignore[no-untyped-call]
    benchmark.extra_info |= {"rows": rows, "dim": dim, "index": index, **found}
    over = found["peak_rss_bytes"] - found["index_bytes"]
    print(
        f"\n{index}, {rows:,} x {dim}: recall@10 {found['recall_at_10']:.3f};"
        f" index {found['index_bytes'] / 1e6:,.0f} MB, peak memory {over / 1e6:,.0f} MB more;"
        f" built in {found['index_seconds']:.1f} s (fit {found['fit_seconds']:.1f} s);"
        f" {found['batch_ms']:.3f} ms a query of 1,000; one query {found['predict_p50_ms']:.2f} ms,"
        f" bare FAISS {found['bare_200_p50_ms']:.2f} ms ({found['bare_10_p50_ms']:.2f} ms for 10),"
        f" ratio {found['ratio']:.3f}"
    )
    assert found["recall_at_10"] > 0.2  # within a cluster the vectors are noise alone: the hardest case there is
    assert over < GIB
