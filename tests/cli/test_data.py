"""`bench data`: content digests and exports."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from ial_bench.cli.data import size_of
from ial_bench.datasets.contents import CONTENTS
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.photos import Photos
from ial_bench.errors import ConfigError
from ial_bench.testing import CHECK_BACKBONE
from support.bench_command import Bench
from support.made_contents import hashed, replace_photo, stored, without_contents
from support.made_release import sound_release


@pytest.fixture
def old(tiny_city: Dataset, tmp_path: Path) -> Dataset:
    """As an earlier release made it."""
    return without_contents(tiny_city, tmp_path / "old")


def test_an_old_dataset_is_given_them_and_then_compared(bench: Bench, old: Dataset) -> None:
    said = bench("data", "contents", old.folder)
    assert said.code == 0, said.err
    assert "84 content digests taken" in said.out
    assert "`bench run` makes them anew" in said.out
    assert "read tiny-city: 84 photos in" in said.err
    assert stored(old) == hashed(old)
    again = bench("data", "contents", old.folder, "--workers", "1")
    assert (again.code, again.out) == (0, "tiny-city: all 84 photos have the content that they had\n")


def test_what_differs_is_listed_and_overwritten_only_when_asked_to(
    bench: Bench, tiny_city: Dataset, tmp_path: Path
) -> None:
    data = Dataset(Path(shutil.copytree(tiny_city.folder, tmp_path / "city")))
    photos = Photos(data, np.arange(len(data)))
    for i in range(20, 32):
        replace_photo(photos, i)
    before = stored(data)
    refused = bench("data", "contents", data.folder)
    assert refused.code == 1
    assert refused.out.splitlines()[1:11] == [photos.relative_path(i) for i in range(20, 30)]
    assert "12 of 84 photos have other content than before" in refused.out
    assert "--overwrite" in refused.out
    assert stored(data) == before
    taken = bench("data", "contents", data.folder, "--overwrite")
    assert taken.code == 0
    assert stored(data) == hashed(data) != before


def test_an_import_may_leave_them_out(bench: Bench, tmp_path: Path) -> None:
    tree = sound_release(tmp_path)
    options = tree.options()
    assert options.coords is not None
    words = [
        "data", "import", "released", "--name", "town", "--annotations", options.annotations, "--images",
        options.images, "--coords", options.coords, "--out", tmp_path / "out",
    ]  # fmt: skip
    said = bench(*words)
    assert said.code == 0, said.err
    assert "read photos: 36 photos in" in said.err
    assert stored(Dataset(tmp_path / "out")) == hashed(Dataset(tmp_path / "out"))
    assert bench(*words, "--no-contents", "--force").code == 0
    assert not (tmp_path / "out" / CONTENTS).exists()


def test_a_union_says_whose_are_missing(bench: Bench, tiny_city: Dataset, tmp_path: Path) -> None:
    _, town = sound_release(tmp_path / "release").load()
    said = bench("data", "join", tiny_city.folder, town.folder, "--name", "both", "--out", tmp_path / "both")
    assert (said.code, "note:" in said.out) == (0, False)
    (town.folder / CONTENTS).unlink()
    said = bench("data", "join", tiny_city.folder, town.folder, "--name", "both", "--out", tmp_path / "both", "--force")
    assert said.code == 0, said.err
    assert f"note: no content digests, for {town.folder} has none: `bench data contents`" in said.out
    assert Dataset(tmp_path / "both").contents is None


def test_export_then_verify_then_run(bench: Bench, tiny_city: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = bench("data", "export", tiny_city.folder, "--webdataset", "--out", out, "--shard-size", "60KB")
    assert said.code == 0, said.err
    first, *splits, following = said.out.splitlines()
    assert first == f"{tiny_city.name}: 84 photos in 10 shards, 0.000 GB"
    assert splits == [
        "  train: 000000.tar to 000004.tar",
        "  val: 000005.tar to 000006.tar",
        "  query: 000007.tar to 000009.tar",
    ]
    assert following == f"next: bench data verify {out}"
    assert bench("data", "verify", out).code == 0
    arguments = ("-m", "linear-probe", "--backbone", CHECK_BACKBONE, "--set", "linear-probe.c=1", "--no-timing")
    before = bench("run", "-d", tiny_city.folder, *arguments)
    after = bench("run", "-d", out, *arguments)
    assert (before.code, after.code) == (0, 0), after.err
    assert bench("list", "runs").out.count("linear-probe") == 1  # the run that is there is found


def test_verify_names_a_shard_that_is_gone(bench: Bench, tiny_city: Dataset, tmp_path: Path) -> None:
    bench("data", "export", tiny_city.folder, "--webdataset", "--out", tmp_path / "out", "--shard-size", "60KB")
    (tmp_path / "out" / "shards" / "000003.tar").unlink()
    said = bench("data", "verify", tmp_path / "out", "--quick")
    assert said.code == 1
    assert "shard missing" in said.out
    assert "000003.tar" in said.out


def test_a_form_must_be_named(bench: Bench, tiny_city: Dataset, tmp_path: Path) -> None:
    said = bench("data", "export", tiny_city.folder, "--out", tmp_path / "out")
    assert said.code != 0
    assert "fix: give --webdataset" in said.err


@pytest.mark.parametrize(
    ("text", "size"),
    [("1GB", 10**9), ("500 mb", 5 * 10**8), ("1.5GiB", 3 * 2**29), ("7", 7), ("2k", 2000), ("1TB", 10**12), ("9B", 9)],
)
def test_sizes(text: str, size: int) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "1PB", "1e9", "0.1", "١GB", "1 G B", "nan"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ConfigError, match="--shard-size"):
        size_of(text)
