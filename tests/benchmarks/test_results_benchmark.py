"""Tables of thousands of configurations, and scoring again of many runs.

With ``--benchmark-enable -s`` at full size, for reading; otherwise a small one, to see that it works.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.large_city import CitySize, write_large_city
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.records import read_record, record_path
from support.made_answers import noisy_scores, store_run
from support.made_city import truth_of
from support.made_records import make_record, store

FEW, MANY = 1_000, 10_000


def bench(*words: str | Path) -> float:
    """Seconds of a command in a process of its own."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "ial_bench.cli", *map(str, words)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def test_a_table_of_many_configurations(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    few, many = (20, 60) if benchmark.disabled else (FEW, MANY)
    for folder, count in (("few", few), ("many", many)):
        for i in range(count):
            config = {"c": i, "k": i % 7, "alpha": 0.5, "losses": ["address"], "backbone": "openclip:ViT-B-16/openai"}
            store(tmp_path / folder, make_record("m", {"SSA-1": i / count}, config=config, latency_ms=1.0))
    small = bench("leaderboard", "--results", tmp_path / "few", "--no-separable")
    large = benchmark.pedantic(  # type: ignore[no-untyped-call]
        bench, args=("leaderboard", "--results", tmp_path / "many", "--no-separable"), rounds=1
    )
    benchmark.extra_info["seconds"] = {few: small, many: large}
    if not benchmark.disabled:
        # Aim: 10,000 in under 10 s; in proportion, which ten times as many in a square would take a hundred times.
        print(f"\n{few:,} configurations {small:.1f} s, {many:,} {large:.1f} s: {large / small:.1f} times as long")


def test_scoring_many_runs_again(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    runs, size = (
        (2, CitySize(300, 200, 20, 30)) if benchmark.disabled else (100, CitySize(60_000, 20_000, 1_000, 1_200))
    )
    write_large_city(tmp_path / "city", size)
    data = Dataset(tmp_path / "city")
    scores = noisy_scores(truth_of(data), 0.5)
    records = [store_run(tmp_path / "results", data, make_record("m", seed=seed), scores) for seed in range(runs)]
    for record in records:
        store(tmp_path / "results", record.model_copy(update={"metrics": None}))
    took = benchmark.pedantic(  # type: ignore[no-untyped-call]
        bench, args=("score", "-d", tmp_path / "city", "--results", tmp_path / "results"), rounds=1
    )
    if not benchmark.disabled:
        print(f"\n{runs} runs of {size.queries:,} queries: {took:.1f} s")  # aim: 15 s
    for record in records:
        path = record_path(tmp_path / "results", record.dataset.name, "m", record.run_id)
        assert read_record(path).metrics == record.metrics
