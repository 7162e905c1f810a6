"""Zero-shot CLIP: the address whose text is most similar to the photo (Radford et al., 2021)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ial_bench import Candidates, FrozenEncoderMethod, MethodInfo, State, unit_norm
from ial_bench.encoders.spec import require_text_tower
from ial_methods.clip.texts import TemplateSettings, scaled_texts


class ClipZeroShot(FrozenEncoderMethod):
    """Cosine of the photo with each address's text; texts of several templates are averaged.

    As in CLIP, each template's text feature is normalised, the mean over templates normalised again, and the
    cosines are multiplied by the model's logit scale.
    """

    info = MethodInfo(
        name="clip-zero-shot",
        title="CLIP zero-shot",
        family="clip",
        summary="Cosine of the photo with the text of each address, without training.",
        reference="Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021",
        final_fit="none",
        scores="logits",
    )

    class Config(TemplateSettings, FrozenEncoderMethod.Config):
        """Settings."""

        templates: tuple[str, ...] = Field(
            ("a street view of {address}.", "a photo taken at {address}.", "{address}"),
            min_length=1,
            description="texts that an address is put into at {address}",
        )

    config: Config

    def prepare(self) -> None:
        """Refuse encoders without a text tower."""
        require_text_tower(self.backbone)

    def index(self, candidates: Candidates) -> None:
        """Encode the candidates' texts."""
        self.texts = scaled_texts(self.context.features, self.backbone, candidates, self.config.templates)

    def score_features(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """CLIP's logits."""
        return np.asarray(unit_norm(x) @ self.texts.T)

    def state(self) -> State:
        """The text features."""
        return {"texts": self.texts}

    def restore(self, state: State) -> None:
        """Take them over."""
        self.texts = state["texts"]
