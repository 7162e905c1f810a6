"""Parts of methods, under the name by which plugins import them; `ial_bench.method` defines them."""

from ial_bench.method import FitOnTheSpot, Part, PartSource

__all__ = ["FitOnTheSpot", "Part", "PartSource"]
