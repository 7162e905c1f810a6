"""The C library's memory, between one step and the next."""

from __future__ import annotations

import ctypes
import platform
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_NEVER, _LARGEST = -1, 1 << 30


@cache
def keep_freed_memory() -> bool:
    """Ask glibc to keep freed memory for the next tensors, instead of giving each back to the system.

    Batches of photos and activations of a tower are large, and new ones with every step: pages that the system must
    first map and clear can take longer than what is computed in them. Memory is given back when the process ends; what
    is larger than a gigabyte, at once. Once for each process; with another C library nothing is done.

    Returns:
        Whether glibc took it.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))


def give_back_freed_memory() -> None:
    """Give what is free to the system now: after a training or a run, whose tensors had sizes of their own."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
