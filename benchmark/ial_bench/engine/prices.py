"""What computing costs: seconds and bytes of each unit of work, by reference figures and this machine's probe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ial_bench.encoders.encoder import EncoderCard
from ial_bench.encoders.spec import EncoderSpec
from ial_bench.engine.probe import Probe
from ial_bench.files import read_toml
from ial_bench.workload import Effort, Workload

FILE = Path(__file__).parent / "reference-costs.toml"
_USUAL_PASSES = 170  # that each parameter of an image tower makes over a photo of the next size, in a usual tower
_USUAL_PIXELS = 224 * 224
_TOGETHER = 32  # photos that are encoded at once
_MOMENTS = 4  # copies of what is trained: weights, gradients, two moments of the optimiser


@cache
def reference() -> Mapping[str, Any]:
    """The shipped figures, by their tables."""
    return read_toml(FILE)


@dataclass(frozen=True)
class Towers:
    """What one pass through an encoder takes.

    Attributes:
        image_flops: floating point operations of a photo.
        pixels: of a photo as the tower sees it.
        token_flops: of a token in the text tower.
        parameters: of both towers.
        megapixels: of a stored photo.
        factor: what encoding a photo took here over what its price says; 1 where it was never measured.
    """

    image_flops: float = 0.0
    pixels: float = 0.0
    token_flops: float = 0.0
    parameters: float = 0.0
    megapixels: float = 0.0
    factor: float = 1.0

    @classmethod
    def of(cls, card: EncoderCard, flops: float | None, megapixels: float) -> Towers:
        """Those of an encoder.

        Args:
            card: of it.
            flops: of a photo, where a run counted them.
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
        here: the machine's probe; None: the reference machine itself, for what is only compared.
    """

    def __init__(self, here: Probe | None = None) -> None:
        self._seconds: Mapping[str, float] = reference()["seconds"]
        there = reference()["probe"]
        self.slower = 1.0 if here is None else here.compute / there["compute"]
        self._decoding = 1.0 if here is None else here.decode / there["decode"]

    def photo(self, towers: Towers) -> float:
        """Encoding a photo, one of many."""
        return self.seconds(Effort(images=1), towers)

    def seconds(self, effort: Effort, towers: Towers) -> float:
        """Doing all of it, photos and texts in batches."""
        price, giga = self._seconds, 1e-9
        decoded = (effort.images + effort.images_trained) * self._decoding * self._decode(towers)
        images = towers.image_flops * giga * (
            effort.images * price["image_gflop"] + effort.images_trained * price["image_gflop_trained"]
        )  # fmt: skip
        texts = towers.token_flops * giga * (
            effort.tokens * price["text_gflop"] + effort.tokens_trained * price["text_gflop_trained"]
        )  # fmt: skip
        rest = effort.flops * giga * price["gflop"] + effort.steps * price["step"]
        return towers.factor * (decoded + self.slower * images) + self.slower * (texts + rest)

    def _decode(self, towers: Towers) -> float:
        price = self._seconds
        seen = price["megapixel_seen"] * towers.pixels / 1e6
        return price["photo"] + price["megapixel"] * towers.megapixels + seen

    def answers(self, query: Effort, towers: Towers, queries: int, cached: bool, calls: int, together: int) -> float:
        """Answering all queries, then measuring latency.

        Args:
            query: one answer.
            towers: of the encoder.
            queries: how many.
            cached: whether their features are there already.
            calls: photos that are answered one by one for the latency.
            together: those that are answered in batches for the throughput.
        """
        own = Effort(0, 0, query.tokens, 0, query.flops) if cached else query
        alone = self.slower * self._seconds["call"] if query.images else 0.0  # a tower waits more than it computes
        single = self.seconds(query, towers) + alone
        return (
            self.slower * self._seconds["run"] + queries * self.seconds(own, towers) + calls * single
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
    """The process with its libraries, towers, what is trained, activations of a step, and what the method holds.

    Args:
        work: of the method.
        towers: of its encoder.
        photos: rows of the dataset.
        on_gpu: whether it is computed on a GPU.
    """
    told = reference()["bytes"]
    image = told["activation"] * math.sqrt(towers.image_flops * towers.pixels)
    token = told["token_activation"] * math.sqrt(towers.token_flops)
    inferring = _TOGETHER * (image * told["inference_share"] + 12 * towers.pixels)
    training = work.batch * (image + 12 * towers.pixels) + work.batch_tokens * token
    computed = 4 * towers.parameters + 4 * _MOMENTS * work.trained + max(inferring, training) + work.held
    base = told["process"] + told["row"] * photos
    return Memory(base + towers.megapixels * 1e6 * 3, computed) if on_gpu else Memory(base + computed)


def checkpoint_bytes(work: Workload) -> float:
    """A training's checkpoint: weights, the best ones, and two moments; two of them while one replaces the other."""
    return 4.0 * 4 * work.trained * 2


def fitted_bytes(work: Workload) -> float:
    """A fitted method in the cache."""
    return 4.0 * work.trained + work.stored
