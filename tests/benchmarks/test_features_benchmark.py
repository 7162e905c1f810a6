"""Feature extraction through the engine against a bare loop over the same loader and model.

The figure of interest is the ratio: `pytest tests/benchmarks/test_features_benchmark.py --benchmark-enable -s`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ial_bench.datasets.photos import Photos
from ial_bench.encoders.load import load_encoder
from ial_bench.engine.features import FeatureStore, photo_loader
from ial_bench.method import NoReport, chunks
from ial_bench.testing import make_tiny_city

BACKBONE = "openclip:ViT-S-32-alt/random-init"
BATCH = 32


def bare(photos: Photos, workers: int) -> Any:
    """What one would write by hand: the loader, the model, one array."""
    encoder = load_encoder(BACKBONE, "cpu")
    out = np.empty((len(photos), encoder.card.dim), np.float32)
    started = time.perf_counter()
    batches = [range(c.start, c.stop) for c in chunks(len(photos), BATCH)]
    with torch.inference_mode():
        for batch, pixels in zip(batches, photo_loader(photos, encoder, batches, workers), strict=True):
            out[batch.start : batch.stop] = encoder.encode_images(pixels).numpy()
    return len(photos) / (time.perf_counter() - started), out


def engine(photos: Photos, workers: int, cache: Path) -> Any:
    store = FeatureStore(cache, "cpu", BATCH, workers, NoReport())
    store.encoder(BACKBONE)
    started = time.perf_counter()
    out = store.photos(BACKBONE, photos)
    return len(photos) / (time.perf_counter() - started), out


def test_engine_against_a_bare_loop(benchmark: Any, tmp_path: Path) -> None:
    full = not benchmark.disabled
    city = make_tiny_city(tmp_path / "city", n_addresses=4, train_places=32 if full else 3, size=320 if full else 64)
    photos = city.split("train", "val")
    rounds = 9 if full else 1
    rates = {"bare": [], "engine": []}  # type: dict[str, list[float]]
    for number in range(rounds):  # in turns, so that a machine whose speed drifts is fair to both
        rate, expected = bare(photos, workers=1)
        rates["bare"].append(rate)
        rate, found = engine(photos, 1, tmp_path / f"cache{number}")
        rates["engine"].append(rate)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    ratios = [e / b for e, b in zip(rates["engine"], rates["bare"], strict=True)]
    benchmark.extra_info |= {"images": len(photos), "ratio": float(np.median(ratios)), "images_per_second": rates}
    print(f"\n{len(photos)} photos: engine / bare loop = {np.median(ratios):.3f} (each round: {np.round(ratios, 3)})")
    store = FeatureStore(tmp_path / "cache0", "cpu", BATCH, 0, NoReport())
    benchmark(store.photos, BACKBONE, photos)  # features that are there already
