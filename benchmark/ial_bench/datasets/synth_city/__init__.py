"""A city that is built from a seed and photographed by a small software renderer: numpy and Pillow, no torch."""

from ial_bench.datasets.synth_city.layout import City, make_layout
from ial_bench.datasets.synth_city.options import PRESETS, PRETRAIN_SEEDS, CityOptions, preset
from ial_bench.datasets.synth_city.render import render
from ial_bench.datasets.synth_city.street_map import StreetMap
from ial_bench.datasets.synth_city.write import make_city, options_of

__all__ = [
    "PRESETS", "PRETRAIN_SEEDS", "City", "CityOptions", "StreetMap", "make_city", "make_layout", "options_of", "preset",
    "render",
]  # fmt: skip
