"""A release as large as the largest known one, in SF-XL's layout, and its import in a process of its own.

    python tests/benchmarks/large_release.py write FOLDER     write it
    python tests/benchmarks/large_release.py import FOLDER    import it, print seconds and the peak memory

Images are hard links to some small files: 2 million names, but no room on the disk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from ial_bench.addresses import Address

VIEWS = 24  # of a panorama
_LINKS = 30_000  # names of a file; file systems have limits, ext4 65,000
_NOUNS = ("house", "garage door", "parked car", "tree", "street light", "fire hydrant", "blue van", "corner shop")


@dataclass(frozen=True)
class ReleaseSize:
    """How many photos and addresses."""

    train: int
    queries: int
    addresses: int


SMALL = ReleaseSize(train=2_400, queries=480, addresses=30)
LARGE = ReleaseSize(train=1_720_008, queries=280_008, addresses=3_616)
"""2 million photos, by whole panoramas."""


def photos(size: ReleaseSize) -> Iterator[tuple[str, list[str]]]:
    """Key and value of each photo: train, then queries. Positions lie in a box of 170 km²."""
    from pyproj import Transformer

    rng = np.random.default_rng(0)
    n = -(-(size.train + size.queries) // VIEWS)
    lat, lon = rng.uniform(37.71, 37.81, n), rng.uniform(-122.51, -122.36, n)
    east, north = Transformer.from_crs(4326, 32610, always_xy=True).transform(lon, lat)
    for p in range(n):
        i = p % size.addresses
        address = Address(f"{i // 8} Street", f"Quarter {i % 37}", (f"Crossing {i}", f"Crossing {i + 1}"))
        place = f"@{east[p]:010.2f}@{north[p]:.2f}@10@S@{lat[p]:09.5f}@{lon[p]:010.5f}@{p:022d}"
        for view in range(VIEWS):
            name = f"{place}@@{15 * view:03d}@@@@{201301 + p % 12}@@.jpg"
            nouns = (_NOUNS[(p + view * k) % len(_NOUNS)] for k in range(1, 6))
            caption = f"a street view of {', a '.join(nouns)}, number {(p * VIEWS + view) % 9973}"
            yield f"./{lat[p]:.2f}/{name}", [caption, address.verbose, address.text]


def write_release(folder: Path, size: ReleaseSize) -> None:
    """JSON files and images below `folder`."""
    every = photos(size)
    (folder / "annotations").mkdir(parents=True)
    source = folder / "images"
    for kind, count in (("train", size.train), ("queries", size.queries)):
        with (folder / "annotations" / f"sf_{kind}.json").open("w", encoding="utf-8") as file:
            for i, (key, value) in enumerate(islice(every, count)):
                file.write(f"{', ' if i else '{'}{json.dumps(key)}: {json.dumps(value)}")
                path = folder / "images" / key
                if i % _LINKS == 0:
                    source = folder / f"{kind}-{i}.jpg"
                    source.write_bytes(b"stands for a photo")
                try:
                    os.link(source, path)
                except FileNotFoundError:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    os.link(source, path)
            file.write("}")


def import_alone(folder: Path) -> tuple[float, int]:
    """Seconds and peak resident bytes of another process that imports what `write_release` wrote."""
    command = [sys.executable, __file__, "import", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, peak = done.stdout.splitlines()[-1].split()
    return float(seconds), int(peak)


def _main(verb: str, folder: Path) -> None:
    if verb == "write":
        write_release(folder, LARGE)
        return
    from ial_bench.cli.main import main

    started = time.perf_counter()
    common = ["--annotations", str(folder / "annotations"), "--images", str(folder / "images")]
    own = ["--name", "large", "--out", str(folder / "out"), "--force"]
    sys.argv = ["bench", "data", "import", "sf-ial-large", *common, *own]
    try:
        main()
    except SystemExit as done:
        if done.code:
            raise
    seconds = time.perf_counter() - started
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    print(f"{seconds:.1f} {1024 * int(status.partition('VmHWM:')[2].split()[0])}")


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
