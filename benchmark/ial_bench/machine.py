"""This machine: its cores, devices, memory and disks. Torch is imported only where a device is asked about."""

from __future__ import annotations

import math
import os
import platform
import shutil
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ial_bench.errors import ConfigError

_CGROUP, _OWN_GROUP, _MEMINFO = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"), Path("/proc/meminfo")
_QUOTAS = ("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")  # of version 2, of version 1
_NUMBER = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Variables by which OpenMP is told how threads wait: by the standard, by GNU's and by Intel's library."""
_SPINS, _BLOCK_MS = "5000", "0"
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_NEVER, _LARGEST = -1, 1 << 30


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """Cores that this process may use at once: those it is bound to, or fewer if its container has a quota."""
    bound = _bound()
    return min(bound, _quota(cgroup) or bound)


def prepare_threads(variables: MutableMapping[str, str] = os.environ, cgroup: Path = _CGROUP) -> None:
    """Choose how OpenMP's threads wait, and no more threads than cores. Call it before torch or FAISS is imported.

    Threads that reach a barrier early spin until the others arrive, with GNU's library for a third of a million rounds.
    If one of the others has lost its core to another process, all spin through its time slice, at every barrier. With
    these settings they soon sleep instead. Results do not depend on it.

    OpenMP does not see a container's quota of processor time, and would start a thread for each core of the machine.

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
    """The container's quota of processor time in cores, rounded up; None without a quota."""
    for names in _QUOTAS:
        with suppress(OSError, ValueError):  # another system, or no number, which means no quota
            quota, period = " ".join((cgroup / name).read_text(encoding="ascii") for name in names).split()
            if int(quota) > 0:
                return math.ceil(int(quota) / int(period))
    return None


def resolve_device(wanted: str) -> str:
    """``auto`` becomes ``cuda``, ``mps`` or ``cpu``, the first that is available; other names are checked.

    Raises:
        ConfigError: torch knows no such device, or it is not available.
    """
    if wanted == "cpu" or (wanted == "auto" and not _may_have_accelerator()):
        return "cpu"
    import torch

    if wanted == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=wanted)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {wanted!r} cannot be used: {reason}", "`bench doctor` shows what is here") from error
    return wanted


def default_workers() -> int:
    """Processes to decode photos: half the cores, at most 8, so that the model keeps the other half."""
    return min(8, usable_cores() // 2)


def _may_have_accelerator() -> bool:
    return Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists() or platform.system() in {"Darwin", "Windows"}


@cache
def keep_freed_memory() -> bool:
    """Ask glibc to keep freed memory for the next tensors, instead of giving each back to the system.

    Every step allocates large batches and activations anew. Mapping and clearing their pages can take longer than the
    computation. Memory goes back when the process ends, blocks above a gigabyte at once. This is done once per process,
    and only with glibc.

    Returns:
        Whether glibc accepted it.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    import ctypes

    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))


def give_back_freed_memory() -> None:
    """Give what is free to the system now: after a training or a run, whose tensors had sizes of their own."""
    if platform.libc_ver()[0] == "glibc":
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)


def free_memory() -> int | None:
    """Bytes that this process may still take, within the machine's memory and the limits of its control groups.

    None where the system does not say (not Linux).
    """
    known = _fields(_MEMINFO)
    if "MemAvailable:" not in known:
        return None
    return max(0, min([known["MemAvailable:"] * 1024, *_left_to_groups()]))


def _left_to_groups() -> list[int]:
    """What each control group above this process leaves of its limit, which holds for all groups below it."""
    left = []
    for folder in _groups():
        with suppress(OSError, ValueError):  # no such file, or "max": no limit
            limit = int((folder / "memory.max").read_text())
            used = int((folder / "memory.current").read_text())
            left.append(limit - used + _fields(folder / "memory.stat").get("inactive_file", 0))
        with suppress(OSError, ValueError):  # version 1, whose "no limit" is a number beyond all memory
            limit = int((folder / "memory.limit_in_bytes").read_text())
            used = int((folder / "memory.usage_in_bytes").read_text())
            left.append(limit - used + _fields(folder / "memory.stat").get("total_inactive_file", 0))
    return left


def _groups() -> list[Path]:
    """Folders of this process's control groups, its own first; inside a container the root stands for them."""
    found = [_CGROUP, _CGROUP / "memory"]
    with suppress(OSError):
        for line in _OWN_GROUP.read_text().splitlines():
            _, kinds, own = line.split(":", 2)
            if kinds in ("", "memory"):
                below = _CGROUP / kinds / own.lstrip("/")
                found += [below, *(p for p in below.parents if p.is_relative_to(_CGROUP))]
    return list(dict.fromkeys(found))


def _fields(path: Path) -> dict[str, int]:
    """The numbers by name in a file with one per line; empty where there is no file."""
    with suppress(OSError):
        words = (line.split() for line in path.read_text().splitlines())
        return {w[0]: int(w[1]) for w in words if len(w) > 1 and w[1].isdigit()}
    return {}


def existing(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    return next(p for p in (folder, *folder.resolve().parents) if p.exists())


def free_disk(folder: Path) -> int:
    """Bytes that can still be written below a folder, which need not be there yet."""
    return shutil.disk_usage(existing(folder)).free


def device_of(folder: Path) -> int:
    """The number of the disk that a folder lies on, or would lie on."""
    return existing(folder).stat().st_dev


def free_device_memory(device: str) -> int | None:
    """Free bytes of a CUDA device; None for other devices."""
    if not device.startswith("cuda"):
        return None
    import torch

    return int(torch.cuda.mem_get_info(device)[0])


@dataclass(frozen=True)
class Room:
    """Free bytes.

    Attributes:
        memory: for this process, None where the system does not say.
        device: on the GPU, None without one.
        cache: on the disk of the cache.
        results: on the disk of the results.
        one_disk: whether both lie on one disk.
    """

    memory: int | None
    device: int | None
    cache: int
    results: int
    one_disk: bool

    @classmethod
    def here(cls, cache: Path, results: Path, device: str) -> Room:
        """What is free now."""
        one = device_of(cache) == device_of(results)
        return cls(free_memory(), free_device_memory(device), free_disk(cache), free_disk(results), one)
