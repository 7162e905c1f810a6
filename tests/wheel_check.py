"""Run from the wheel's own environment, outside the checkout: is all there that a user needs?"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path

NEEDED = (
    "ial_bench/py.typed",
    "ial_methods/py.typed",
    "ial_bench/engine/run-record.schema.json",
    "ial_bench/method_template.py.txt",
    "ial_bench/encoders/openclip_models/lite0.json",
    "ial_bench/encoders/openclip_models/tiny-check.json",
    "ial_bench/encoders/openclip_models/tiny-street.json",
    "ial_bench/encoders/openclip_models/tiny-street.merges.txt.gz",
    "ial_bench/encoders/openclip_models/tiny-street.synth.safetensors",
    "ial_bench/geocoding/street_words.toml",
    "ial_bench/report/published_numbers/xu2024addressclip.json",
    "ial_bench/report/site/assets/common.js",
    "ial_bench/report/site/templates/base.html.j2",
)


def bench(*arguments: str) -> str:
    """What `bench` prints; a failure stops the check."""
    done = subprocess.run(["bench", *arguments], check=True, text=True, stdout=subprocess.PIPE)
    return done.stdout


def main() -> None:
    """Look into the distribution, then use it."""
    files = {str(f) for f in distribution("ial-bench").files or ()}
    missing = [name for name in NEEDED if name not in files]
    strangers = [f for f in files if f.startswith(("tests/", "results/", "docs/"))]
    if missing or strangers:
        sys.exit(f"missing from the wheel: {missing}; too much in it: {strangers}")

    import ial_bench
    from ial_bench.report.published import published_rows
    from ial_bench.testing import CHECK_BACKBONE, make_tiny_city

    if "site-packages" not in str(Path(ial_bench.__file__)):
        sys.exit(f"not the installed package: {ial_bench.__file__}")
    if len(published_rows("pitts-ial")) < 6:
        sys.exit("the published numbers are not found")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ.update(IAL_BENCH_CACHE=str(folder / "cache"), IAL_BENCH_RESULTS=str(folder / "results"))
        city = make_tiny_city(folder / "city").folder
        bench("data", "verify", str(city))
        table = bench("run", "--dataset", str(city), "--backbone", CHECK_BACKBONE, "--set", "linear-probe.c=1")
        for title in ("Linear probe", "Retrieval", "CLIP zero-shot", "GPS oracle", "Random", "Most frequent address"):
            if title not in table:
                sys.exit(f"{title} is not in the leaderboard:\n{table}")
    print("the wheel is whole and works")


if __name__ == "__main__":
    main()
