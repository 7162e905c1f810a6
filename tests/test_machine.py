"""Cores and how OpenMP waits on them, memory that is kept, and what is free."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from ial_bench import machine
from ial_bench.machine import give_back_freed_memory, keep_freed_memory, prepare_threads, usable_cores

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
PAGES = """
import resource, sys
import numpy as np
from ial_bench.machine import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory() and keep_freed_memory()
def use():
    for _ in range(5):
        np.empty(60_000_000, np.uint8).fill(1)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


HELD = """
from pathlib import Path
import numpy as np
from ial_bench.machine import give_back_freed_memory, keep_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

assert keep_freed_memory()
blocks = [np.ones(500_000, np.uint8) for _ in range(200)]
last = np.ones(500_000, np.uint8)  # what lies behind keeps the heap from shrinking
used = resident()
del blocks
kept = resident()
give_back_freed_memory()
print(used, kept, resident())
"""


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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_pages_are_mapped_once() -> None:
    def faults(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", PAGES, how], check=True, stdout=subprocess.PIPE, text=True)
        return int(done.stdout)

    assert faults("keep") < 100 < faults("as it is")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_what_is_free_is_given_back_when_asked() -> None:
    done = subprocess.run([sys.executable, "-c", HELD], check=True, stdout=subprocess.PIPE, text=True)
    used, kept, after = map(int, done.stdout.split())
    assert used - kept < 5
    assert kept - after > 80


def test_with_another_c_library_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(ctypes, "CDLL", lambda _: pytest.fail("there is no mallopt"))
    assert keep_freed_memory.__wrapped__() is False
    give_back_freed_memory()


def test_limits_of_control_groups_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 4000 kB\nMemAvailable:    2000 kB\n")
    group = tmp_path / "cgroup" / "mine" / "job"
    group.mkdir(parents=True)
    (tmp_path / "own").write_text("0::/mine/job\n")
    monkeypatch.setattr(machine, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "_OWN_GROUP", tmp_path / "own")
    assert machine.free_memory() == 2_048_000
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("5000\n")
    assert machine.free_memory() == 2_048_000
    (group.parent / "memory.max").write_text("1000000\n")  # of the group above: it holds for all below
    (group.parent / "memory.current").write_text("900000\n")
    (group.parent / "memory.stat").write_text("anon 1\ninactive_file 50000\n")
    assert machine.free_memory() == 150_000
    old = tmp_path / "cgroup" / "memory"
    old.mkdir()
    (old / "memory.limit_in_bytes").write_text("300000\n")
    (old / "memory.usage_in_bytes").write_text("200000\n")
    assert machine.free_memory() == 100_000
    (tmp_path / "meminfo").unlink()
    assert machine.free_memory() is None


def test_free_disk_is_told_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert machine.free_disk(tmp_path / "a" / "b") == pytest.approx(machine.free_disk(tmp_path), rel=0.01)
    assert machine.device_of(tmp_path / "a" / "b") == machine.device_of(tmp_path)
