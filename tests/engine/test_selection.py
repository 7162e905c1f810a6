"""The photos of a run and their sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ial_bench.engine.selection import Selection
from ial_bench.testing import make_tiny_city


def test_sizes_are_those_of_the_dataset(tmp_path: Path) -> None:
    city = make_tiny_city(tmp_path / "city", size=100)
    chosen = Selection.of(city, None)
    assert chosen.megapixels == pytest.approx(0.01)
    assert chosen.sizes(None).train == len(chosen.train)
    few = Selection.of(city, 3)
    assert few.sizes(None).train == 3
    assert 4 < chosen.tokens < 30
