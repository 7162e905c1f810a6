"""One side of the comparisons of `test_lite_benchmark.py`, in a process of its own: what it takes in time and memory.

Peak memory and the C library's habits belong to a process, so neither side may run in that of the other.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

CLIP = "openclip:lite0/package"
TIMM = "timm:tf_efficientnet_lite0/package"


def train(city: Path, *, plain: bool, steps: int, batch: int) -> dict[str, Any]:
    """Steps of AddressCLIP: photos/s of the last half, and all losses."""
    from ial_bench.datasets.dataset import Dataset
    from ial_bench.engine.features import FeatureStore
    from ial_bench.method import RunContext
    from ial_bench.progress import NoReport
    from ial_methods.addressclip.method import AddressClip

    if plain:
        _as_timm_has_it()
    data = Dataset(city)
    store = FeatureStore(city / "cache", "cpu", batch, 0, NoReport())
    config = AddressClip.Config(backbone=CLIP, batch_size=batch, min_scale=1.0, jitter=0.0, learning_rate=1e-4)
    train_photos = data.split("train")
    method = AddressClip(config, RunContext(0, "cpu", store, NoReport()))
    task = method.task(train_photos, data.split("val"))
    rng = np.random.default_rng(0)
    order = task.trainer.sampler
    batches = [rows for epoch in range(1 + steps // order.steps) for rows in order.epoch(epoch)][:steps]
    pixels = [torch.stack([task.augmentation(train_photos.image(int(i)), rng) for i in rows]) for rows in batches]
    seconds, losses = list[float](), list[float]()
    for rows, photos in zip(batches, pixels, strict=True):
        started = time.perf_counter()
        task.trainer._step(rows, photos)
        seconds.append(time.perf_counter() - started)
        losses.append(task.trainer._sums["loss"] - sum(losses))
    return {"photos_per_second": batch / float(np.median(seconds[steps // 2 :])), "losses": losses}


def _as_timm_has_it() -> None:
    """The tower as timm builds it, photos contiguous, memory as the C library keeps it."""
    mock.patch("ial_bench.encoders.towers.quicken", return_value=0).start()
    mock.patch("ial_bench.engine.features.keep_freed_memory", return_value=False).start()


def encode(city: Path, *, how: str, batch: int) -> dict[str, Any]:
    """Features of all photos: by the engine, by a bare loop of the same model, or by timm's own."""
    from ial_bench.datasets.dataset import Dataset
    from ial_bench.encoders.load import load_encoder
    from ial_bench.encoders.spec import EncoderSpec
    from ial_bench.encoders.timm_backbone import build_timm
    from ial_bench.engine.features import FeatureStore
    from ial_bench.machine import keep_freed_memory
    from ial_bench.progress import NoReport

    photos = Dataset(city).split("train", "val")
    encoder = load_encoder(TIMM, "cpu")
    run, preprocess = encoder.encode_images, encoder.preprocess
    if how == "timm":
        built = build_timm(TIMM, EncoderSpec.parse(TIMM))
        run, preprocess = built.model, built.preprocess
    else:
        keep_freed_memory()
    parts = [range(i, min(i + batch, len(photos))) for i in range(0, len(photos), batch)]
    seconds, found = [], np.zeros((0, 1280), np.float32)
    for number in range(4):
        started = time.perf_counter()
        if how == "engine":
            store = FeatureStore(city / f"cache{number}", "cpu", batch, 0, NoReport())
            store._encoders[TIMM], store._cards[TIMM] = encoder, encoder.card
            found = np.asarray(store.photos(TIMM, photos))
        else:
            blocks = []
            with torch.inference_mode():
                for part in parts:
                    pixels = torch.stack([preprocess(photos.image(i)) for i in part])
                    blocks.append(run(pixels).numpy())
            found = np.concatenate(blocks)
        seconds.append(time.perf_counter() - started)
    return {"photos_per_second": len(photos) / min(seconds[1:]), "sum": float(np.abs(found).sum())}


def main() -> None:
    """Run what the arguments say, and print it as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["plain", "engine", "encode-engine", "encode-bare", "encode-timm"])
    parser.add_argument("city", type=Path)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--batch", type=int, default=64)
    given = parser.parse_args()
    kind, _, how = given.what.partition("-")
    if kind == "encode":
        told = encode(given.city, how=how, batch=given.batch)
    else:
        told = train(given.city, plain=kind == "plain", steps=given.steps, batch=given.batch)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told["peak_gb"] = peak / (1e9 if sys.platform == "darwin" else 1e6)
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
