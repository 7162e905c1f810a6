"""How many cores are ours, and how OpenMP is told to wait."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ial_bench.cores import prepare_threads, usable_cores

BOUND = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
ONE_CORE = {
    "version 2": {"cpu.max": "100000 100000\n"},
    "version 2, half a core": {"cpu.max": "50000 100000\n"},
    "version 1": {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"},
}
NO_LIMIT = {
    "no cgroups": {},
    "version 2": {"cpu.max": "max 100000\n"},
    "version 1": {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
    "more than there are": {"cpu.max": "99900000 100000\n"},
    "no such form": {"cpu.max": "unlimited\n"},
}


def cgroup(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("files", ONE_CORE.values(), ids=ONE_CORE)
def test_a_containers_quota_is_all_there_is(tmp_path: Path, files: dict[str, str]) -> None:
    limits, variables = cgroup(tmp_path, files), dict[str, str]()
    assert usable_cores(limits) == 1
    prepare_threads(variables, limits)
    assert variables.get("OMP_NUM_THREADS") == ("1" if BOUND > 1 else None)


@pytest.mark.parametrize("files", NO_LIMIT.values(), ids=NO_LIMIT)
def test_where_no_quota_binds_all_cores_are_ours_and_openmp_counts_them(tmp_path: Path, files: dict[str, str]) -> None:
    limits, variables = cgroup(tmp_path, files), dict[str, str]()
    assert usable_cores(limits) == BOUND
    prepare_threads(variables, limits)
    assert "OMP_NUM_THREADS" not in variables
    assert set(variables) == {"GOMP_SPINCOUNT", "KMP_BLOCKTIME"}


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"])
def test_a_way_of_waiting_that_the_user_chose_stays_alone(tmp_path: Path, name: str) -> None:
    variables = {name: "7"}
    prepare_threads(variables, tmp_path)
    assert variables == {name: "7"}


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_a_number_of_threads_that_the_user_chose_stays_alone(tmp_path: Path, name: str) -> None:
    variables = {name: "7"}
    prepare_threads(variables, cgroup(tmp_path, ONE_CORE["version 2"]))
    assert {v for v in variables if v.endswith("_NUM_THREADS")} == {name}


@pytest.mark.skipif(sys.platform != "linux", reason="torch brings GNU's OpenMP on Linux")
def test_the_command_tells_openmp_before_it_is_loaded() -> None:
    """What the library itself says that it was told, when torch loads it."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_"))}
    code = "import sys; sys.argv = ['bench', 'doctor']; from ial_bench.cli.start import main; main()"
    said = subprocess.run(
        [sys.executable, "-c", code], env={**environment, "OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "GOMP_SPINCOUNT = '5000'" in said.stderr
