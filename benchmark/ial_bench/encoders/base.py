"""What an encoder is to the rest of the harness, and the card that identifies it without loading it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ial_bench.encoders.spec import EncoderSpec
from ial_bench.errors import DataError
from ial_bench.files import digest, read_json, write_json

if TYPE_CHECKING:
    import torch

    from ial_bench.images import RGB

_LIBRARIES = {
    "openclip": ("torch", "open_clip_torch"),
    "timm": ("torch", "timm"),
    "vpr": ("torch", "torchvision", "timm"),
}


@dataclass(frozen=True)
class EncoderCard:
    """All that identifies an encoder and can be known without torch once it was loaded here.

    Attributes:
        spec: its name.
        weights_digest: SHA-256 over the tensors' names, types, shapes and values, however they were stored.
        preprocessing: resize, crop, mean and deviation, in words that name every number.
        dim: length of a feature.
        image_parameters: parameters of the image tower.
        image_bytes: bytes of the image tower's weights.
        text_parameters: parameters of the text tower, 0 without one.
        libraries: versions of the libraries that built it.
        weights_file: the checkpoint with size and modification time, where it came from a file.
        further_files: the same of the others, where it came from several.
        head: what is computed from the network's features (pooling, assignment) that its weights do not tell.
    """

    spec: str
    weights_digest: str
    preprocessing: Mapping[str, Any]
    dim: int
    image_parameters: int
    image_bytes: int
    text_parameters: int
    libraries: Mapping[str, str]
    weights_file: Mapping[str, Any] | None
    further_files: Sequence[Mapping[str, Any]] = field(default_factory=list)
    head: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Identity of the features it makes: weights, preprocessing and head."""
        facts: dict[str, Any] = {"weights": self.weights_digest, "preprocessing": dict(self.preprocessing)}
        if self.head:
            facts["head"] = dict(self.head)
        return digest(facts)

    @property
    def files(self) -> list[Mapping[str, Any]]:
        """All the checkpoints that it came from."""
        return [] if self.weights_file is None else [self.weights_file, *self.further_files]


@dataclass(frozen=True)
class Encoder:
    """A loaded encoder.

    Attributes:
        card: its identity.
        preprocess: a decoded photo to a float tensor [3, h, w].
        encode_images: float tensor [n, 3, h, w] on `device` to features [n, d], not normalised.
        encode_texts: texts to features float32 [n, d], not normalised; None without a text tower.
        logit_scale: factor on cosines, CLIP's exp(t); 1 without a text tower.
        device: torch device.
    """

    card: EncoderCard
    preprocess: Callable[[RGB], torch.Tensor]
    encode_images: Callable[[torch.Tensor], torch.Tensor]
    encode_texts: Callable[[Sequence[str]], npt.NDArray[np.float32]] | None
    logit_scale: float
    device: str


def library_versions(spec: EncoderSpec) -> dict[str, str]:
    """Installed versions of what builds the encoder."""
    from importlib.metadata import version

    return {name: version(name) for name in _LIBRARIES[spec.library]}


def file_fact(path: Path) -> dict[str, Any]:
    """What tells whether a file is still the same: path, size, modification time."""
    status = path.stat()
    return {"path": str(path.resolve()), "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def remembered_card(text: str, cache: Path) -> EncoderCard | None:
    """The card stored by an earlier load, if the weights file and the libraries are still the same."""
    path = _card_path(text, cache)
    if not path.is_file():
        return None
    try:
        card = EncoderCard(**read_json(path))
    except (DataError, TypeError):
        return None  # of another version of the harness: it is made anew
    spec = EncoderSpec.parse(text)
    if card.spec != text or dict(card.libraries) != library_versions(spec):
        return None
    files = [Path(fact["path"]) for fact in card.files]
    if any(not file.is_file() or file_fact(file) != fact for file, fact in zip(files, card.files, strict=True)):
        return None
    given = [file.resolve() for file in spec.weights_files]  # may be fewer: others came from a hub's cache
    return card if given == files[: len(given)] else None


def remember_card(card: EncoderCard, cache: Path) -> None:
    """Store a card for `remembered_card`."""
    write_json(_card_path(card.spec, cache), asdict(card))


def _card_path(text: str, cache: Path) -> Path:
    return cache / "encoders" / f"{digest(text)[:16]}.json"
