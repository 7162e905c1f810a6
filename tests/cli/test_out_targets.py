"""`--out` of every verb that writes a file: a link or a pipe in its place is refused, and stays as it is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ial_bench.datasets.dataset import Dataset
from support.bench_command import Bench


def commands(city: Dataset, results: Path, out: Path) -> dict[str, list[str]]:
    """A call of each verb that writes the file `out`."""
    about = ["--dataset", city.name, "--results", str(results)]
    return {
        "leaderboard": ["leaderboard", *about, "--format", "md", "--out", str(out)],
        "bib": ["leaderboard", *about, "--bib", str(out)],
        "plot": ["plot", "distance", *about, "--out", str(out)],
        "pack": ["results", "pack", *about, "--out", str(out)],
        "sheet": ["data", "show", str(city.folder), "--sheet", str(out)],
        "new-method": ["new-method", "my-method", "--force", "--out", str(out)],
        "pretrain": ["pretrain", "tiny", "--out", str(out)],
    }


SUFFIXES = {"plot": ".png", "sheet": ".png", "pretrain": ".safetensors"}


@pytest.mark.parametrize("verb", ["leaderboard", "bib", "plot", "pack", "sheet", "new-method", "pretrain"])
def test_links_and_pipes_stay(
    bench: Bench, tiny_city: Dataset, packed_results: Path, tmp_path: Path, verb: str
) -> None:
    link, pipe = (tmp_path / f"{name}{SUFFIXES.get(verb, '')}" for name in ("link", "pipe"))
    (tmp_path / "notes").write_text("mine")
    link.symlink_to(tmp_path / "notes")
    os.mkfifo(pipe)
    for out, told in ((link, "it is a link, to"), (pipe, "it is a device, a pipe or a socket")):
        said = bench(*commands(tiny_city, packed_results, out)[verb])
        assert (said.code, f"cannot write {out}: {told}" in said.err) == (1, True), said.err
    assert link.is_symlink()
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert (tmp_path / "notes").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([link.name, pipe.name, "notes"])
