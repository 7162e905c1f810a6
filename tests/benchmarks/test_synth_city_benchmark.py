"""Speed of the synth city, and whether there is something to learn in it that is not learnt at once.

    pytest tests/benchmarks/test_synth_city_benchmark.py --benchmark-enable -s

Without ``--benchmark-enable`` on a small city, to see that it works. The learner is a plain one that needs no
encoder: nearest photo by its 16 x 16 thumbnail and the mean colours of its quarters.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.photos import Photos
from ial_bench.synth.captions import caption
from ial_bench.synth.captures import TRAIN, captures_of, places_of
from ial_bench.synth.city import plan_city
from ial_bench.synth.options import PRESETS, CityOptions
from ial_bench.synth.render import photo_of, trace
from ial_bench.synth.write import make_city

FULL = PRESETS["synth-city-dev-1"]  # never the shipped city
SMALL = CityOptions(seed=101, blocks=(3, 3), size=32, train_places=8, query_places=3)
TINY = replace(SMALL, blocks=(1, 3))


def test_milliseconds_a_photo(benchmark: Any) -> None:
    """Tracing, light and caption of one photo at 64 px."""
    city = plan_city(FULL)
    shots = [c for sub in range(0, 71, 5) for p in places_of(city, sub, TRAIN)[:3] for c in captures_of(city, p, 4)]

    def photograph() -> None:
        for capture in shots if not benchmark.disabled else shots[:8]:
            seen = trace(city, capture, 64)
            photo_of(city, capture, seen)
            caption(city, capture, seen)

    benchmark(photograph)
    if not benchmark.disabled:
        each = benchmark.stats.stats.median / len(shots) * 1e3
        benchmark.extra_info["ms_per_photo"] = each
        print(f"\n{each:.2f} ms a photo of 64 px, caption included")


def test_seconds_a_preset(benchmark: Any, tmp_path: Path) -> None:
    options = TINY if benchmark.disabled else FULL
    started = time.perf_counter()
    data = make_city(tmp_path / "city", options, workers=1 if benchmark.disabled else 2)
    seconds = time.perf_counter() - started
    assert len(data) == options.n_photos
    benchmark.extra_info |= {"seconds": seconds, "photos": len(data)}
    print(f"\n{len(data):,} photos in {seconds:.1f} s")
    benchmark(make_city, tmp_path / "city", options)  # a city that is there already


MEMORY = """
import os, sys, threading, time
from pathlib import Path
from ial_bench.synth.options import CityOptions
from ial_bench.synth.write import make_city
from ial_bench.engine.timing import PeakMemory

def watch(peaks):
    # The workers are children of a server: of this session they are all the others.
    while True:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                pid = int(process.name)
                if pid != os.getpid() and os.getsid(pid) == os.getsid(0):
                    told = (process / "status").read_text()
                    peaks.append(int(told.partition("VmHWM:")[2].split()[0]) * 1024)
            except (OSError, IndexError):
                continue  # it has ended
        time.sleep(0.02)


if __name__ == "__main__":  # its workers import it too
    memory, peaks = PeakMemory("cpu"), []
    threading.Thread(target=watch, args=(peaks,), daemon=True).start()
    blocks, size = (int(n) for n in sys.argv[2].split("x")), int(sys.argv[3])
    data = make_city(Path(sys.argv[1]), CityOptions(seed=101, blocks=tuple(blocks), size=size), workers=2)
    print(len(data), memory.rss_bytes(), max(peaks))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_photos(benchmark: Any, tmp_path: Path) -> None:
    """Peaks of the process and of its largest worker, on a city and on one of about ten times the photos.

    Workers hold a photo at a time. The process holds the tables, about 2 kB a photo.
    """
    script = tmp_path / "make.py"
    script.write_text(MEMORY)
    peaks: list[tuple[int, int, int]] = []
    for blocks in ("1x3", "3x5") if benchmark.disabled else ("3x4", "9x10"):
        folder = tmp_path / blocks
        command = [sys.executable, str(script), str(folder), blocks, "16" if benchmark.disabled else "64"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, start_new_session=True)
        photos, own, worker = (int(n) for n in done.stdout.split())
        peaks.append((photos, own, worker))
        print(f"\n{photos:,} photos: peak {own / 1e6:.0f} MB, a worker {worker / 1e6:.0f} MB")
    benchmark.extra_info["peaks"] = peaks
    (few, *small), (many, *large) = peaks
    assert many > 9 * few
    assert all(b < 2 * a for a, b in zip(small, large, strict=True))
    benchmark(lambda: None)


def features(photos: Photos) -> npt.NDArray[np.float64]:
    """[n, d], unit length."""
    rows = []
    for i in range(len(photos)):
        photo = photos.image(i).astype(np.float64)
        side = len(photo)
        small = photo.reshape(16, side // 16, 16, side // 16, 3).mean(axis=(1, 3))
        hues = photo / (photo.sum(axis=2, keepdims=True) + 1)
        quarters = hues.reshape(2, side // 2, 4, side // 4, 3)
        rows.append(
            np.concatenate([(small - small.mean()).ravel() / small.std(), 200 * quarters.mean(axis=(1, 3)).ravel()])
        )
    found = np.array(rows)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def nearest_photo(data: Dataset, shuffled: bool = False) -> float:
    """SSA-1 of giving a query the address of the nearest train photo."""
    train, query = data.split("train", "val"), data.split("query")
    labels = train.address_rows
    if shuffled:
        labels = np.random.default_rng(0).permutation(labels)
    nearest = (features(query) @ features(train).T).argmax(axis=1)
    return float((labels[nearest] == query.address_rows).mean())


def test_there_is_something_to_learn(benchmark: Any, tmp_path: Path) -> None:
    options = SMALL if benchmark.disabled else FULL
    chance = 1 / options.n_sub_streets
    whole = make_city(tmp_path / "whole", options)
    scores = {
        "all": nearest_photo(whole),
        "shuffled addresses": nearest_photo(whole, shuffled=True),
        "coverage 1/4": nearest_photo(make_city(tmp_path / "quarter", replace(options, coverage=0.25))),
        "one place": nearest_photo(make_city(tmp_path / "one", replace(options, train_places=1))),
        "label noise 1/2": nearest_photo(make_city(tmp_path / "noise", replace(options, label_noise=0.5))),
        "no day shift": nearest_photo(make_city(tmp_path / "same", replace(options, day_shift=0.0))),
    }
    benchmark.extra_info |= scores
    print("\n" + ", ".join(f"{name} {100 * value:.1f} %" for name, value in scores.items()))
    assert scores["all"] > 3 * chance
    assert scores["all"] < 0.95
    assert abs(scores["shuffled addresses"] - chance) < 3 * np.sqrt(chance / (3 * options.n_sub_streets))
    assert scores["one place"] < scores["coverage 1/4"] + 0.05 < scores["all"] + 0.05
    assert scores["label noise 1/2"] < scores["all"]
    benchmark(lambda: None)
