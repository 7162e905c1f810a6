"""What is free on this machine: memory and disk."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_MEMINFO, _CGROUP, _OWN_GROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def free_memory() -> int | None:
    """Bytes that this process may still take: of the machine, and of the groups of processes that limit it.

    None where the system does not tell (no Linux).
    """
    told = _fields(_MEMINFO)
    if "MemAvailable:" not in told:
        return None
    return max(0, min([told["MemAvailable:"] * 1024, *_left_to_groups()]))


def _left_to_groups() -> list[int]:
    """What the limit of each control group above this process leaves; a limit counts for all below it."""
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
    """Folders of the control groups of this process, itself first; the root stands for it inside a container."""
    found = [_CGROUP, _CGROUP / "memory"]
    with suppress(OSError):
        for line in _OWN_GROUP.read_text().splitlines():
            _, kinds, own = line.split(":", 2)
            if kinds in ("", "memory"):
                below = _CGROUP / kinds / own.lstrip("/")
                found += [below, *(p for p in below.parents if p.is_relative_to(_CGROUP))]
    return list(dict.fromkeys(found))


def _fields(path: Path) -> dict[str, int]:
    """Numbers by their names, of a file with one a line; empty where there is none."""
    with suppress(OSError):
        words = (line.split() for line in path.read_text().splitlines())
        return {w[0]: int(w[1]) for w in words if len(w) > 1 and w[1].isdigit()}
    return {}


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there already."""
    return next(p for p in (folder, *folder.resolve().parents) if p.exists())


def free_disk(folder: Path) -> int:
    """Bytes that can still be written below a folder, which need not be there yet."""
    return shutil.disk_usage(existing(folder)).free


def device_of(folder: Path) -> int:
    """The number of the disk that a folder lies on, or would lie on."""
    return existing(folder).stat().st_dev


def free_device_memory(device: str) -> int | None:
    """Bytes that are free on a CUDA device; None of others."""
    if not device.startswith("cuda"):
        return None
    import torch

    return int(torch.cuda.mem_get_info(device)[0])


@dataclass(frozen=True)
class Room:
    """Bytes that are free.

    Attributes:
        memory: for this process, None where the system does not tell.
        device: on the GPU, None without one.
        cache: on the disk of the cache.
        results: on the disk of the results.
        one_disk: whether both are one.
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
