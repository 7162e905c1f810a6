"""Freed memory is kept for the next tensors: counted in pages that the system had to map."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

from ial_bench.memory import give_back_freed_memory, keep_freed_memory

PAGES = """
import resource, sys
import numpy as np
from ial_bench.memory import keep_freed_memory
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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_pages_are_mapped_once() -> None:
    def faults(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", PAGES, how], check=True, stdout=subprocess.PIPE, text=True)
        return int(done.stdout)

    assert faults("keep") < 100 < faults("as it is")


HELD = """
from pathlib import Path
import numpy as np
from ial_bench.memory import give_back_freed_memory, keep_freed_memory

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
