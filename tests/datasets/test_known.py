"""From a name or a path to a dataset."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.known import dataset_cards, installed, open_dataset
from ial_bench.datasets.table import DESCRIPTION
from ial_bench.errors import DataError, UnknownNameError


@pytest.fixture
def home(tiny_city: Dataset, tmp_path: Path) -> Path:
    """A data home with the datasets `alpha` and `beta`."""
    for name in ("beta", "alpha"):
        shutil.copytree(tiny_city.folder, tmp_path / "home" / name)
    (tmp_path / "home" / "half-done").mkdir()
    (tmp_path / "home" / "notes.txt").touch()
    return tmp_path / "home"


def test_by_name_in_a_home(home: Path) -> None:
    assert open_dataset("alpha", home).folder == (home / "alpha").resolve()


def test_by_name_in_the_default_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IAL_BENCH_DATA", str(home))
    assert open_dataset("beta").folder == (home / "beta").resolve()


def test_by_path(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert open_dataset(str(home / "alpha"), elsewhere).folder == (home / "alpha").resolve()
    monkeypatch.chdir(home)
    assert open_dataset("./alpha", elsewhere).folder == (home / "alpha").resolve()
    assert open_dataset("alpha", elsewhere).folder == (home / "alpha").resolve()  # a dataset in the working directory
    monkeypatch.setenv("HOME", str(home))
    assert open_dataset("~/beta", elsewhere).folder == (home / "beta").resolve()


@pytest.mark.parametrize(
    ("typed", "meant"), [("alhpa", "'alpha'"), ("sf-ial", "'sf-ial-base'"), ("pits-ial", "'pitts-ial'")]
)
def test_unknown_name_gets_a_hint(home: Path, typed: str, meant: str) -> None:
    with pytest.raises(UnknownNameError, match=f"unknown dataset '{typed}'; did you mean .*{meant}") as caught:
        open_dataset(typed, home)
    assert "bench list datasets" in (caught.value.fix or "")


def test_name_like_none_gets_no_hint(home: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown dataset 'zzz'") as caught:
        open_dataset("zzz", home)
    assert "did you mean" not in caught.value.problem


@pytest.mark.parametrize("name", ["sf-ial-large", "sf-ial-base", "pitts-ial"])
def test_known_but_absent_says_how_to_get_it(home: Path, name: str) -> None:
    with pytest.raises(DataError, match=f"dataset '{name}' is not in") as caught:
        open_dataset(name, home)
    assert str(home) in caught.value.problem
    fix = caught.value.fix or ""
    command = f"bench data import {name} --annotations ANNOTATIONS --images IMAGES"
    assert any(command in line for line in fix.splitlines())
    assert "github.com/xsx1001/AddressCLIP" in fix
    assert ("--mats" in fix) == (name == "pitts-ial")


def test_known_and_present(home: Path) -> None:
    (home / "alpha").rename(home / "sf-ial-large")
    assert open_dataset("sf-ial-large", home).folder.name == "sf-ial-large"


def test_cards_are_complete() -> None:
    cards = dataset_cards()
    assert list(cards) == ["pitts-ial", "sf-ial-base", "sf-ial-large", "synth-city"]
    for name, card in cards.items():
        assert card.name == name
        if name != "synth-city":  # which is made, not imported
            assert card.import_command.startswith(f"bench data import {name} ")
            assert card.obtain
    assert cards["synth-city"].import_command == "bench data synth"


@pytest.mark.parametrize("path", ["./none", "/none/at/all", "none/"])
def test_path_that_is_not_there(home: Path, path: str) -> None:
    with pytest.raises(DataError, match="no such dataset folder"):
        open_dataset(path, home)


def test_folder_that_is_no_dataset(home: Path) -> None:
    with pytest.raises(DataError, match=r"is not a dataset: no dataset\.toml"):
        open_dataset(str(home / "half-done"))
    with pytest.raises(UnknownNameError):
        open_dataset("half-done", home)  # by name it is nothing


def test_installed(home: Path, tmp_path: Path) -> None:
    assert [f.name for f in installed(home)] == ["alpha", "beta"]
    (home / "alpha" / DESCRIPTION).unlink()
    assert [f.name for f in installed(home)] == ["beta"]
    assert installed(tmp_path / "none") == []
