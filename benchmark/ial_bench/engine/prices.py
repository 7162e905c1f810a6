"""What computing costs: seconds and bytes of each unit of work.

They are reference figures, scaled by a probe of this machine: the time that a fixed piece of work takes.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ial_bench import images
from ial_bench.encoders.encoder import EncoderCard
from ial_bench.encoders.spec import EncoderSpec
from ial_bench.engine import provenance
from ial_bench.engine.timing import synchronise
from ial_bench.errors import DataError
from ial_bench.files import make_folder, read_toml
from ial_bench.json_files import read_sealed, write_sealed
from ial_bench.workload import Effort, Workload

FILE = Path(__file__).parent / "reference-costs.toml"
_USUAL_PASSES = 170  # multiplications per parameter of a usual image tower for a photo of the size below
_USUAL_PIXELS = 224 * 224
_TOGETHER = 32  # photos that are encoded at once
_MOMENTS = 4  # copies of what is trained: weights, gradients and the optimiser's two moments
PROBES = "probe"
_PROBE_SECONDS = 0.8  # for each of the two figures; a pass of the work takes some hundredths of a second
_BATCH, _SIDE, _WIDTH = 16, 64, 256
_PHOTO = (768, 1024)  # height and width of the photo that is decoded


@cache
def reference() -> Mapping[str, Any]:
    """The shipped figures, by their tables."""
    return read_toml(FILE)


@dataclass(frozen=True)
class Probe:
    """Seconds of the fixed work on one machine.

    Attributes:
        compute: convolutions and products of matrices, forwards and backwards.
        decode: reading a JPEG of 0.8 megapixels.
        measured: when, in ISO form with a zone.
    """

    compute: float
    decode: float
    measured: str

    @property
    def age(self) -> str:
        """How long ago it was measured, in words."""
        days = (datetime.now(timezone.utc) - datetime.fromisoformat(self.measured)).days
        return "today" if days <= 0 else f"{days:,} days ago"


def probe(device: str, cache: Path) -> Probe:
    """The machine's probe, as stored for this hardware or else measured now, which takes two seconds.

    Raises:
        StorageError: the cache cannot be written to.
    """
    path = cache / PROBES / f"{provenance.hardware_digest(provenance.hardware(device))}.json"
    try:
        return Probe(**read_sealed(path))
    except (DataError, TypeError):  # not measured yet, damaged, or of another release: measure it
        found = measure(device)
    make_folder(path.parent)
    write_sealed(path, asdict(found))
    return found


def measure(device: str) -> Probe:
    """Measure it, by the fastest of several passes.

    On the CPU this is the time of this thread, which does its share of the work: other load on the machine does not
    count.
    """
    clock = time.thread_time if device == "cpu" else time.perf_counter
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Probe(_fastest(_computing(device), clock), _fastest(_decoding(), clock), now)


@dataclass(frozen=True)
class Towers:
    """What one pass through an encoder takes.

    Attributes:
        image_flops: floating point operations of a photo.
        pixels: of a photo as the tower sees it.
        token_flops: of a token in the text tower.
        parameters: of both towers.
        megapixels: of a stored photo.
        factor: measured over estimated time of encoding a photo here; 1 where it was never measured.
    """

    image_flops: float = 0.0
    pixels: float = 0.0
    token_flops: float = 0.0
    parameters: float = 0.0
    megapixels: float = 0.0
    factor: float = 1.0

    @classmethod
    def of(cls, card: EncoderCard, flops: float | None, megapixels: float) -> Towers:
        """The towers of an encoder.

        Args:
            card: of the encoder.
            flops: of a photo, if a run counted them.
            megapixels: of the stored photos.
        """
        pixels = _pixels(card)
        if flops is None:
            spec = EncoderSpec.parse(card.spec)
            flops = reference()["flops"].get(f"{spec.library}:{spec.model}")
        if flops is None:
            flops = 2 * card.image_parameters * _USUAL_PASSES * pixels / _USUAL_PIXELS
        both = card.image_parameters + card.text_parameters
        return cls(flops, pixels, 2.0 * card.text_parameters, both, megapixels)


def _pixels(card: EncoderCard) -> float:
    size = card.preprocessing.get("size", card.preprocessing.get("input_size", 224))
    sides = [float(s) for s in (size if isinstance(size, (list, tuple)) else [size]) if s]
    return sides[-1] * sides[-2 if len(sides) > 1 else -1]


class Prices:
    """Seconds of units of work on one machine.

    Args:
        here: the machine's probe; None: the reference machine itself, for comparisons.
    """

    def __init__(self, here: Probe | None = None) -> None:
        self._seconds: Mapping[str, float] = reference()["seconds"]
        there = reference()["probe"]
        self.slower = 1.0 if here is None else here.compute / there["compute"]
        self._one_thread = 1.0 if here is None else here.decode / there["decode"]

    def photo(self, towers: Towers) -> float:
        """Seconds of encoding a photo, one of many."""
        return self.seconds(Effort(images=1), towers)

    def seconds(self, effort: Effort, towers: Towers) -> float:
        """Seconds of all of `effort`, photos and texts in batches."""
        price, giga = self._seconds, 1e-9
        decoded = (effort.images + effort.images_trained) * self._one_thread * self._decode(towers)
        images = towers.image_flops * giga * (
            effort.images * price["image_gflop"] + effort.images_trained * price["image_gflop_trained"]
        )  # fmt: skip
        texts = towers.token_flops * giga * (
            effort.tokens * price["text_gflop"] + effort.tokens_trained * price["text_gflop_trained"]
        )  # fmt: skip
        computed = self.slower * (texts + effort.flops * giga * price["gflop"])
        # What a step has beside its arithmetic gains nothing from threads or a GPU, as decoding does not.
        return (
            towers.factor * (decoded + self.slower * images)
            + computed
            + self._one_thread * effort.steps * price["step"]
        )

    def _decode(self, towers: Towers) -> float:
        price = self._seconds
        seen = price["megapixel_seen"] * towers.pixels / 1e6
        return price["photo"] + price["megapixel"] * towers.megapixels + seen

    def answers(self, query: Effort, towers: Towers, queries: int, cached: bool, calls: int, together: int) -> float:
        """Seconds of answering all queries, then measuring latency.

        Args:
            query: one answer.
            towers: of the encoder.
            queries: how many.
            cached: whether their features are there already.
            calls: photos that are answered one by one to measure latency.
            together: photos that are answered in batches to measure throughput.
        """
        own = Effort(0, 0, query.tokens, 0, query.flops) if cached else query
        alone = (
            self._one_thread * self._seconds["call"] if query.images else 0.0
        )  # the tower waits more than it computes
        single = self.seconds(query, towers) + alone
        return (
            self._one_thread * self._seconds["run"] + queries * self.seconds(own, towers) + calls * single
            + together * self.seconds(query, towers)
        )  # fmt: skip


@dataclass(frozen=True)
class Memory:
    """Bytes at the peak.

    Attributes:
        host: of the process.
        device: on the GPU; 0 where everything is computed on the CPU.
    """

    host: float
    device: float = 0.0


def peak_memory(work: Workload, towers: Towers, photos: int, on_gpu: bool) -> Memory:
    """The peak: process and libraries, towers, what is trained, activations of a step, and what the method holds.

    Args:
        work: of the method.
        towers: of its encoder.
        photos: rows of the dataset.
        on_gpu: whether it is computed on a GPU.
    """
    price = reference()["bytes"]
    image = price["activation"] * math.sqrt(towers.image_flops * towers.pixels)
    token = price["token_activation"] * math.sqrt(towers.token_flops)
    inferring = _TOGETHER * (image * price["inference_share"] + 12 * towers.pixels)
    training = work.batch * (image + 12 * towers.pixels) + work.batch_tokens * token
    computed = 4 * towers.parameters + 4 * _MOMENTS * work.trained + max(inferring, training) + work.held
    base = price["process"] + price["row"] * photos
    return Memory(base + towers.megapixels * 1e6 * 3, computed) if on_gpu else Memory(base + computed)


def checkpoint_bytes(work: Workload) -> float:
    """A training's checkpoint: weights, the best weights and two moments; twice, while a new one replaces the old."""
    return 4.0 * 4 * work.trained * 2


def fitted_bytes(work: Workload) -> float:
    """A fitted method in the cache."""
    return 4.0 * work.trained + work.stored


def _fastest(work: Callable[[], Any], clock: Callable[[], float]) -> float:
    work()  # the first pass loads libraries and takes memory
    took: list[float] = []
    ends = time.perf_counter() + _PROBE_SECONDS
    while len(took) < 3 or time.perf_counter() < ends:
        started = clock()
        work()
        took.append(clock() - started)
    return min(took)


def _computing(device: str) -> Callable[[], None]:
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, _WIDTH, 8, 8), nn.GELU(), nn.Flatten(2), nn.Linear(_SIDE, _WIDTH), nn.GELU(),
            nn.Linear(_WIDTH, _WIDTH), nn.LayerNorm(_WIDTH), nn.GELU(), nn.Linear(_WIDTH, _WIDTH),
        ).to(device)  # fmt: skip
        pixels = torch.randn(_BATCH, 3, _SIDE, _SIDE).to(device)

    def work() -> None:
        network.zero_grad(set_to_none=True)
        network(pixels).square().mean().backward()
        synchronise(device)

    return work


def _decoding() -> Callable[[], None]:
    from PIL import Image

    height, width = _PHOTO
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    pattern = np.stack([across ^ down, across + down, across * down >> 8], axis=2) & 255
    held = io.BytesIO()
    Image.fromarray(pattern.astype(np.uint8)).save(held, "JPEG", quality=85)
    data = held.getvalue()

    def work() -> None:
        images.decode(data, "the probe's photo")

    return work
