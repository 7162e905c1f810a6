"""A step of AddressCLIP through the training engine against a plain open_clip loop with the same losses on texts.

The plain loop encodes every photo, every address and every caption with its address at full context, one a sample, as
one would write it with open_clip alone: ClipLoss twice, AdamW, clipped gradients. The engine encodes each different
text once and leaves out what lies behind its end, and has the geography loss on top. The figure is the ratio:
`pytest tests/benchmarks/test_training_benchmark.py --benchmark-enable -s`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from torch import nn

from ial_bench.encoders.towers import load_towers
from ial_bench.engine.features import FeatureStore
from ial_bench.method import RunContext
from ial_bench.progress import NoReport
from ial_bench.testing import make_tiny_city
from ial_methods.addressclip.method import AddressClip

BACKBONE = "openclip:tiny-street/random-init"


class Engine:
    """Steps of `addressclip`, with photos that are decoded already."""

    def __init__(self, city: Path, captions: list[str], batch: int) -> None:
        from ial_bench.datasets.dataset import Dataset

        data = Dataset(city)
        store = FeatureStore(city / "cache", "cpu", 8, 0, NoReport())
        context = RunContext(0, "cpu", store, NoReport())
        config = AddressClip.Config(backbone=BACKBONE, batch_size=batch, min_scale=1.0, jitter=0.0)
        train = data.split("train")
        self.task = AddressClip(config, context).task(train, data.split("val"))
        self.task._take_captions(captions)
        self.rows = self.task.trainer.sampler.epoch(0)[0]
        rng = np.random.default_rng(0)
        self.pixels = torch.stack([self.task.augmentation(train.image(int(i)), rng) for i in self.rows])
        self.addresses = [self.task._address_texts[a] for a in train.labels[self.rows]]
        self.captions = [captions[i] for i in self.rows]

    def step(self) -> None:
        self.task.trainer._step(self.rows, self.pixels)


class Plain:
    """The loop one would write by hand."""

    def __init__(self, pixels: torch.Tensor, addresses: list[str], captions: list[str]) -> None:
        towers = load_towers(BACKBONE, "cpu")
        self.model = towers.model.requires_grad_(requires_grad=True)
        self.tokenize = towers._tokenizer
        self.loss = open_clip.ClipLoss()
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=4e-4, betas=(0.9, 0.98), weight_decay=0.05)
        self.pixels, self.addresses, self.captions = pixels, addresses, captions

    def step(self) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        model: Any = self.model
        images = model.encode_image(self.pixels, normalize=True)
        addresses = model.encode_text(self.tokenize(self.addresses), normalize=True)
        joined = [f"{c}, {a}" for c, a in zip(self.captions, self.addresses, strict=True)]
        captions = model.encode_text(self.tokenize(joined), normalize=True)
        scale = model.logit_scale.exp()
        loss = self.loss(images, addresses, scale) + 0.2 * self.loss(images, captions, scale)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, np.log(100))


def captions_for(n: int, words: int) -> list[str]:
    """All different, `words` words each."""
    rng = np.random.default_rng(0)
    known = ["a", "red", "house", "with", "tall", "windows", "beside", "the", "shop", "and", "two", "trees", "street"]
    return [" ".join([str(i), *rng.choice(known, words - 1)]) for i in range(n)]


@pytest.mark.parametrize("texts", ["as in a city", "all different"])
def test_a_step_against_a_plain_loop(benchmark: Any, tmp_path: Path, texts: str) -> None:
    full = not benchmark.disabled
    batch = 64 if full else 4
    if texts == "all different":  # each photo of the batch has an address of its own: nothing is encoded once for many
        city = make_tiny_city(tmp_path / "city", batch + 8, train_places=1, views=1, size=64, val=False)
    else:
        city = make_tiny_city(tmp_path / "city", 16, train_places=7, size=64)
    engine = Engine(city.folder, captions_for(len(city.split("train")), 20), batch)
    plain = Plain(engine.pixels, engine.addresses, engine.captions)
    different = len(set(engine.addresses))
    rounds = 15 if full else 1
    times: dict[str, list[float]] = {"plain": [], "engine": []}
    for one in (plain, engine) if full else ():
        one.step()
    for _ in range(rounds):  # in turns, so that a machine whose speed drifts is fair to both
        for name, taken in _timed(plain, engine):
            times[name].append(taken)
    ratios = np.array(times["engine"]) / np.array(times["plain"])
    benchmark.extra_info |= {"batch": batch, "different": different, "ratio": float(np.median(ratios))}
    low, high = np.percentile(ratios, [25, 75])
    print(
        f"\n{texts}: {batch} photos, {different} addresses: engine / plain loop = {np.median(ratios):.3f} "
        f"(quartiles {low:.3f}, {high:.3f}); engine {np.median(times['engine']):.3f} s a step"
    )
    benchmark(engine.step)


def _timed(plain: Plain, engine: Engine) -> Iterator[tuple[str, float]]:
    for name, step in (("plain", plain.step), ("engine", engine.step)):
        started = time.perf_counter()
        step()
        yield name, time.perf_counter() - started
