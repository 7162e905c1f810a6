"""How fast this machine is, by a fixed piece of work: what reference costs are scaled with."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from ial_bench.engine import provenance
from ial_bench.errors import DataError
from ial_bench.files import make_folder
from ial_bench.json_files import read_sealed, write_sealed

FOLDER = "probe"
_SECONDS = 0.8  # for each of both figures; a pass of the work is some hundredths of one
_BATCH, _SIDE, _WIDTH = 16, 64, 256
_PHOTO = (768, 1024)  # height and width of the photo that is decoded


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
    """The machine's probe, as it was remembered for this hardware or measured now, which takes two seconds.

    Raises:
        StorageError: the cache cannot be written to.
    """
    path = cache / FOLDER / f"{provenance.hardware_digest(provenance.hardware(device))}.json"
    try:
        return Probe(**read_sealed(path))
    except (DataError, TypeError):  # not measured yet, damaged, or of another release: it is measured anew
        found = measure(device)
    make_folder(path.parent)
    write_sealed(path, asdict(found))
    return found


def measure(device: str) -> Probe:
    """Measure it, by the fastest of several passes.

    On the CPU it is the time of this thread, which takes its share of all that is computed: others at work on the
    machine make it no slower one.
    """
    clock = time.thread_time if device == "cpu" else time.perf_counter
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Probe(_fastest(_computing(device), clock), _fastest(_decoding(), clock), now)


def _fastest(work: Callable[[], Any], clock: Callable[[], float]) -> float:
    work()  # the first pass loads libraries and takes memory
    took: list[float] = []
    ends = time.perf_counter() + _SECONDS
    while len(took) < 3 or time.perf_counter() < ends:
        started = clock()
        work()
        took.append(clock() - started)
    return min(took)


def _computing(device: str) -> Callable[[], None]:
    import torch
    from torch import nn

    from ial_bench.engine.timing import synchronise

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

    from ial_bench import images

    height, width = _PHOTO
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    pattern = np.stack([across ^ down, across + down, across * down >> 8], axis=2) & 255
    held = io.BytesIO()
    Image.fromarray(pattern.astype(np.uint8)).save(held, "JPEG", quality=85)
    data = held.getvalue()

    def work() -> None:
        images.decode(data, "the probe's photo")

    return work
