"""Datasets by name: the cards of known ones, the names that are kept for them, and the folder that a name stands for.

pyarrow is not imported before a dataset is opened: tables and boards only ask for kept names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ial_bench.errors import ConfigError, DataError, unknown_name
from ial_bench.files import checked_name
from ial_bench.folders import data_home
from ial_bench.plugin_source import error_line

if TYPE_CHECKING:
    from ial_bench.datasets.dataset import Dataset
    from ial_bench.progress import Reporter

_SET_ASIDE = 0.01
"""Share of its records that an import may set aside by default."""


@dataclass(frozen=True)
class Expected:
    """A published count of a dataset.

    Attributes:
        what: what is counted.
        count: how many.
        rounded_to: the published number's last digit: 234K is rounded to 1,000.
        source: of the number.
        cut: whether the digits behind the last were cut off, not rounded: 234K for 234,912.
        tells: ``candidates`` or ``queries``, of a count that identifies the dataset, since published accuracies are
            measured on that many; empty for counts that are only shown.
    """

    what: str
    count: int
    rounded_to: int = 1
    source: str = "the paper"
    cut: bool = False
    tells: Literal["", "candidates", "queries"] = ""

    @property
    def said(self) -> str:
        """The count as it is published."""
        return f"{'about ' if self.rounded_to > 1 else ''}{self.count:,}"

    def compare(self, found: int) -> tuple[str, bool]:
        """A line on `found`, and whether it is the published count, as far as that was rounded."""
        if self.cut:
            met = self.count <= found < self.count + self.rounded_to
        else:
            met = abs(found - self.count) <= self.rounded_to / 2
        share = f" ({found / self.count - 1:+.1%})" if not met and self.count else ""
        return f"{found:,} {self.what}{share}; {self.source}: {self.said}", met

    def admits(self, found: int) -> bool:
        """Whether `found` can be the count of the published dataset.

        It may be off by the rounding of the published number or by what an import may set aside, whichever is more: an
        import that lost a few photos measures the same task. Parts of the city, and other cities, are further off.
        """
        return abs(found - self.count) <= max(self.rounded_to / 2, _SET_ASIDE * self.count)


@dataclass(frozen=True)
class DatasetCard:
    """A dataset that the harness knows but does not carry.

    Attributes:
        name: the name to run it by.
        title: for people.
        about: size and source, in a sentence.
        reference: citation key of its paper.
        obtain: where its parts come from, in steps.
        import_command: the exact command that makes it a dataset folder.
        citation: the works to cite.
        licence: its terms, in words.
        disk: how much room it takes.
        place_rule: how the place is read from a photo's name; empty to find out.
        utm_zone: zone of its UTM positions; empty where it has none.
        expected: its published counts.
        make: makes it in a folder, with nothing to obtain first; None where there is.
    """

    name: str
    title: str
    about: str
    reference: str
    obtain: tuple[str, ...]
    import_command: str
    citation: tuple[str, ...] = ()
    licence: str = ""
    disk: str = ""
    place_rule: str = ""
    utm_zone: str = ""
    expected: tuple[Expected, ...] = ()
    make: Callable[[Path, Reporter], object] | None = None

    def steps(self) -> tuple[str, ...]:
        """What to do to have it: where its parts come from, then the command."""
        return (*self.obtain, self.import_command)

    def how_to_get(self) -> str:
        """The steps, for an error message."""
        steps = "\n".join(f"    {i}. {step}" for i, step in enumerate(self.steps(), 1))
        return f"{self.title}: {self.about}\n{steps}"

    @property
    def keeps_its_name(self) -> bool:
        """Whether no other dataset may have its name: its published counts show which one is meant."""
        return any(e.tells for e in self.expected)

    @property
    def size(self) -> str:
        """The published counts that it is known by, such as ``428 candidates and about 19,000 queries``."""
        return " and ".join(f"{e.said} {e.tells}" for e in sorted(self.expected, key=lambda e: e.tells) if e.tells)

    def admits(self, n_candidates: int, n_queries: int) -> bool:
        """Whether a dataset of these counts is this one.

        Accuracies depend on how many addresses a query may be given and on which queries are asked: numbers that are
        published for this dataset may stand beside measured ones only where both counts are as published, as far as
        `Expected.admits` them. True where none are published.

        Args:
            n_candidates: addresses of its train, val and database photos.
            n_queries: query photos.
        """
        found = {"candidates": n_candidates, "queries": n_queries}
        return all(e.admits(found[e.tells]) for e in self.expected if e.tells)

    def facts(self) -> dict[str, str]:
        """What is known of it, for people, without empty entries."""
        facts = {
            "about": self.about,
            "cite": "; ".join(self.citation),
            "terms": self.licence,
            "disk": self.disk,
            "published counts": "; ".join(f"{e.said} {e.what} ({e.source})" for e in self.expected),
        }
        return {key: text for key, text in facts.items() if text}


_ANNOTATION = "get the annotation (JSON files) that the AddressCLIP authors link at github.com/xsx1001/AddressCLIP"
_SF_XL = (
    "get the processed San Francisco XL images from the CosPlace authors, by the form that they link at "
    "github.com/gmberton/CosPlace"
)
_PITTS_250K = (
    "get the Pitts-250k images and the pitts250k_{train,val,test}.mat files from the NetVLAD authors: "
    "www.di.ens.fr/willow/research/netvlad"
)
_ADDRESSCLIP = (
    "Xu, Zhang, Fan, Meng, Xiang, Ye: AddressCLIP: Empowering Vision-Language Models for City-wide Image Address "
    "Localization. ECCV 2024. arXiv 2407.08156"
)
_COSPLACE = "Berton, Masone, Caputo: Rethinking Visual Geo-localization for Large-Scale Applications. CVPR 2022"
_TERMS = (
    "for research. The photos are cut from Google Street View panoramas and given out by their authors for research; "
    "the terms that come with each download hold. Neither photos nor annotation are part of ial-bench, and a dataset "
    "folder made of them is not for passing on"
)
_TRAINED, _QUERIES = "train, val and database photos", "query photos"
_TRAIN_ADDRESSES, _QUERY_ADDRESSES = f"addresses of {_TRAINED}", f"addresses of {_QUERIES}"
_READER = "a public re-implementation"
_PANORAMAS = "24 views of each of Pitts-250k's 10,586 panoramas"

PITTS_IAL = DatasetCard(
    "pitts-ial",
    "Pitts-IAL",
    "234K train and database photos and 19K query photos of 20 km² of Pittsburgh (Pitts-250k, 480x640), about 6.7 GB.",
    "xu2024addressclip",
    (_ANNOTATION, _PITTS_250K),
    "bench data import pitts-ial --annotations ANNOTATIONS --images IMAGES --mats MATS",
    citation=(
        _ADDRESSCLIP,
        "photos: Torii, Sivic, Pajdla, Okutomi: Visual Place Recognition with Repetitive Structures. CVPR 2013",
        "splits: Arandjelović, Gronat, Torii, Pajdla, Sivic: NetVLAD. CVPR 2016",
    ),
    licence=_TERMS,
    disk="6.7 GB of train and val photos, query photos besides; less than 0.1 GB for the dataset folder",
    place_rule="path-view",  # numbers recur: those of queries_real are not those of the database
    utm_zone="17N",
    expected=(
        # 177,840 of the train file and 57,072 of the database file: whether the paper trained on both is not known.
        Expected(_TRAINED, 234_000, 1_000, source='the paper, as "train and val"', cut=True),
        Expected(_QUERIES, 19_000, 1_000, tells="queries"),
        Expected(_TRAIN_ADDRESSES, 428, tells="candidates"),
        Expected(_QUERY_ADDRESSES, 327),
        Expected("records of the train file", 177_840, source=_READER),
        Expected("records of the database file", 57_072, source=_PANORAMAS),
        Expected("records of the queries file", 19_152, source=_READER),
        Expected("records of all files", 254_064, source=_PANORAMAS),
        Expected("places of the train file", 7_410, source=_PANORAMAS),
        Expected("places of the database file", 2_378, source=_PANORAMAS),
        Expected("places of the queries file", 798, source=_PANORAMAS),
        Expected("places", 10_586, source=_PANORAMAS),
        Expected("addresses", 428, source=_READER),
    ),
)
SF_IAL_BASE = DatasetCard(
    "sf-ial-base",
    "SF-IAL-Base",
    "184K train and 21K query photos of 6 km² of San Francisco (SF-XL, 512x512), about 6.8 GB.",
    "xu2024addressclip",
    (_ANNOTATION, _SF_XL),
    "bench data import sf-ial-base --annotations ANNOTATIONS --images IMAGES",
    citation=(_ADDRESSCLIP, f"photos: {_COSPLACE}"),
    licence=_TERMS,
    disk="6.8 GB of train and val photos, query photos besides; less than 0.1 GB for the dataset folder",
    place_rule="sf-xl",
    expected=(
        Expected(_TRAINED, 184_000, 1_000),
        Expected(_QUERIES, 21_000, 1_000, tells="queries"),
        Expected(_TRAIN_ADDRESSES, 400, tells="candidates"),
        Expected(_QUERY_ADDRESSES, 369),
    ),
)
SF_IAL_LARGE = DatasetCard(
    "sf-ial-large",
    "SF-IAL-Large",
    "1.96M train and 280K query photos of 170 km² of San Francisco (SF-XL, 512x512), about 121 GB.",
    "xu2024addressclip",
    (_ANNOTATION, _SF_XL),
    "bench data import sf-ial-large --annotations ANNOTATIONS --images IMAGES",
    citation=(_ADDRESSCLIP, f"photos: {_COSPLACE}"),
    licence=_TERMS,
    disk="121 GB of train and val photos, query photos besides; less than 0.5 GB for the dataset folder",
    place_rule="sf-xl",
    expected=(
        Expected(_TRAINED, 1_960_000, 10_000),
        Expected(_QUERIES, 280_000, 1_000, tells="queries"),
        Expected(_TRAIN_ADDRESSES, 3_616, tells="candidates"),
        Expected(_QUERY_ADDRESSES, 3_406),
    ),
)


def dataset_cards() -> dict[str, DatasetCard]:
    """The datasets known by name, sorted.

    Raises:
        ConfigError: one of a plugin cannot be imported.
    """
    cards = {}
    for point in sorted(entry_points(group="ial_bench.datasets"), key=lambda p: p.name):
        try:
            cards[point.name] = point.load()
        except (Exception, SystemExit) as error:
            origin = point.dist.name if point.dist else point.value
            raise ConfigError(
                f"dataset {point.name!r} of {origin} is broken: {error_line(error, None)}",
                "mend or uninstall the plugin",
            ) from error
    return cards


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
    """The card that keeps `name`, in upper or lower case, as some file systems ignore it; None: it is free."""
    cards = {called.casefold(): card for called, card in dataset_cards().items() if card.keeps_its_name}
    return cards.get(name.casefold())


def own_name(name: str) -> str:
    """`name`, if a user's dataset may have it.

    Raises:
        ConfigError: it is not a valid name, or it is kept for a published dataset.
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
