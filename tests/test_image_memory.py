"""Photos are decoded in the memory that their header tells, and those that would take too much are refused unread."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import features

from ial_bench.images import MAX_BYTES
from support import decoding_memory

ALL = 500_000_000  # bytes that a process does not pass
SLACK = 8_000_000  # a band in float64, and what libraries allocate at their first call
WITHIN = sorted(k for k in decoding_memory.KINDS if not k.startswith("too-large"))

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the system does not tell the peak of a process's memory"
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("photos")
    command = [sys.executable, "-W", "ignore", decoding_memory.__file__, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return {told["kind"]: told for told in map(json.loads, done.stdout.splitlines())}


def test_avif_is_among_them_where_pillow_reads_it(measured: dict[str, dict[str, Any]]) -> None:
    assert measured.keys() == decoding_memory.KINDS.keys()
    assert ("avif" in measured) == features.check("avif")


@pytest.mark.parametrize("kind", WITHIN)
def test_no_more_is_taken_than_the_header_tells(measured: dict[str, dict[str, Any]], kind: str) -> None:
    found = measured[kind]
    assert found["file"] + found["grew"] <= found["told"] + SLACK
    if found["told"]:
        assert found["error"] == ""


@pytest.mark.parametrize("kind", ["large-16", "large-float", "large-jpeg"])
def test_within_the_limit_a_process_stays_below_half_a_gigabyte(measured: dict[str, dict[str, Any]], kind: str) -> None:
    found = measured[kind]
    assert 0.9 * MAX_BYTES < found["told"] <= MAX_BYTES
    assert found["error"] == ""
    assert found["process"] < ALL


@pytest.mark.parametrize("kind", ["too-large-webp", "too-large-jpeg"])
def test_what_takes_more_is_refused_unread(measured: dict[str, dict[str, Any]], kind: str) -> None:
    found = measured[kind]
    assert found["told"] > MAX_BYTES
    assert f"takes {found['told'] / 1e6:,.0f} MB, over the limit of {MAX_BYTES / 1e6:,.0f}" in found["error"]
    assert found["grew"] < SLACK


@pytest.mark.parametrize("kind", ["text", "long-text", "profile"])
def test_what_unpacks_beside_the_pixels_is_refused_before_it_is_large(
    measured: dict[str, dict[str, Any]], kind: str
) -> None:
    found = measured[kind]
    assert found["file"] < 500_000
    assert "is damaged: Decompressed data too large" in found["error"]
