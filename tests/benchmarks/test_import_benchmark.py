"""Importing a release as large as SF-IAL-Large.

    pytest tests/benchmarks/test_import_benchmark.py -m slow -s

2,000,016 names in SF-XL's form, as hard links to small files; about ten minutes with writing them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.large_release import LARGE, SMALL, ReleaseSize, import_alone, write_release
from ial_bench.datasets.dataset import Dataset


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(
    "size", [pytest.param(SMALL, id="small"), pytest.param(LARGE, id="full", marks=pytest.mark.slow)]
)
def test_import_a_large_release(tmp_path: Path, size: ReleaseSize) -> None:
    write_release(tmp_path, size)
    seconds, peak = import_alone(tmp_path)
    print(f"\n{size.train + size.queries:,} photos in {seconds:.1f} s, peak {peak / 1e6:,.0f} MB")  # aim: 180 s, 3 GB
    data = Dataset(tmp_path / "out")
    counts = data.counts()
    assert (counts["train"] + counts["val"], counts["query"]) == (size.train, size.queries)
    assert len(data.addresses) == size.addresses
    assert peak < 3e9
