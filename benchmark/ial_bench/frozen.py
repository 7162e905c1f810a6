"""Base class of methods on top of a frozen image encoder.

Features come from the engine's cache: every photo is encoded once per encoder, however many methods use it.
A subclass implements what happens on features.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ial_bench.datasets.photos import Photos
from ial_bench.encoders.load import require_text_tower
from ial_bench.image_batch import ImageBatch
from ial_bench.method import Method, MethodConfig, ParameterCount, Scores
from ial_bench.progress import chunks
from ial_bench.topk import TopK
from ial_bench.workload import Effort, Sizes

DEFAULT_BACKBONE = "openclip:ViT-B-16/openai"
"""The paper's backbone."""


@dataclass(frozen=True)
class Features:
    """Features of some photos with their labels.

    Attributes:
        x: float32 [n, d], may be memory-mapped and larger than memory: take it in `blocks`.
        photos: the photos they belong to.
    """

    x: npt.NDArray[np.float32]
    photos: Photos

    def __len__(self) -> int:
        return len(self.x)

    @property
    def labels(self) -> npt.NDArray[np.int32]:
        """int32 [n]: candidate index of each photo's address, -1 where it is not a candidate."""
        return self.photos.labels

    def blocks(self, size: int = 8192) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]]:
        """Features and labels in pieces that fit into memory."""
        for part in chunks(len(self), size):
            yield np.asarray(self.x[part]), self.labels[part]


def unit_norm(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """float32 [n, d]: rows divided by their Euclidean norm, so that inner products are cosines; zeros stay zeros."""
    norms = np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.float32(1e-12))
    return np.ascontiguousarray(x / norms, dtype=np.float32)


class FrozenEncoderMethod(Method):
    """A method that works on features of a frozen encoder.

    Implement `fit_features` and `score_features` (or `predict_features`, to answer without scoring every
    candidate).
    """

    uses_features: ClassVar[bool] = True

    class Config(MethodConfig):
        """Settings of every frozen-encoder method."""

        backbone: str = Field(
            DEFAULT_BACKBONE,
            description="the encoder: openclip:MODEL/PRETRAINED_OR_FILE, timm:MODEL[+POOLING][/FILE] or vpr:NAME/FILE; "
            "random-init in place of the weights asks for untrained ones",
        )

    config: Config

    @property
    def backbone(self) -> str:
        """Spec of the encoder."""
        return self.config.backbone

    def fit(self, train: Photos, val: Photos) -> None:
        """Get the features of both and fit on them."""
        self.fit_features(self.features(train), self.features(val))

    def predict(self, images: ImageBatch, k: int) -> TopK:
        """Encode the photos (or look their features up) and answer from the features."""
        return self.predict_features(self.context.features.batch(self.backbone, images), k)

    def fit_features(self, train: Features, val: Features) -> None:
        """Learn from features; `val` may be empty."""

    def predict_features(self, x: npt.NDArray[np.float32], k: int) -> TopK:
        """The k best candidates for features [n, d]."""
        return TopK.from_scores(self.score_features(x), k)

    @abstractmethod
    def score_features(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Scores [n, n_candidates] for features [n, d]; a higher score is a better candidate."""

    def ssa1(self, photos: Features) -> float:
        """Share of `photos` whose best-scored candidate is their address: SSA-1, for choices on val."""
        right = sum(int((self.score_features(x).argmax(axis=1) == y).sum()) for x, y in photos.blocks(1024))
        return right / len(photos)

    def features(self, photos: Photos) -> Features:
        """The features of `photos`, from the cache."""
        return Features(self.context.features.photos(self.backbone, photos), photos)

    def storage_bytes(self) -> int:
        """The state and the image tower's weights."""
        return super().storage_bytes() + self.context.features.card(self.backbone).image_bytes

    def parameters(self) -> ParameterCount:
        """The image tower, frozen, and whatever the subclass counts as trained in its state."""
        trained = self.trained_parameters()
        return ParameterCount(self.context.features.card(self.backbone).image_parameters + trained, trained)

    def trained_parameters(self) -> int:
        """Parameters that `fit_features` trains."""
        return 0


class FrozenTextMethod(FrozenEncoderMethod):
    """A method that compares features of photos with texts of the same encoder.

    Its logits are scaled cosines, to which models trained with the sigmoid loss (SigLIP) add their `logit_bias`.
    """

    def prepare(self) -> None:
        """Refuse encoders without a text tower, or without its tokenizer."""
        require_text_tower(self.backbone)

    def text_effort(self, sizes: Sizes, templates: int = 1) -> Effort:
        """Encoding the candidates' texts, each in all templates."""
        return Effort(tokens=templates * sizes.candidates * sizes.context)

    @property
    def logit_bias(self) -> float | None:
        """The encoder's; None where its logits go into a softmax over all candidates."""
        return self.context.features.card(self.backbone).logit_bias

    @property
    def scores_are(self) -> Scores:
        """``sigmoid`` for a model that was trained with sigmoids, else as declared."""
        return self.info.scores if self.logit_bias is None else "sigmoid"
