"""Speed and memory of the semantic address partition on all of San Francisco.

    pytest tests/benchmarks/test_partition_benchmark.py --benchmark-enable -s

Without ``--benchmark-enable`` on a part of the city, to see that it works.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = """
import sys, time
from pathlib import Path
from ial_bench.partition.geojson import read_geojson_streets
from ial_bench.partition.network import StreetNetwork
from ial_bench.partition.substreets import Partition
from ial_bench.engine.timing import PeakMemory

memory, started = PeakMemory("cpu"), time.perf_counter()
segments = read_geojson_streets(Path(sys.argv[1])).segments[: int(sys.argv[2])]
partition = Partition.of(StreetNetwork.of(segments))
addresses = {partition.address(s, "N").key for s in partition.subs}
print(len(segments), len(partition.subs), time.perf_counter() - started, memory.rss_bytes())
"""


def test_a_whole_city(benchmark: Any, street_maps: Path) -> None:
    """From the file to the addresses, in a process of its own, imports not counted."""
    most = 1000 if benchmark.disabled else 1_000_000
    command = [sys.executable, "-c", SCRIPT, str(street_maps / "san_francisco.geojson"), str(most)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    segments, subs, seconds, peak = (float(n) for n in done.stdout.split())
    assert subs > 0
    benchmark.extra_info |= {"segments": segments, "sub_streets": subs, "seconds": seconds, "peak_bytes": peak}
    print(f"\n{segments:,.0f} segments, {subs:,.0f} sub-streets in {seconds:.1f} s, peak {peak / 1e6:.0f} MB")
    benchmark(lambda: None)
