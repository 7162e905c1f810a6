"""One run id, one result: what options, workers and threads do to answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.features import FeatureStore
from ial_bench.progress import NoReport
from ial_bench.testing import CHECK_BACKBONE, make_tiny_city
from support.bench_command import Bench

METHODS = "linear-probe,retrieval,clip-zero-shot,two-stage"
OPTIONS = (
    ("--batch-size", "1"),
    ("--chunk", "40"),
    ("--chunk", "1", "--workers", "1"),
    ("--workers", "3", "--chunk", "100000"),
)


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """One of several batches, the last of each split a part of one."""
    return make_tiny_city(tmp_path_factory.mktemp("several-batches"), train_places=15, query_places=7)


def answers(bench: Bench, city: Dataset, home: Path, *options: str) -> dict[str, bytes]:
    said = bench(
        "run", "-d", city.folder, "-m", METHODS, "--backbone", CHECK_BACKBONE, "--no-timing", "--results",
        home / "results", "--cache", home / "cache", *options,
    )  # fmt: skip
    assert said.code == 0, said.err
    return {path.name: path.read_bytes() for path in home.glob("results/*/*/*.parquet")}


def test_no_option_changes_a_byte_of_the_answers(bench: Bench, city: Dataset, tmp_path: Path) -> None:
    assert len(city.split("train")) > 64
    assert len(city.split("train")) % 32
    usual = answers(bench, city, tmp_path / "usual", "--workers", "0")
    assert len(usual) == len(METHODS.split(",")) + 2  # and the ground truth, in two
    for number, options in enumerate(OPTIONS):
        assert answers(bench, city, tmp_path / str(number), *options) == usual, options


def test_a_batch_size_of_ones_own_is_told_to_have_no_effect(bench: Bench, city: Dataset, tmp_path: Path) -> None:
    said = bench("run", "-d", city.folder, "-m", "majority", "--batch-size", "7", "--results", tmp_path, "--no-timing")
    assert said.code == 0
    assert "--batch-size has no effect" in said.err


def test_threads_change_the_last_digits_alone(city: Dataset, tmp_path: Path) -> None:
    """Sums in another order: hardware and threads are told in the record, and are no part of a run's id."""
    photos = city.split("train")
    threads = torch.get_num_threads()
    found = []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            found.append(
                np.array(FeatureStore(tmp_path / str(number), "cpu", 32, 0, NoReport()).photos(CHECK_BACKBONE, photos))
            )
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-4, atol=1e-5 * np.abs(found[0]).max())
