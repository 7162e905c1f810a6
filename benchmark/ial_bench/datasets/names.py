"""From what a user types to a dataset folder."""

from __future__ import annotations

from pathlib import Path

from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.table import DESCRIPTION
from ial_bench.errors import DataError, unknown_name
from ial_bench.homes import data_home
from ial_bench.registry import dataset_cards


def open_dataset(name_or_path: str, home: Path | None = None) -> Dataset:
    """Open a dataset by path, or by name in the data home.

    Args:
        name_or_path: anything with a ``/``, or an existing dataset folder, is a path.
        home: the data home; None for the default.

    Raises:
        DataError: a known dataset that is not there (says how to get it), or a folder that is no dataset.
        UnknownNameError: no such name.
    """
    path = Path(name_or_path).expanduser()
    if "/" in name_or_path or (path / DESCRIPTION).is_file():
        if not path.is_dir():
            raise DataError(f"no such dataset folder: {path}", "`bench list datasets` shows what is there")
        return Dataset(path)
    folder = data_home(home) / name_or_path
    if (folder / DESCRIPTION).is_file():
        return Dataset(folder)
    cards = dataset_cards()
    if name_or_path in cards:
        raise DataError(f"dataset {name_or_path!r} is not in {data_home(home)}", cards[name_or_path].how_to_get())
    known = {*cards, *(f.name for f in installed(home))}
    raise unknown_name("dataset", name_or_path, known, "`bench list datasets` shows all; a folder is given as ./FOLDER")


def installed(home: Path | None = None) -> list[Path]:
    """The dataset folders in the data home, sorted by name."""
    root = data_home(home)
    return sorted(p.parent for p in root.glob(f"*/{DESCRIPTION}")) if root.is_dir() else []
