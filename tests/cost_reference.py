"""Measures the figures that costs are told by where no run tells them, on this machine.

python tests/cost_reference.py                  prints benchmark/ial_bench/engine/reference-costs.toml
python tests/cost_reference.py --update         writes it

Each figure is of one unit of work alone, measured by itself, and none is fitted to a dataset. Figures of towers are the
geometric mean of a small one and a large one: small ones wait for memory and calls, large ones compute. Times are of
the processor, by one thread (OMP_NUM_THREADS=1): what others do on the machine is not in them. Bytes and operations
stay as they stand in the file, which says what they are of.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from ial_bench.encoders.towers import ClipTowers, load_towers
from ial_bench.engine.prices import FILE, measure
from ial_bench.images import decode, read
from ial_bench.method import FeatureSource, RunContext
from ial_bench.progress import NoReport
from ial_bench.training.config import TrainingConfig
from ial_bench.training.loop import TrainingTask

_SECONDS = 0.5
_TOKENS = 24


@dataclass(frozen=True)
class Known:
    """A CLIP with the operations that the counter of torch finds in it."""

    spec: str
    batch: int


MODELS = (Known("openclip:tiny-street/synth", 32), Known("openclip:ViT-B-16/random-init", 1))


def seconds_of(work: Callable[[], Any]) -> float:
    """The fastest of its passes."""
    work()
    took: list[float] = []
    ends = time.process_time() + _SECONDS
    while len(took) < 2 or time.process_time() < ends:
        started = time.process_time()
        work()
        took.append(time.process_time() - started)
    return min(took)


def flops_of(work: Callable[[], Any]) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def towers() -> dict[str, float]:
    """Seconds of 1e9 operations in image and text towers, forwards, and of those that a training does for as many."""
    found: dict[str, list[float]] = {}
    for model in MODELS:
        of = load_towers(model.spec, "cpu")
        size = of.preprocessing["size"]
        side = size[0] if isinstance(size, (list, tuple)) else size
        pixels = torch.randn(model.batch, 3, side, side)
        tokens = _tokens(of, 2 * model.batch)
        per_token = 2.0 * sum(p.numel() for p in of.text_parameters()) * _TOKENS * len(tokens)
        for name, flops, run in (
            ("image_gflop", flops_of(lambda: of.encode_pixels(pixels)), lambda: of.encode_pixels(pixels)),  # noqa: B023 - used in the loop
            ("text_gflop", per_token, lambda: of.encode_tokens(tokens)),  # noqa: B023
        ):
            with torch.inference_mode():
                found.setdefault(name, []).append(seconds_of(run) / flops * 1e9)
            for parameter in of.parameters():
                parameter.requires_grad = True

            def both_ways(run: Callable[[], torch.Tensor] = run, of: ClipTowers = of) -> None:
                of.zero_grad(set_to_none=True)
                run().float().square().mean().backward()  # type: ignore[no-untyped-call]

            found.setdefault(f"{name}_trained", []).append(seconds_of(both_ways) / flops * 1e9)
            for parameter in of.parameters():
                parameter.requires_grad = False
    return {name: geometric_mean(values) for name, values in found.items()}


def _tokens(of: ClipTowers, n: int) -> torch.Tensor:
    """Texts that begin differently: what texts share goes through the tower once."""
    tokens = of.tokenize([" ".join(["street"] * (_TOKENS - 2))] * n)
    letters = torch.randint(1, 250, (n, _TOKENS - 2), generator=torch.Generator().manual_seed(0))
    tokens[:, 1 : _TOKENS - 1] = letters  # the first tokens of any vocabulary of CLIP's
    return tokens


class _Head(TrainingTask):
    """A linear head on features: what the smallest trainings have in each step."""

    def __init__(self, n: int, dim: int, classes: int, batch: int) -> None:
        context = RunContext(0, "cpu", cast("FeatureSource", None), NoReport())  # no features are asked for
        config = TrainingConfig(epochs=1, batch_size=batch)
        super().__init__("reference", config, context, nn.Linear(dim, classes), n, lambda: None)
        self._x, self._y = torch.randn(n, dim), torch.randint(classes, (n,))

    def inputs(self, batches: list[Any], epoch: int) -> Any:
        yield from (self._x[b] for b in batches)

    def losses(self, rows: Any, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": nn.functional.cross_entropy(self.module(inputs), self._y[rows])}


def heads() -> dict[str, float]:
    """Seconds of a step beside its arithmetic, and of 1e9 operations on features."""
    started = time.process_time()
    log = _Head(64 * 200, 16, 8, 64).trainer.run()
    step = (time.process_time() - started) / log.steps
    batch, dim, classes = 256, 512, 1024
    x, weights = torch.randn(batch, dim), torch.randn(dim, classes, requires_grad=True)

    def product() -> None:
        (x @ weights).exp().mean().backward()  # type: ignore[no-untyped-call]

    a, b = np.random.default_rng(0).normal(size=(1024, dim)).astype(np.float32), np.ones((dim, 512), np.float32)
    dense = seconds_of(product) / (4.0 * batch * dim * classes)
    return {"step": step, "gflop": geometric_mean([dense, seconds_of(lambda: a @ b) / (2.0 * 1024 * dim * 512)]) * 1e9}


def photos() -> dict[str, float]:
    """Seconds of a megapixel of a stored JPEG, and of one that a tower sees."""
    import io

    from PIL import Image

    of = load_towers(MODELS[1].spec, "cpu")
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)).resize((1024, 768))
    held = io.BytesIO()
    coarse.save(held, "JPEG", quality=85)
    photo = decode(held.getvalue(), "a photo")
    stored = seconds_of(lambda: decode(held.getvalue(), "a photo")) / (1024 * 768 / 1e6)
    small = np.asarray(Image.fromarray(photo).resize((224, 224)))
    seen = seconds_of(lambda: of.preprocess(small)) / (224 * 224 / 1e6)
    return {"photo": _photo(), "megapixel": stored, "megapixel_seen": seen}


def _photo() -> float:
    """Seconds of a photo of next to no pixels: reading and decoding it, and making it a tensor."""
    import io

    from PIL import Image

    of = load_towers(MODELS[0].spec, "cpu")
    held = io.BytesIO()
    Image.new("RGB", (64, 64)).save(held, "JPEG")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        path.write_bytes(held.getvalue())
        return seconds_of(lambda: of.preprocess(read(path)))


def answers() -> dict[str, float]:
    """Seconds of one answer beside its arithmetic."""
    of = load_towers(MODELS[0].spec, "cpu")
    photo = np.zeros((64, 64, 3), np.uint8)

    def one() -> None:
        with torch.inference_mode():
            of.encode_pixels(of.preprocess(photo)[None])

    many = torch.randn(32, 3, 64, 64)
    with torch.inference_mode():
        batched = seconds_of(lambda: of.encode_pixels(many)) / 32
    return {"call": max(0.0, seconds_of(one) - batched)}


def main() -> None:
    """Print or write the file."""
    torch.set_num_threads(1)
    probed = measure("cpu")
    seconds = {"run": 0.5}
    for figures in (photos, heads, answers, towers):
        seconds |= figures()
        print(seconds, file=sys.stderr, flush=True)
    old = FILE.read_text(encoding="utf-8")
    lines = ["# Written by tests/cost_reference.py, on one machine: see there what each figure is of.", "", "[probe]"]
    lines += [f"compute = {probed.compute:.6g}", f"decode = {probed.decode:.6g}", f'measured = "{probed.measured}"']
    lines += ["", "[seconds]", *(f"{name} = {value:.3g}" for name, value in seconds.items())]
    text = "\n".join(lines) + "\n\n" + old[old.index("[bytes]") :]
    if "--update" in sys.argv:
        FILE.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
