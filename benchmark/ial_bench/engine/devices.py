"""Which device to compute on, without importing torch where there is nothing to find."""

from __future__ import annotations

import platform
from pathlib import Path

from ial_bench.cores import usable_cores
from ial_bench.errors import ConfigError


def resolve_device(wanted: str) -> str:
    """``auto`` becomes ``cuda``, ``mps`` or ``cpu``, the first that is there; other names are checked.

    Raises:
        ConfigError: torch knows no such device, or it is not here.
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
