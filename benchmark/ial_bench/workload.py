"""What a run has to do, in units that do not depend on the machine: the basis for estimates of its cost."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Sizes:
    """What a run is given, as far as its cost depends on it.

    Attributes:
        train: photos to learn from.
        val: photos to choose on.
        database: labelled photos that are not for training.
        queries: photos to answer.
        candidates: addresses to choose from.
        dim: length of a feature of the backbone; this and the next two are 0 without one.
        image_parameters: of its image tower.
        text_parameters: of its text tower.
        tokens: of a candidate's text, roughly and on average.
        caption_tokens: of a photo's caption, 0 without captions.
        context: tokens of any text that is padded to the text tower's length.
    """

    train: int
    val: int
    database: int
    queries: int
    candidates: int
    dim: int = 0
    image_parameters: int = 0
    text_parameters: int = 0
    tokens: float = 0.0
    caption_tokens: float = 0.0
    context: int = 77

    @property
    def labelled(self) -> int:
        """Train, val and database photos."""
        return self.train + self.val + self.database


@dataclass(frozen=True)
class Effort:
    """Amounts of computing, by kind.

    Attributes:
        images: photos that are decoded and go through the image tower.
        images_trained: photos that are decoded and go through it forwards and backwards.
        tokens: of texts that go through the text tower.
        tokens_trained: of texts that go through it forwards and backwards.
        flops: floating point operations of all else, such as products of features.
        steps: of an optimiser.
    """

    images: float = 0.0
    images_trained: float = 0.0
    tokens: float = 0.0
    tokens_trained: float = 0.0
    flops: float = 0.0
    steps: float = 0.0

    def __add__(self, other: Effort) -> Effort:
        return Effort(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __mul__(self, factor: float) -> Effort:
        return Effort(*(getattr(self, f.name) * factor for f in fields(self)))


PHOTO = Effort(images=1)
"""An answer that takes one pass of the photo through the image tower, and little else."""


@dataclass(frozen=True)
class Workload:
    """What a method has to do in a run, without the encoding of photos for the cache, and without its parts.

    Attributes:
        fit: for `fit` and `index`.
        query: for one answer, from the pixels.
        trained: parameters that are trained.
        batch: photos that go forwards and backwards at once.
        batch_tokens: tokens that go forwards and backwards at once.
        held: bytes in memory beside the towers, such as an index.
        stored: bytes of the fitted method on the disk, beside what is trained.
    """

    fit: Effort = Effort()
    query: Effort = Effort()
    trained: float = 0.0
    batch: float = 0.0
    batch_tokens: float = 0.0
    held: float = 0.0
    stored: float = 0.0


def distinct(drawn: float, among: int) -> float:
    """Expected number of different items in `drawn` draws with replacement from `among` items."""
    return among * (1 - (1 - 1 / among) ** drawn) if among else 0.0
