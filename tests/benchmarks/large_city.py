"""A dataset of the size of the largest known one, for benchmarks; and what they do with it, in a process of its own.

In `tests`:

    python -m benchmarks.large_city write FOLDER     write it
    python -m benchmarks.large_city score FOLDER     score answers to all queries, print the peak memory
    python -m benchmarks.large_city open FOLDER      open it, print the peak memory

SF-IAL-Large: 1.96 million train photos and 280,000 queries of 12,000 places, 3,616 addresses.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ial_bench.addresses import Address
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.record import Metrics
from ial_bench.engine.scoring import score
from ial_bench.topk import TopK
from support.apart import output_of
from support.made_city import truth_of, write_city

STORED = 10


@dataclass(frozen=True)
class CitySize:
    """How much of everything."""

    train: int
    queries: int
    places: int
    addresses: int


SMALL = CitySize(train=3_000, queries=2_000, places=100, addresses=90)
LARGE = CitySize(train=1_960_000, queries=280_000, places=12_000, addresses=3_616)


def write_large_city(folder: Path, size: CitySize) -> None:
    """Names as long as those of SF-XL; places of 24 train photos; each query place lies at one address."""
    rng = np.random.default_rng(0)
    addresses = [
        Address(f"Street {i // 8}", f"Quarter {i % 37}", (f"Crossing {i}", f"Crossing {i + 1}"))
        for i in range(size.addresses)
    ]
    train_places = np.arange(size.train) // 24
    query_places = np.sort(np.concatenate([np.arange(size.places), rng.integers(size.places, size=size.queries)]))
    query_places = np.sort(rng.permutation(query_places)[: size.queries])
    query_places[: size.places] = np.arange(size.places)  # none is left out
    places = [f"t{p:021d}" for p in train_places.tolist()] + [f"q{p:021d}" for p in query_places.tolist()]
    n = size.train + size.queries
    write_city(
        folder,
        sorted(addresses, key=lambda a: a.text),
        split=np.repeat(["train", "query"], [size.train, size.queries]),
        place=places,
        address=np.concatenate([train_places % size.addresses, query_places * 7919 % size.addresses]),
        lat=37.7 + 0.1 * rng.random(n),
        lon=-122.5 + 0.1 * rng.random(n),
        ids=[
            f"37.75/@0543256.96@4178906.48@10@S@037.75592@-122.50968@{p}@@{15 * (i % 24):03d}@@@@201311@{i:034d}@.jpg"
            for i, p in enumerate(places)
        ],
        name="large-city",
    )


def made_answers(city: Dataset) -> tuple[TopK, np.ndarray]:
    """Answers to all queries, and the place of the right one in each: 0 to 9, or 10 and 11 where it is missing."""
    labels = city.split("query").labels
    place = np.random.default_rng(1).integers(0, STORED + 2, size=len(labels))
    around = np.arange(STORED) - place[:, None]  # 0 where the truth is to stand
    indices = ((labels[:, None] + around) % len(city.candidates)).astype(np.int32)
    return TopK(indices, np.broadcast_to(-np.arange(STORED, dtype=np.float32), indices.shape)), place


def score_all(city: Dataset, top: TopK) -> Metrics:
    """What the benchmark times."""
    return score(top, truth_of(city))


def open_all(folder: Path) -> Dataset:
    """What the benchmark times: from a folder to its splits and candidates."""
    city = Dataset(folder)
    assert len(city.split_codes) == len(city)
    assert sum(len(city.rows(s)) for s in ("train", "val", "database", "query")) == len(city)
    assert len(city.candidates)
    return city


def peak_bytes(verb: str, folder: Path) -> int:
    """Peak resident memory of another process that does it."""
    return int(output_of("benchmarks.large_city", verb, folder).split()[-1])


def _main(verb: str, folder: Path) -> None:
    if verb == "write":
        write_large_city(folder, LARGE)
        return
    started = time.perf_counter()
    city = open_all(folder)
    if verb == "score":
        top, _ = made_answers(city)
        started = time.perf_counter()
        score_all(city, top)
    print(f"{verb}: {time.perf_counter() - started:.2f} s")
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    print(1024 * int(status.partition("VmHWM:")[2].split()[0]))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
