"""A pipe where a file is expected: a clear error, and not a wait for ever."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ial_bench import files
from ial_bench.datasets.dataset import Dataset
from ial_bench.errors import DataError
from support.bench_command import Bench
from support.made_records import run_baselines


@pytest.fixture(autouse=True)
def _patience() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError("it waits for the pipe")

    earlier = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, earlier)


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe.csv")
    return tmp_path / "pipe.csv"


NAMED = {
    "a table to check": ("leaderboard", "--results", "RESULTS", "--check", "PIPE"),
    "a layout": ("leaderboard", "--results", "RESULTS", "--layout", "PIPE"),
    "settings": ("run", "-d", "CITY", "-m", "majority", "--config", "PIPE"),
    "photos": ("data", "build", "--name", "x", "--photos", "PIPE", "--streets", "PIPE"),
    "coordinates": (
        "data", "import", "released", "--name", "x", "--annotations", "ANNOTATIONS", "--images", "CITY",
        "--coords", "PIPE",
    ),
    "captions": ("data", "caption", "CITY", "--captioner", "PIPE", "--overwrite"),
    "a pack": ("results", "verify", "PIPE", "--dataset", "CITY"),
    "who may sign": ("results", "verify", "PACK", "--dataset", "CITY", "--signers", "PIPE"),
    "a plugin": ("check", "x", "--plugin", "PIPE"),
    "a photo": (
        "predict", "PIPE", "--dataset", "CITY", "--method", "majority", "--results", "RESULTS", "--cache", "CACHE",
    ),
}  # fmt: skip


@pytest.mark.parametrize("words", NAMED.values(), ids=NAMED)
def test_a_pipe_on_the_command_line_is_refused(
    bench: Bench, tiny_city: Dataset, pack: Path, pipe: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    run_baselines(tiny_city, tmp_path, ["majority"])
    annotations = tmp_path / "annotations"
    annotations.mkdir()
    for kind in ("train", "queries"):
        (annotations / f"x_{kind}.json").write_text('{"a.jpg": ["", "", "Street, Quarter (A, B)"]}')
    meant = {
        "PIPE": pipe, "RESULTS": tmp_path / "results", "CITY": tiny_city.folder, "PACK": pack,
        "ANNOTATIONS": annotations, "CACHE": tmp_path / "cache",
    }  # fmt: skip
    said = bench(*(meant.get(word, word) for word in words))
    assert said.code != 0
    assert str(pipe) in said.err
    assert "TimeoutError" not in said.err
    assert "unexpected" not in said.err


@pytest.mark.parametrize(
    "name", ["dataset.toml", "photos.parquet", "addresses.parquet", "streets.parquet", "shards.parquet"]
)
def test_a_pipe_in_a_dataset_is_refused(bench: Bench, tiny_city: Dataset, tmp_path: Path, name: str) -> None:
    shutil.copytree(tiny_city.folder, tmp_path / "city")
    (tmp_path / "city" / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / "city" / name)
    said = bench("data", "verify", tmp_path / "city")
    assert said.code != 0
    assert name in said.out + said.err
    assert "TimeoutError" not in said.err


@pytest.mark.parametrize("which", ["*.json", "*.predictions.parquet", "../ground-truth/*.queries.parquet"])
def test_a_pipe_among_results_is_told_and_the_rest_is_shown(
    bench: Bench, tiny_city: Dataset, tmp_path: Path, which: str
) -> None:
    run_baselines(tiny_city, tmp_path, ["majority", "random"])
    (file,) = (tmp_path / "results" / tiny_city.name / "majority").glob(which)
    file.unlink()
    os.mkfifo(file)
    said = bench("leaderboard", "--results", tmp_path / "results", "-f", "md")
    assert "| Random |" in said.out
    assert "TimeoutError" not in said.err
    assert file.name in said.err or "taken as told" in said.out


def test_an_endless_device_is_refused() -> None:
    with pytest.raises(DataError, match="a device"):
        files.read_file(Path("/dev/zero"))
    with pytest.raises(DataError, match="a device"):
        files.check_regular(Path("/dev/zero"))
