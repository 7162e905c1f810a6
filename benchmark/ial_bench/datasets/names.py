"""Names of datasets: from what a user types to a folder, and which names are kept for published datasets.

No pyarrow here before a dataset is opened: tables and boards ask for kept names alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ial_bench.datasets.known import DatasetCard
from ial_bench.errors import ConfigError, DataError, unknown_name
from ial_bench.files import checked_name
from ial_bench.folders import data_home
from ial_bench.registry import dataset_cards

if TYPE_CHECKING:
    from ial_bench.datasets.dataset import Dataset


def open_dataset(name_or_path: str, home: Path | None = None) -> Dataset:
    """Open a dataset by path, or by name in the data home.

    Args:
        name_or_path: anything with a ``/``, or an existing dataset folder, is a path.
        home: the data home; None for the default.

    Raises:
        DataError: a known dataset that is not there (says how to get it), or a folder that is no dataset.
        UnknownNameError: no such name.
    """
    from ial_bench.datasets.dataset import Dataset
    from ial_bench.datasets.table import DESCRIPTION

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
    from ial_bench.datasets.table import DESCRIPTION

    root = data_home(home)
    return sorted(p.parent for p in root.glob(f"*/{DESCRIPTION}")) if root.is_dir() else []


def keeper_of(name: str) -> DatasetCard | None:
    """The card that keeps `name`, in whatever case, as some file systems ignore case; None: it is free."""
    cards = {called.casefold(): card for called, card in dataset_cards().items() if card.keeps_its_name}
    return cards.get(name.casefold())


def own_name(name: str) -> str:
    """`name`, if a dataset of one's own can have it.

    Raises:
        ConfigError: it can be no dataset's name, or it is kept for a published dataset.
    """
    card = keeper_of(checked_name(name))
    if card is not None:
        raise ConfigError(
            f"the name {name} is kept for {card.title} as it is published, with {card.size}",
            f"give another name, such as --name {another_name(card)}; {card.title} itself is made by "
            f"`bench data import {card.name}`",
        )
    return name


def another_name(card: DatasetCard) -> str:
    """A name for a part of a published dataset, such as ``my-sf-part``."""
    return f"my-{card.name.split('-')[0]}-part"
