"""The processor's cores: how many are ours, and how OpenMP's threads wait for each other on them."""

from __future__ import annotations

import math
import os
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_QUOTAS = ("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")  # of version 2, of version 1
_NUMBER = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Variables by which OpenMP is told how threads wait: by the standard, by GNU's and by Intel's library."""
_SPINS, _BLOCK_MS = "5000", "0"


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """Cores that this process may use at once: those it is bound to, or the fewer that its container is given."""
    bound = _bound()
    return min(bound, _quota(cgroup) or bound)


def prepare_threads(variables: MutableMapping[str, str] = os.environ, cgroup: Path = _CGROUP) -> None:
    """Choose how OpenMP's threads wait, and no more of them than cores. Call it before torch or FAISS is imported.

    Threads that are early at a barrier spin for the others, a third of a million rounds with GNU's library. Where one
    of these has lost its core to another process, all of them spin through its time slice, at every barrier.
    After a short while they sleep here instead. Nothing that is computed depends on it.

    A container's quota of processor time is not seen by OpenMP, which starts a thread for each core of the machine.

    Args:
        variables: the environment; what is set there stays as it is. Worker processes inherit it.
        cgroup: where the system shows the container's limits.
    """
    if not any(name in variables for name in WAITING):
        variables.update(GOMP_SPINCOUNT=_SPINS, KMP_BLOCKTIME=_BLOCK_MS)
    cores = usable_cores(cgroup)
    if cores < _bound() and not any(name in variables for name in _NUMBER):
        variables["OMP_NUM_THREADS"] = str(cores)


def _bound() -> int:
    """Cores that this process is bound to, which OpenMP sees by itself."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quota(cgroup: Path) -> int | None:
    """Whole cores that the container's quota of processor time is worth, rounded up; None without a quota."""
    for names in _QUOTAS:
        with suppress(OSError, ValueError):  # not such a system, or no number, which means no quota
            quota, period = " ".join((cgroup / name).read_text(encoding="ascii") for name in names).split()
            if int(quota) > 0:
                return math.ceil(int(quota) / int(period))
    return None
