"""Timing as the protocol defines it: synchronised and after a warm-up, with peak memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ial_bench.datasets.photos import Photos
from ial_bench.engine.record import QueryPhase, TimedPhase
from ial_bench.image_batch import ImageBatch
from ial_bench.method import Method
from ial_bench.seeds import generator

WARMUP_CALLS = 20
TIMED_CALLS = 200
THROUGHPUT_BATCH = 32
_DISTINCT_PHOTOS = 64  # decoded photos kept in memory for the timed calls
_CLEAR_REFS, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def synchronise(device: str) -> None:
    """Wait until the device has finished its work. Nothing to wait for without torch or on a CPU."""
    if device.startswith("cuda") and (torch := sys.modules.get("torch")) is not None:
        torch.cuda.synchronize(device)


def inference_mode() -> AbstractContextManager[Any]:
    """Torch's inference mode, where torch is in use."""
    torch = sys.modules.get("torch")
    return nullcontext() if torch is None else torch.inference_mode()


class PeakMemory:
    """Peak resident and device memory since it was made."""

    def __init__(self, device: str) -> None:
        self._device = device
        # Linux: reset the high-water mark. Elsewhere the mark since the process began is an upper bound.
        with suppress(OSError):
            _CLEAR_REFS.write_text("5")
        if device.startswith("cuda") and (torch := sys.modules.get("torch")) is not None:
            torch.cuda.reset_peak_memory_stats(device)

    def rss_bytes(self) -> int:
        """Peak resident memory."""
        with suppress(OSError):  # not Linux: the process's resource usage follows
            for line in _STATUS.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    def device_bytes(self) -> int | None:
        """Peak memory torch allocated on the device, None on a CPU."""
        if self._device.startswith("cuda") and (torch := sys.modules.get("torch")) is not None:
            return int(torch.cuda.max_memory_allocated(self._device))
        return None


@contextmanager
def timed(device: str) -> Iterator[Callable[[], TimedPhase]]:
    """Time the block; the function that it gets returns, afterwards, how long it took and what it used."""
    memory = PeakMemory(device)
    synchronise(device)
    started = time.perf_counter()
    ended: list[float] = []

    def measured() -> TimedPhase:
        return TimedPhase(
            seconds=ended[0] - started,
            peak_rss_bytes=memory.rss_bytes(),
            peak_device_bytes=memory.device_bytes(),
        )

    yield measured
    synchronise(device)
    ended.append(time.perf_counter())


def measure_queries(method: Method, queries: Photos, k: int, device: str) -> QueryPhase:
    """Latency at batch 1, throughput, decoding time and operations of `method` on photos of `queries`.

    Raises:
        ImageError: a photo cannot be decoded.
    """
    order = generator("latency order").permutation(len(queries))
    decode_ms: list[float] = []
    batches: list[ImageBatch] = []
    for i in order[:_DISTINCT_PHOTOS]:
        one = queries.part(np.array([i]))
        started = time.perf_counter_ns()
        photo = one.image(0)
        decode_ms.append((time.perf_counter_ns() - started) / 1e6)
        batches.append(ImageBatch.from_arrays([photo], one.keys(), one.positions if method.info.oracle else None))

    memory = PeakMemory(device)
    with inference_mode():
        for call in range(WARMUP_CALLS):
            method.predict(batches[call % len(batches)], k)
        took = np.empty(TIMED_CALLS)
        for call in range(TIMED_CALLS):
            batch = batches[call % len(batches)]
            synchronise(device)
            started = time.perf_counter_ns()
            method.predict(batch, k)
            synchronise(device)
            took[call] = time.perf_counter_ns() - started
        several = _joined(batches, THROUGHPUT_BATCH, method.info.oracle)
        method.predict(several, k)
        synchronise(device)
        started = time.perf_counter_ns()
        rounds = 3
        for _ in range(rounds):
            method.predict(several, k)
        synchronise(device)
        seconds = (time.perf_counter_ns() - started) / 1e9
        flops = _flops(lambda: method.predict(batches[0], k))
    p50, p95, p99 = np.percentile(took / 1e6, [50, 95, 99]).tolist()
    return QueryPhase(
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        n=TIMED_CALLS,
        warmup=WARMUP_CALLS,
        decode_p50_ms=float(np.median(decode_ms)),
        images_per_second=rounds * len(several) / seconds,
        throughput_batch=len(several),
        torch_flops=flops,
        peak_rss_bytes=memory.rss_bytes(),
        peak_device_bytes=memory.device_bytes(),
    )


def _joined(batches: list[ImageBatch], size: int, oracle: bool) -> ImageBatch:
    chosen = [batches[i % len(batches)] for i in range(size)]
    return ImageBatch.from_arrays(
        [b[0] for b in chosen],
        np.concatenate([b.keys for b in chosen]),
        np.concatenate([b.positions for b in chosen]) if oracle else None,
    )


def _flops(call: Callable[[], object]) -> int | None:
    """Floating point operations of torch in `call`, None where none can be counted."""
    if "torch" not in sys.modules:
        return None
    from torch.utils.flop_counter import FlopCounterMode

    try:
        with FlopCounterMode(display=False) as counter:
            call()
    except Exception:  # noqa: BLE001 - the same call has just worked many times, so the counter is at fault
        return None
    return int(counter.get_total_flops()) or None
