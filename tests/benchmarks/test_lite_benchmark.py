"""The packaged EfficientNet-Lite0 on the CPU: training and encoding through the engine against timm's tower as it is.

The figures are ratios: `pytest tests/benchmarks/test_lite_benchmark.py --benchmark-enable -s`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.lite_sides import encode, train
from ial_bench.testing import make_tiny_city
from support.packaged_weights import lite

WORKER = Path(__file__).with_name("lite_sides.py")


@pytest.fixture(autouse=True)
def _weights() -> None:
    lite(0)


def side(what: str, city: Path, *options: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(WORKER), what, str(city), *options], check=True, stdout=subprocess.PIPE, text=True
    )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_steps_of_training(benchmark: Any, tmp_path: Path) -> None:
    city = make_tiny_city(tmp_path / "city", 16, train_places=2 if benchmark.disabled else 9, size=320).folder
    if benchmark.disabled:  # the engine's side alone, small and in this process
        assert np.isfinite(benchmark(train, city, plain=False, steps=1, batch=4)["losses"]).all()
        return
    plain, engine = (side(what, city) for what in ("plain", "engine"))
    # One rounding more or less in a clipped activation moves a gradient a little, and each step the next.
    np.testing.assert_allclose(engine["losses"][0], plain["losses"][0], rtol=1e-5)
    np.testing.assert_allclose(engine["losses"], plain["losses"], rtol=5e-3)
    speed = engine["photos_per_second"] / plain["photos_per_second"]
    memory = engine["peak_gb"] / plain["peak_gb"]
    benchmark.extra_info |= {"speed": speed, "memory": memory, "engine": engine, "plain": plain}
    print(
        f"\ntraining: {engine['photos_per_second']:.1f} photos/s against {plain['photos_per_second']:.1f}, ratio "
        f"{speed:.2f}; peak {engine['peak_gb']:.2f} GB against {plain['peak_gb']:.2f}, ratio {memory:.2f}; losses "
        f"{np.round(engine['losses'], 4)} against {np.round(plain['losses'], 4)}"
    )
    benchmark(lambda: None)


def test_encoding(benchmark: Any, tmp_path: Path) -> None:
    city = make_tiny_city(tmp_path / "city", 8, train_places=1 if benchmark.disabled else 8, size=320).folder
    if benchmark.disabled:
        assert benchmark(encode, city, how="engine", batch=4)["sum"] > 0
        return
    told = {how: side(f"encode-{how}", city, "--batch", "32") for how in ("engine", "bare", "timm")}
    assert told["engine"]["sum"] == pytest.approx(told["bare"]["sum"], rel=1e-5)
    assert told["engine"]["sum"] == pytest.approx(told["timm"]["sum"], rel=1e-4)
    rates = {how: facts["photos_per_second"] for how, facts in told.items()}
    benchmark.extra_info |= rates
    print(
        f"\nencoding: {rates['engine']:.1f} photos/s; over a bare loop of the same model "
        f"{rates['engine'] / rates['bare']:.2f}, over timm's model(x) on contiguous photos "
        f"{rates['engine'] / rates['timm']:.2f}"
    )
    benchmark(lambda: None)
