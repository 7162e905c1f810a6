"""Feature extraction through the engine against a bare loop over the same loader and model.

The figure of interest is the ratio: `pytest tests/benchmarks/test_features_benchmark.py --benchmark-enable -s`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ial_bench.datasets.loader import Prepared, photo_tensors
from ial_bench.datasets.photos import Photos
from ial_bench.encoders.encoder import Encoder
from ial_bench.encoders.load import load_encoder
from ial_bench.engine.features import FeatureStore
from ial_bench.progress import NoReport, chunks
from ial_bench.testing import make_tiny_city

FAMILIES = [
    "openclip:ViT-S-32-alt", "openclip:RN50", "openclip:coca_ViT-B-32", "openclip:convnext_base_w",
    "openclip:EVA02-B-16", "openclip:MobileCLIP2-S0", "openclip:PE-Core-B-16", "openclip:ViTamin-S",
    "openclip:ViT-B-16-SigLIP", "openclip:ViT-L-14-CLIPA", "openclip:vit_relpos_medium_patch16_cls_224",
    "timm:resnet18", "timm:tf_efficientnet_lite0", "timm:vit_small_patch16_224", "timm:vit_small_patch16_224+gem",
    "timm:swin_tiny_patch4_window7_224", "vpr:cosplace-resnet18-512",
]  # fmt: skip
SMALL_ONES = {"openclip:ViT-S-32-alt", "timm:resnet18"}
"""As smoke tests; the others take part where benchmarks are asked for."""
BATCH = 32


def bare(encoder: Encoder, photos: Photos, workers: int) -> Any:
    """What one would write by hand: the loader, the model, one array."""
    out = np.empty((len(photos), encoder.card.dim), np.float32)
    started = time.perf_counter()
    batches = [range(c.start, c.stop) for c in chunks(len(photos), BATCH)]
    with torch.inference_mode():
        for batch, pixels in zip(
            batches, photo_tensors(photos, Prepared(encoder.preprocess), batches, workers), strict=True
        ):
            out[batch.start : batch.stop] = encoder.encode_images(pixels).numpy()
    return len(photos) / (time.perf_counter() - started), out


def engine(spec: str, encoder: Encoder, photos: Photos, workers: int, cache: Path) -> Any:
    store = FeatureStore(cache, "cpu", BATCH, workers, NoReport())
    store._encoders[spec], store._cards[spec] = encoder, encoder.card
    started = time.perf_counter()
    out = store.photos(spec, photos)
    return len(photos) / (time.perf_counter() - started), out


@pytest.mark.parametrize("backbone", FAMILIES)
def test_engine_against_a_bare_loop(backbone: str, benchmark: Any, tmp_path: Path) -> None:
    full = not benchmark.disabled
    if not full and backbone not in SMALL_ONES:
        pytest.skip("large; for `--benchmark-enable`")
    spec = f"{backbone}/random-init"
    encoder = load_encoder(spec, "cpu")
    city = make_tiny_city(tmp_path / "city", n_addresses=4, train_places=8 if full else 3, size=320 if full else 64)
    photos = city.split("train", "val")
    rounds = 5 if full else 1
    rates = {"bare": [], "engine": []}  # type: dict[str, list[float]]
    for number in range(rounds):  # in turns, so that a machine whose speed drifts is fair to both
        rate, expected = bare(encoder, photos, workers=1)
        rates["bare"].append(rate)
        rate, found = engine(spec, encoder, photos, 1, tmp_path / f"cache{number}")
        rates["engine"].append(rate)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    ratios = [e / b for e, b in zip(rates["engine"], rates["bare"], strict=True)]
    benchmark.extra_info |= {"images": len(photos), "ratio": float(np.median(ratios)), "images_per_second": rates}
    each = np.round(ratios, 3)
    print(f"\n{backbone}, {len(photos)} photos: engine / bare loop = {np.median(ratios):.3f} ({each})")
    store = FeatureStore(tmp_path / "cache0", "cpu", BATCH, 0, NoReport())
    store._cards[spec] = encoder.card
    benchmark(store.photos, spec, photos)  # features that are there already
