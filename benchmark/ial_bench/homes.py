"""Where things are kept: results, cache, datasets. Each has an option, an environment variable, a default."""

from __future__ import annotations

import os
from pathlib import Path

RESULTS_VARIABLE = "IAL_BENCH_RESULTS"
CACHE_VARIABLE = "IAL_BENCH_CACHE"
DATA_VARIABLE = "IAL_BENCH_DATA"


def _home(given: Path | None, variable: str) -> Path | None:
    if given is not None:
        return given.expanduser()
    if text := os.environ.get(variable):
        return Path(text).expanduser()
    return None


def results_home(given: Path | None = None) -> Path:
    """Where run records go: `given`, ``$IAL_BENCH_RESULTS`` or ``results`` in the working directory."""
    return _home(given, RESULTS_VARIABLE) or Path("results")


def cache_home(given: Path | None = None) -> Path:
    """Where features, half-done runs and fitted methods go: `given`, ``$IAL_BENCH_CACHE`` or the user's."""
    from platformdirs import user_cache_path

    return _home(given, CACHE_VARIABLE) or user_cache_path("ial-bench")


def data_home(given: Path | None = None) -> Path:
    """Where datasets lie by name: `given`, ``$IAL_BENCH_DATA`` or the user's data folder."""
    from platformdirs import user_data_path

    return _home(given, DATA_VARIABLE) or user_data_path("ial-bench") / "datasets"
