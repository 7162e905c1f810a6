"""Names that are kept: a dataset that has published numbers is not called so unless it is that one."""

from __future__ import annotations

from ial_bench.datasets.known import DatasetCard
from ial_bench.errors import ConfigError
from ial_bench.files import checked_name
from ial_bench.registry import dataset_cards


def keeper_of(name: str) -> DatasetCard | None:
    """The card that keeps `name`, in whatever case, as file systems may not tell cases apart; None: it is free."""
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
