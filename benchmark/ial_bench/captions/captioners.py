"""What writes captions: the models known by name, and the form all captions are brought into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ial_bench.captions.read import SUFFIXES
from ial_bench.errors import ConfigError
from ial_bench.images import RGB

PROMPT = "A street view of"
"""What every caption begins with (AddressCLIP, section 3.2)."""
MIN_WORDS, MAX_WORDS = 10, 30
FORMS = "blip-large, blip-base, blip:FOLDER, coca:MODEL/PRETRAINED_OR_FILE or the path of a .jsonl or .csv file"
BLIP_REPOSITORIES = {
    "blip-base": "Salesforce/blip-image-captioning-base",
    "blip-large": "Salesforce/blip-image-captioning-large",
}


@dataclass(frozen=True)
class CaptionLength:
    """Words of a caption, the prompt's among them.

    Attributes:
        least: the model is kept from ending before.
        most: what is longer is cut.
    """

    least: int = MIN_WORDS
    most: int = MAX_WORDS


class Captioner(Protocol):
    """Writes captions."""

    @property
    def identity(self) -> str:
        """What its captions depend on: model and weights."""
        ...

    def captions(self, photos: Sequence[RGB]) -> list[str]:
        """A caption of each photo, uint8 [height, width, 3]."""
        ...


def open_captioner(spec: str, device: str, length: CaptionLength) -> Captioner:
    """The model that `spec` names.

    Raises:
        ConfigError: no such captioner, or it cannot be had here; with the way out.
        DataError: a damaged or foreign checkpoint.
    """
    if spec in BLIP_REPOSITORIES or spec.startswith("blip:"):
        from ial_bench.captions.blip import Blip

        return Blip(spec, device, length)
    if spec.startswith("coca:"):
        from ial_bench.captions.coca import CoCa

        return CoCa(spec.removeprefix("coca:"), device, length)
    raise ConfigError(f"{spec!r} is no captioner", f"one of {FORMS}")


def is_file_spec(spec: str) -> bool:
    """Whether captions are to be read rather than written."""
    return Path(spec).suffix.lower() in SUFFIXES


def trimmed(text: str, length: CaptionLength) -> str:
    """`text` on one line, begun by the prompt, of at most so many words; a broken-off end is left as it is."""
    words = text.split()
    prompt = PROMPT.split()
    if [w.lower() for w in words[: len(prompt)]] == [w.lower() for w in prompt]:
        words = words[len(prompt) :]
    return " ".join([*prompt, *words][: length.most])
