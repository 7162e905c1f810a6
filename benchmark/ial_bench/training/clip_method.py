"""Base class of methods that train CLIP's image tower and answer by cosine with the candidates' texts.

Torch is imported where it is used: methods are listed and planned without it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ial_bench.datasets.loader import DecodedPhotos
from ial_bench.datasets.photos import Candidates, Photos
from ial_bench.encoders.encoder import name_of_text, require_finite
from ial_bench.encoders.load import require_text_tower
from ial_bench.encoders.spec import shown_spec
from ial_bench.frozen import DEFAULT_BACKBONE, unit_norm
from ial_bench.image_batch import ImageBatch
from ial_bench.method import Method, ParameterCount, Scores, State
from ial_bench.topk import TopK
from ial_bench.training.checkpoint import tensors_from_state, tensors_to_state
from ial_bench.training.config import PhotoTrainingConfig
from ial_bench.workload import PHOTO, Effort, Sizes, Workload

if TYPE_CHECKING:
    import torch

    from ial_bench.encoders.towers import ClipTowers
    from ial_bench.training.trained_encoder import TrainedEncoder

FloatRows = npt.NDArray[np.float32]


class ClipTrainingMethod(Method):
    """A CLIP whose towers are trained or prompted.

    A subclass implements `fit` (which sets ``facts["training"]``), `encode_texts` and, if it prompts the image tower,
    `encode_pixels`; `trained_state` and `restore_trained` carry what must survive a restart.
    """

    class Config(PhotoTrainingConfig):
        """Settings of every such method."""

        backbone: str = Field(
            DEFAULT_BACKBONE,
            description="the CLIP to start from: openclip:MODEL/PRETRAINED_OR_FILE; random-init for untrained weights",
        )

    config: Config

    @property
    def backbone(self) -> str:
        """Spec of the CLIP."""
        return self.config.backbone

    def prepare(self) -> None:
        """Refuse encoders without a text tower."""
        require_text_tower(self.backbone)

    @cached_property
    def towers(self) -> ClipTowers:
        """The CLIP, a copy of this method's own."""
        return self.context.features.towers(self.backbone)

    @cached_property
    def decoded(self) -> DecodedPhotos:
        """Photos that the fit has decoded, kept on disk if the run has a folder."""
        return DecodedPhotos(self.context.work)

    @abstractmethod
    def encode_texts(self, candidates: Candidates) -> torch.Tensor:
        """Features [n_candidates, d] of the candidates, not normalised."""

    def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """Features [n, d] of normalised pixels, not normalised."""
        return self.towers.encode_pixels(pixels)

    def workload(self, sizes: Sizes) -> Workload:
        """Train photos forwards and backwards; val photos and the candidates' texts once an epoch."""
        config, each = self.config, self.step_tokens(sizes)
        steps, trained = config.steps_over(sizes.train), self.trained_at_most(sizes)
        fit = Effort(
            images=config.epochs * sizes.val, images_trained=steps * min(config.batch_size, sizes.train),
            tokens=(config.epochs + 1) * sizes.candidates * sizes.tokens, tokens_trained=steps * each, steps=steps,
        )  # fmt: skip
        texts = 4.0 * sizes.candidates * sizes.dim
        return Workload(fit, PHOTO, trained, min(config.batch_size, sizes.train), each, texts, texts)

    def step_tokens(self, sizes: Sizes) -> float:  # noqa: ARG002 - as the subclass trains
        """Tokens that go through the text tower, forwards and backwards, in a step."""
        return 0.0

    def trained_at_most(self, sizes: Sizes) -> float:
        """Parameters that are trained, or a bound: those of both towers."""
        return sizes.image_parameters + sizes.text_parameters

    def index(self, candidates: Candidates) -> None:
        """Encode the candidates' texts once."""
        self.texts = self.scaled_texts(candidates)

    def scaled_texts(self, candidates: Candidates) -> FloatRows:
        """Unit features of the candidates, times the logit scale: [n_candidates, d]."""
        import torch

        with torch.inference_mode():
            features: FloatRows = self.encode_texts(candidates).float().cpu().numpy()
            require_finite(features, self._named, lambda i: name_of_text(candidates.texts[i]))
            scale = np.float32(self.towers.logit_scale.item())
        return np.asarray(unit_norm(features) * scale)

    def predict(self, images: ImageBatch, k: int) -> TopK:
        """Encode the photos and rank the candidates by cosine."""
        scores = [self.score_features(unit_norm(x)) for _, x in self._encoder.images(images)]
        return TopK.from_scores(np.concatenate([np.zeros((0, len(self.texts)), np.float32), *scores]), k)

    def score_features(self, x: FloatRows) -> FloatRows:
        """Scores [n, n_candidates] for unit features [n, d] of photos."""
        logits = x @ self.texts.T
        bias = self.towers.logit_bias
        return np.asarray(logits if bias is None else logits + np.float32(bias.item()))

    @property
    def scores_are(self) -> Scores:
        """Sigmoids of a model that was trained with them, else as declared."""
        return self.info.scores if self.towers.logit_bias is None else "sigmoid"

    @property
    def _named(self) -> str:
        return f"{shown_spec(self.backbone)} as {self.info.name} trained it"

    @property
    def _encoder(self) -> TrainedEncoder:
        from ial_bench.training.trained_encoder import TrainedEncoder

        return TrainedEncoder(self._named, self.encode_pixels, self.towers.preprocess, self.context, self.decoded)

    def photo_features(self, photos: Photos) -> Iterator[tuple[slice, FloatRows]]:
        """Unit features of dataset photos by the towers as they are, with their rows: a batch of pixels at a time."""
        for part, x in self._encoder.photos(photos):
            yield part, unit_norm(x)

    def ssa1(self, photos: Photos) -> float | None:
        """SSA-1 on labelled photos of the model as it is; None without photos."""
        if len(photos) == 0:
            return None
        texts = self.scaled_texts(photos.candidates)
        right = 0
        for part, x in self.photo_features(photos):
            right += int(((x @ texts.T).argmax(axis=1) == photos.labels[part]).sum())
        return right / len(photos)

    @abstractmethod
    def trained_state(self) -> Mapping[str, torch.Tensor]:
        """The tensors that training changed."""

    @abstractmethod
    def restore_trained(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Use what `trained_state` gave."""

    def fit_state(self) -> State:
        """What `trained_state` gives."""
        return tensors_to_state(self.trained_state())

    def restore_fit(self, state: State) -> None:
        """Use what `fit_state` gave."""
        self.restore_trained(tensors_from_state(state))

    def state(self) -> State:
        """Trained tensors, and the candidates' text features."""
        return {**self.fit_state(), "texts": self.texts}

    def restore(self, state: State) -> None:
        """Use what `state` gave."""
        self.restore_fit(state)
        self.texts = state["texts"]

    def storage_bytes(self) -> int:
        """The image tower, what is trained beside it, and the candidates' features."""
        tower = sum(t.numel() * t.element_size() for t in self.towers.model.visual.state_dict().values())
        own = {id(p) for p in self.towers.parameters()}
        beside = (t for t in self.query_tensors() if id(t) not in own)
        return int(tower + sum(t.numel() * t.element_size() for t in beside) + self.texts.nbytes)

    def query_tensors(self) -> list[torch.Tensor]:
        """Tensors outside the image tower that a query needs; prompts, say."""
        return []

    def parameters(self) -> ParameterCount:
        """Both towers and what is trained beside them; the trained ones."""
        trained = sum(t.numel() for t in self.trained_state().values())
        own = {id(p) for p in self.towers.parameters()}
        beside = sum(t.numel() for t in self.trained_state().values() if id(t) not in own)
        return ParameterCount(sum(p.numel() for p in self.towers.parameters()) + beside, trained)
