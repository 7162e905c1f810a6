"""The photos of a run, and how large they and its texts are, without opening more than some of them."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.photos import Candidates, Photos
from ial_bench.encoders.encoder import EncoderCard
from ial_bench.errors import BenchError
from ial_bench.workload import Sizes

_SOME_TEXTS, _SOME_PHOTOS = 500, 8
_TOKENS_A_WORD, _ENDS = 1.2, 2  # of CLIP's tokenizer, about: names are cut, and start and end are tokens
_USUAL_MEGAPIXELS, _USUAL_CONTEXT = 0.5, 77
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Selection:
    """The photos of a run: the whole splits, or `limit` of each."""

    train: Photos
    val: Photos
    database: Photos
    queries: Photos
    candidates: Candidates

    @classmethod
    def of(cls, dataset: Dataset, limit: int | None) -> Selection:
        """The splits of `dataset`; with a limit, evenly spaced photos of each. All candidates are kept."""

        def some(split: str) -> Photos:
            photos = dataset.split(split)
            if limit is None or len(photos) <= limit:
                return photos
            return photos.part(np.linspace(0, len(photos) - 1, limit).astype(np.int64))

        database, everything = some("database"), dataset.candidates
        candidates = Candidates(everything.addresses, everything.positions, database)
        return cls(some("train"), some("val"), database, some("query"), candidates)

    @cached_property
    def tokens(self) -> float:
        """Mean tokens of a candidate's text, by some of them."""
        texts = self.candidates.texts
        return _mean_tokens([texts[i] for i in _spread(len(texts), _SOME_TEXTS)])

    @cached_property
    def caption_tokens(self) -> float:
        """Mean tokens of a train photo's caption, by some of them; 0 without captions."""
        some = self.train.part(_spread(len(self.train), _SOME_TEXTS))
        captions = [c for c in some.captions if c]
        return _mean_tokens(captions) if captions else 0.0

    @cached_property
    def megapixels(self) -> float:
        """Mean megapixels of a stored photo, by the headers of some; a usual size where none can be read."""
        found = [p for photos in (self.train, self.queries) for p in _megapixels(photos)]
        return float(np.mean(found)) if found else _USUAL_MEGAPIXELS

    def sizes(self, card: EncoderCard | None) -> Sizes:
        """What the cost of a run depends on: its photos and texts, and its encoder, if it has one."""
        counts = (len(self.train), len(self.val), len(self.database), len(self.queries), len(self.candidates))
        if card is None:
            return Sizes(*counts)
        return Sizes(
            *counts, card.dim, card.image_parameters, card.text_parameters, self.tokens, self.caption_tokens,
            int(card.texts.get("context_length") or _USUAL_CONTEXT),
        )  # fmt: skip


def _spread(n: int, some: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """int64: at most `some` of n rows, evenly spaced."""
    return np.unique(np.linspace(0, n - 1, min(n, some)).astype(np.int64)) if n else np.zeros(0, np.int64)


def _mean_tokens(texts: Sequence[str]) -> float:
    words = [len(_WORD.findall(text)) for text in texts]
    return _ENDS + _TOKENS_A_WORD * float(np.mean(words)) if words else 0.0


def _megapixels(photos: Photos) -> list[float]:
    from PIL import Image

    found = []
    for i in _spread(len(photos), _SOME_PHOTOS):
        try:
            with Image.open(io.BytesIO(photos.as_stored(int(i)))) as image:
                found.append(image.width * image.height / 1e6)
        except (BenchError, OSError):  # its run will report it
            continue
    return found
