"""Zero-shot CLIP: the address whose text is most similar to the photo (Radford et al., 2021)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ial_bench import Candidates, FrozenTextMethod, MethodInfo, State, unit_norm
from ial_bench.workload import PHOTO, Sizes, Workload
from ial_methods.clip.texts import TemplateSettings, biased, scaled_texts


class ClipZeroShot(FrozenTextMethod):
    """Cosine of the photo with each address's text; texts of several templates are averaged.

    As in CLIP, each template's text feature is normalised, the mean over templates normalised again, and the
    cosines are multiplied by the model's logit scale. A model of the sigmoid loss (SigLIP) adds its bias, and its
    scores are no softmax's.
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

    class Config(TemplateSettings, FrozenTextMethod.Config):
        """Settings."""

        templates: tuple[str, ...] = Field(
            ("a street view of {address}.", "a photo taken at {address}.", "{address}"),
            min_length=1,
            description="texts that an address is put into at {address}",
        )

    config: Config

    def workload(self, sizes: Sizes) -> Workload:
        """The texts, once for each template."""
        return Workload(self.text_effort(sizes, len(self.config.templates)), PHOTO)

    def index(self, candidates: Candidates) -> None:
        """Encode the candidates' texts."""
        self.texts = scaled_texts(self.context.features, self.backbone, candidates, self.config.templates)

    def score_features(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The model's logits: CLIP's, or SigLIP's with their bias."""
        return biased(unit_norm(x) @ self.texts.T, self.logit_bias)

    def state(self) -> State:
        """The text features."""
        return {"texts": self.texts}

    def restore(self, state: State) -> None:
        """Take them over."""
        self.texts = state["texts"]
