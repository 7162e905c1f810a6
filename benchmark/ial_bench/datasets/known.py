"""Datasets known by name: what each is, where to get it, how to import it."""

from __future__ import annotations

from dataclasses import dataclass


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
    """

    name: str
    title: str
    about: str
    reference: str
    obtain: tuple[str, ...]
    import_command: str

    def how_to_get(self) -> str:
        """The steps and the command, for an error message."""
        steps = "\n".join(f"    {i}. {step}" for i, step in enumerate(self.obtain, 1))
        return f"{self.title}: {self.about}\n{steps}\n    {len(self.obtain) + 1}. {self.import_command}"


SYNTH_CITY = DatasetCard(
    "synth-city",
    "Synth City",
    "3.4K train and 852 query pictures of a drawn city of 71 sub-streets (64x64), made on the spot in seconds: "
    "a control whose truth is known, not a claim about real cities.",
    "",
    (),
    "bench data synth",
)

_ANNOTATION = "get the annotation (JSON files) that the AddressCLIP authors link at github.com/xsx1001/AddressCLIP"
_SF_XL = "get the processed San Francisco XL images from the CosPlace authors: github.com/gmberton/CosPlace"

PITTS_IAL = DatasetCard(
    "pitts-ial",
    "Pitts-IAL",
    "234K train and 19K query photos of Pittsburgh (Pitts-250k, 480x640), about 6.7 GB.",
    "xu2024addressclip",
    (
        _ANNOTATION,
        "get the Pitts-250k images from the NetVLAD authors: www.di.ens.fr/willow/research/netvlad",
    ),
    "bench data import released --name pitts-ial --annotations ANNOTATIONS --images IMAGES "
    "--coords COORDS.csv --utm-zone 17N",
)
SF_IAL_BASE = DatasetCard(
    "sf-ial-base",
    "SF-IAL-Base",
    "184K train and 21K query photos of 6 km² of San Francisco (SF-XL, 512x512), about 6.8 GB.",
    "xu2024addressclip",
    (_ANNOTATION, _SF_XL),
    "bench data import released --name sf-ial-base --annotations ANNOTATIONS --images IMAGES",
)
SF_IAL_LARGE = DatasetCard(
    "sf-ial-large",
    "SF-IAL-Large",
    "1.96M train and 280K query photos of 170 km² of San Francisco (SF-XL, 512x512), about 121 GB.",
    "xu2024addressclip",
    (_ANNOTATION, _SF_XL),
    "bench data import released --name sf-ial-large --annotations ANNOTATIONS --images IMAGES",
)
