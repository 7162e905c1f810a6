"""`bench data export`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench_command import Bench
from ial_bench.cli.export import size_of
from ial_bench.datasets.dataset import Dataset
from ial_bench.errors import ConfigError
from ial_bench.testing import CHECK_BACKBONE


def test_export_then_verify_then_run(bench: Bench, tiny_city: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = bench("data", "export", tiny_city.folder, "--webdataset", "--out", out, "--shard-size", "60KB")
    assert said.code == 0, said.err
    first, *splits, following = said.out.splitlines()
    assert first == f"{tiny_city.name}: 84 photos in 10 shards, 0.000 GB"
    assert splits == [
        "  train: 000000.tar to 000004.tar",
        "  val: 000005.tar to 000006.tar",
        "  query: 000007.tar to 000009.tar",
    ]
    assert following == f"next: bench data verify {out}"
    assert bench("data", "verify", out).code == 0
    arguments = ("-m", "linear-probe", "--backbone", CHECK_BACKBONE, "--set", "linear-probe.c=1", "--no-timing")
    before = bench("run", "-d", tiny_city.folder, *arguments)
    after = bench("run", "-d", out, *arguments)
    assert (before.code, after.code) == (0, 0), after.err
    assert bench("list", "runs").out.count("linear-probe") == 1  # the run that is there is found


def test_verify_names_a_shard_that_is_gone(bench: Bench, tiny_city: Dataset, tmp_path: Path) -> None:
    bench("data", "export", tiny_city.folder, "--webdataset", "--out", tmp_path / "out", "--shard-size", "60KB")
    (tmp_path / "out" / "shards" / "000003.tar").unlink()
    said = bench("data", "verify", tmp_path / "out", "--quick")
    assert said.code == 1
    assert "shard missing" in said.out
    assert "000003.tar" in said.out


def test_a_form_must_be_named(bench: Bench, tiny_city: Dataset, tmp_path: Path) -> None:
    said = bench("data", "export", tiny_city.folder, "--out", tmp_path / "out")
    assert said.code != 0
    assert "fix: give --webdataset" in said.err


@pytest.mark.parametrize(
    ("text", "size"),
    [("1GB", 10**9), ("500 mb", 5 * 10**8), ("1.5GiB", 3 * 2**29), ("7", 7), ("2k", 2000), ("1TB", 10**12), ("9B", 9)],
)
def test_sizes(text: str, size: int) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "1PB", "1e9", "0.1", "١GB", "1 G B", "nan"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ConfigError, match="--shard-size"):
        size_of(text)
