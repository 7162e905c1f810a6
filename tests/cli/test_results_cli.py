"""`bench results`: packs written, verified and merged from the command line."""

from __future__ import annotations

import json
from pathlib import Path

from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.record import RunRecord
from ial_bench.engine.records import records
from ial_bench.packs.pack import Pack
from ial_bench.testing import make_tiny_city
from support.bench_command import Bench
from support.tampered_packs import tamper


def test_pack_verify_merge(bench: Bench, packed_results: Path, tiny_city: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "mine.ialpack"
    said = bench("results", "pack", "--results", packed_results, "--out", file, "--contact", "lab@example.org")
    assert said.code == 0, said.err
    said = bench("results", "verify", file, "--dataset", tiny_city.folder, "--json")
    assert said.code == 0, said.err
    assert all(run["holds"] for run in json.loads(said.out))
    said = bench("results", "merge", file, "--dataset", tiny_city.folder, "--results", tmp_path / "theirs")
    assert said.code == 0, said.err
    assert said.out.count("merged") == len(list(records(packed_results)))
    told = [r.received.contact for _, r in records(tmp_path / "theirs") if isinstance(r, RunRecord) and r.received]
    assert told == ["lab@example.org"] * len(list(records(packed_results)))
    board = bench("leaderboard", "--results", tmp_path / "theirs", "--format", "md")
    assert board.code == 0, board.err


def test_a_changed_number_ends_with_1_and_nothing_of_it_is_merged(
    bench: Bench, pack: Path, tiny_city: Dataset, tmp_path: Path
) -> None:
    tamper(pack, "SSA-1", 0, tmp_path / "bad.ialpack")
    said = bench("results", "verify", tmp_path / "bad.ialpack", "--dataset", tiny_city.folder)
    assert said.code == 1
    assert "lies outside of its interval" in said.err
    said = bench(
        "results", "merge", tmp_path / "bad.ialpack", "--dataset", tiny_city.folder, "--results", tmp_path / "r"
    )
    assert said.code == 1
    assert said.out.count("refused") == 1
    assert len(list(records(tmp_path / "r"))) == len(Pack.open(pack).manifest.runs) - 1


def test_a_pack_about_another_dataset_names_what_differs(bench: Bench, pack: Path, tmp_path: Path) -> None:
    other = make_tiny_city(tmp_path / "other", n_addresses=5)
    said = bench("results", "verify", pack, "--dataset", other.folder)
    assert said.code == 1
    assert "version of the dataset" in said.err
    assert "candidate set" in said.err or "ground truth" in said.err
