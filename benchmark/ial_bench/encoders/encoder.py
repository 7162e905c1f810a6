"""What an encoder is to the rest of the harness, and the card that identifies it without loading it.

NaN and infinity are refused here, in weights as they are loaded and in features as they are made: a NaN compares with
nothing, so a ranking by it would mean nothing and still be scored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ial_bench.encoders.spec import EncoderSpec
from ial_bench.errors import ConfigError, DataError
from ial_bench.json_files import digest, read_sealed, write_sealed

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ial_bench.image_batch import ImageBatch
    from ial_bench.images import RGB

Precision = Literal["float32", "bfloat16", "float16"]
FLOAT32: Precision = "float32"
_WORDS: dict[str, Precision] = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def precision_of(word: str) -> Precision:
    """The arithmetic that an option names: fp32, bf16 or fp16.

    Raises:
        ConfigError: none of them.
    """
    if word not in _WORDS:
        raise ConfigError(f"--precision {word!r} is none of {', '.join(_WORDS)}", "for instance --precision bf16")
    return _WORDS[word]


@dataclass(frozen=True)
class EncoderCard:
    """All that identifies an encoder and can be known without torch once it was loaded here.

    Attributes:
        spec: its name.
        weights_digest: SHA-256 over the tensors' names, types, shapes and values, however they were stored.
        structure: SHA-256 of the network without its weights, see `structure_of`.
        preprocessing: resize, crop, mean and deviation, in words that name every number.
        dim: length of a feature.
        image_parameters: parameters of the image tower.
        image_bytes: bytes of the image tower's weights.
        text_parameters: parameters of the text tower, 0 without one.
        libraries: versions of the libraries that define its arithmetic.
        files: what it came from, with size and modification time: checkpoints, configurations, and those beside
            them that were looked for.
        head: what is computed from the network's features and does not follow from its weights: pooling, assignment.
        texts: how texts become tokens; empty without a text tower.
        logit_bias: as of `Encoder`; one of the weights.
        precision: of the image tower's arithmetic.
        notes: what had to be assumed, for people.
    """

    spec: str
    weights_digest: str
    structure: str
    preprocessing: Mapping[str, Any]
    dim: int
    image_parameters: int
    image_bytes: int
    text_parameters: int
    libraries: Mapping[str, str]
    files: Sequence[Mapping[str, Any]] = field(default_factory=list)
    head: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, Any] = field(default_factory=dict)
    logit_bias: float | None = None
    precision: Precision = FLOAT32
    notes: Sequence[str] = field(default_factory=list)

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that its features depend on, as JSON values; equal encoders under two names share it."""
        return {
            "weights": self.weights_digest, "structure": self.structure, "libraries": dict(self.libraries),
            "preprocessing": dict(self.preprocessing), "head": dict(self.head), "texts": dict(self.texts),
            "precision": self.precision,
        }  # fmt: skip

    @property
    def digest(self) -> str:
        """SHA-256 of the identity."""
        return digest(self.identity)

    @property
    def first_digest(self) -> str:
        """The digest of records of schema version 1: weights, preprocessing and head alone."""
        facts: dict[str, Any] = {"weights": self.weights_digest, "preprocessing": dict(self.preprocessing)}
        if self.head:
            facts["head"] = dict(self.head)
        return digest(facts)


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
        logit_bias: of models trained with the sigmoid loss (SigLIP; Zhai et al., 2023), whose pairs are right with
            probability ``sigmoid(logit_scale * cosine + logit_bias)``; None of those that a softmax belongs to.
    """

    card: EncoderCard
    preprocess: Callable[[RGB], torch.Tensor]
    encode_images: Callable[[torch.Tensor], torch.Tensor]
    encode_texts: Callable[[Sequence[str]], npt.NDArray[np.float32]] | None
    logit_scale: float
    device: str
    logit_bias: float | None = None


def file_fact(path: Path) -> dict[str, Any]:
    """What shows whether a file is unchanged: path, size, modification time; the size is -1 if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return {"path": str(path.resolve()), "size": -1, "mtime_ns": 0}
    return {"path": str(path.resolve()), "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def remembered_card(text: str, cache: Path, precision: Precision = FLOAT32) -> EncoderCard | None:
    """The card stored by an earlier load, if its files and libraries are still the same."""
    from importlib.metadata import PackageNotFoundError, version

    path = _card_path(text, cache, precision)
    try:
        card = EncoderCard(**read_sealed(path))
        same = all(version(name) == number for name, number in card.libraries.items())
    except (OSError, DataError, TypeError, PackageNotFoundError):
        return None  # never loaded, damaged, of another harness or without its library: it is made again
    same = same and (card.spec, card.precision) == (text, precision)
    if not same or any(file_fact(Path(fact["path"])) != fact for fact in card.files):
        return None
    spec = EncoderSpec.parse(text)
    given = [*spec.weights_files, *([] if spec.model_file is None else [spec.model_file])]
    known = {fact["path"] for fact in card.files}  # may be more: others came from a hub's cache, or lie beside
    return card if all(str(file.resolve()) in known for file in given) else None


def remember_card(card: EncoderCard, cache: Path) -> None:
    """Store a card for `remembered_card`."""
    write_sealed(_card_path(card.spec, cache, card.precision), asdict(card))


def remembered_spec(identity: str, cache: Path) -> str | None:
    """The spec that an encoder of this digest was last loaded by, None where none is known here any more.

    Records name files by their base names alone; this is how they are found again.
    """
    for path in sorted((cache / "encoders").glob("*.json")):
        try:
            card = EncoderCard(**read_sealed(path))
        except (DataError, TypeError):
            continue
        if card.digest == identity and remembered_card(card.spec, cache, card.precision) is not None:
            return card.spec
    return None


def _card_path(text: str, cache: Path, precision: Precision) -> Path:
    return cache / "encoders" / f"{digest(text if precision == FLOAT32 else [text, precision])[:16]}.json"


def require_finite_weights(model: nn.Module, text: str) -> None:
    """Refuse a network with parameters or stored statistics that are NaN or infinite.

    Args:
        model: with weights, in any precision.
        text: the encoder's name, for errors.

    Raises:
        DataError: with the first such tensor.
    """
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            bad = int((~tensor.isfinite()).sum())
            raise DataError(
                f"the weights of {text} are not all finite: {bad:,} of {tensor.numel():,} values of {name} are NaN "
                "or infinite",
                "take an earlier checkpoint, or get the file again",
            )


def require_finite(features: npt.NDArray[np.float32], text: str, name: Callable[[int], str]) -> None:
    """Refuse features that are NaN or infinite.

    Args:
        features: [n, d].
        text: name of the encoder that made them, for errors.
        name: describes what row i is of.

    Raises:
        DataError: with the first such row.
    """
    fine = np.isfinite(features).all(axis=1)
    if not fine.all():
        raise DataError(
            f"{text} gives features of {name(int(fine.argmin()))} that are NaN or infinite",
            "numbers overflow in it: where --precision is fp16, bf16 or fp32 has the range; else take another "
            "checkpoint",
        )


def name_of_text(text: str) -> str:
    """A text in words."""
    return f"the text {text!r}"


def names_of_batch(images: ImageBatch) -> Callable[[int], str]:
    """Photos of a batch in words: where they lie, if that is known; else their numbers."""
    source, names = images._source, images._names  # noqa: SLF001 - the engine's own marks
    if source is None:
        return lambda i: f"photo {i} of the batch" if names is None else names[i]
    photos, part = source
    rows = range(*part.indices(len(photos)))
    return lambda i: photos.where(rows[i])
