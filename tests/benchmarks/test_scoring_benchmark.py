"""Scoring and opening at the size of the largest known dataset.

With ``--benchmark-enable -s`` at full size, for reading; otherwise a small one, to see that it works.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.large_city import LARGE, SMALL, made_answers, open_all, peak_bytes, score_all, write_large_city
from ial_bench.datasets.dataset import Dataset

ROUNDS = 3
T = TypeVar("T")


def measured(benchmark: BenchmarkFixture, function: Callable[..., T], **options: Any) -> T:
    """What `function` answers; timed several times at full size."""
    result: T = benchmark.pedantic(function, rounds=1 if benchmark.disabled else ROUNDS, **options)  # type: ignore[no-untyped-call]
    return result


def note_memory(benchmark: BenchmarkFixture, folder: Path, verb: str) -> None:
    """Note the peak memory of a process that does the same and nothing else."""
    if sys.platform == "linux" and not benchmark.disabled:
        benchmark.extra_info["peak_rss_bytes"] = peak_bytes(verb, folder)
        print(f"\n{verb}: peak memory of a process of its own {benchmark.extra_info['peak_rss_bytes'] / 1e6:,.0f} MB")


def test_score_a_large_city(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    size = SMALL if benchmark.disabled else LARGE
    write_large_city(tmp_path, size)
    top, place = made_answers(Dataset(tmp_path))
    assert top.indices.shape == (size.queries, 10)

    def fresh() -> tuple[tuple[object, ...], dict[str, object]]:
        return (Dataset(tmp_path), top), {}  # nothing kept from the round before

    metrics = measured(benchmark, score_all, setup=fresh)
    for k in (1, 5, 10):
        assert metrics.accuracy[f"SSA-{k}"].value == pytest.approx((place < k).mean(), abs=1e-12)
    expected = np.where(place < 10, 1 / (place + 1), 0.0).mean()
    assert metrics.accuracy["MRR"].value == pytest.approx(expected, rel=1e-12)
    assert metrics.accuracy["SSA-1"].ci95 is not None
    note_memory(benchmark, tmp_path, "score")  # aim: under 10 s and 2 GB


def test_open_a_large_city(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    size = SMALL if benchmark.disabled else LARGE
    write_large_city(tmp_path, size)
    city = measured(benchmark, open_all, args=(tmp_path,))
    assert {s: n for s, n in city.counts().items() if n} == {"train": size.train, "query": size.queries}
    assert len(city.candidates) == size.addresses
    assert len(np.unique(city.split("query").places)) == size.places
    assert len(city.split("query").relative_path(0)) >= 130
    note_memory(benchmark, tmp_path, "open")  # aim: under 1 s and 1 GB
