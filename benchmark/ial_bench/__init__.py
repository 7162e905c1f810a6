"""ial-bench: the benchmark harness for Image Address Localization (IAL).

What a plugin needs is importable from here; every name is loaded on first use, so that
``import ial_bench`` itself stays instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ial_bench.addresses import Address as Address
    from ial_bench.datasets.dataset import Dataset as Dataset
    from ial_bench.datasets.photos import Candidates as Candidates
    from ial_bench.datasets.photos import Photos as Photos
    from ial_bench.errors import BenchError as BenchError
    from ial_bench.errors import ConfigError as ConfigError
    from ial_bench.errors import DataError as DataError
    from ial_bench.errors import SkipMethod as SkipMethod
    from ial_bench.errors import StorageError as StorageError
    from ial_bench.frozen import Features as Features
    from ial_bench.frozen import FrozenEncoderMethod as FrozenEncoderMethod
    from ial_bench.frozen import FrozenTextMethod as FrozenTextMethod
    from ial_bench.frozen import unit_norm as unit_norm
    from ial_bench.image_batch import ImageBatch as ImageBatch
    from ial_bench.method import FeatureSource as FeatureSource
    from ial_bench.method import Method as Method
    from ial_bench.method import MethodConfig as MethodConfig
    from ial_bench.method import MethodInfo as MethodInfo
    from ial_bench.method import ParameterCount as ParameterCount
    from ial_bench.method import Part as Part
    from ial_bench.method import RunContext as RunContext
    from ial_bench.method import Scores as Scores
    from ial_bench.method import State as State
    from ial_bench.progress import Reporter as Reporter
    from ial_bench.progress import chunks as chunks
    from ial_bench.seeds import derive_seed as derive_seed
    from ial_bench.seeds import generator as generator
    from ial_bench.topk import TopK as TopK
    from ial_bench.workload import PHOTO as PHOTO
    from ial_bench.workload import Effort as Effort
    from ial_bench.workload import Sizes as Sizes
    from ial_bench.workload import Workload as Workload
    from ial_bench.workload import distinct as distinct

_HOMES = {
    "Address": "addresses",
    "BenchError": "errors",
    "Candidates": "datasets.photos",
    "ConfigError": "errors",
    "DataError": "errors",
    "Dataset": "datasets.dataset",
    "Effort": "workload",
    "FeatureSource": "method",
    "Features": "frozen",
    "FrozenEncoderMethod": "frozen",
    "FrozenTextMethod": "frozen",
    "ImageBatch": "image_batch",
    "Method": "method",
    "MethodConfig": "method",
    "MethodInfo": "method",
    "PHOTO": "workload",
    "ParameterCount": "method",
    "Part": "method",
    "Photos": "datasets.photos",
    "Reporter": "progress",
    "RunContext": "method",
    "Scores": "method",
    "Sizes": "workload",
    "SkipMethod": "errors",
    "State": "method",
    "StorageError": "errors",
    "TopK": "topk",
    "Workload": "workload",
    "chunks": "progress",
    "derive_seed": "seeds",
    "distinct": "workload",
    "generator": "seeds",
    "unit_norm": "frozen",
}

__all__ = ["__version__", *sorted(_HOMES)]  # noqa: PLE0604 - the names of _HOMES are strings


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ial_bench' has no attribute {name!r}")
    return getattr(import_module(f"ial_bench.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
