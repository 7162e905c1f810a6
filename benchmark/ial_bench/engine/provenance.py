"""Where and with what a run was made: project, packages, hardware."""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ial_bench
from ial_bench.json_files import digest
from ial_bench.machine import usable_cores

_PACKAGES = (
    "ial-bench", "numpy", "scipy", "pyarrow", "pillow", "torch", "torchvision", "open_clip_torch", "timm", "faiss-cpu",
    "safetensors",
)  # fmt: skip

_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


@cache
def project() -> dict[str, Any]:
    """The version; also commit and dirty flag where the code runs from its own checkout."""
    found: dict[str, Any] = {"version": ial_bench.__version__, "commit": None, "dirty": None}
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists() or not (root / "benchmark" / "ial_bench").is_dir():
        return found  # installed, perhaps inside somebody else's repository
    try:
        found["commit"] = _git(root, "rev-parse", "HEAD")
        found["dirty"] = bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError) as error:
        found["commit_unknown_because"] = type(error).__name__  # its text names folders of this machine
    return found


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(  # noqa: S603
        ["git", "-C", str(root), *arguments],  # noqa: S607
        check=True, capture_output=True, text=True, timeout=10,
    ).stdout.strip()  # fmt: skip


@cache
def packages() -> dict[str, str]:
    """Versions of Python and of the packages that can change a number."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def cpu_model() -> str:
    """The processor's name."""
    with suppress(OSError):  # not Linux: Python's own name for it follows
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def hardware(device: str) -> dict[str, Any]:
    """What a latency depends on: processor, usable cores, threads, torch build and, on a GPU, its name and driver."""
    found: dict[str, Any] = {
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "machine": platform.machine(),
        "system": platform.system(),
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "torch": packages().get("torch"),
        "device": device,
    }
    if device.startswith("cuda"):
        import torch

        properties = torch.cuda.get_device_properties(device)
        found |= {"gpu": properties.name, "gpu_memory_bytes": properties.total_memory, "cuda": torch.version.cuda}
        with suppress(OSError):  # on Linux the driver's version is here
            found["driver"] = _NVIDIA_DRIVER.read_text(encoding="utf-8").splitlines()[0].strip()
    return found


def hardware_digest(facts: dict[str, Any]) -> str:
    """A fingerprint that is equal where latencies may be compared."""
    return digest(facts)[:16]
