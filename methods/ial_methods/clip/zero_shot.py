"""Zero-shot CLIP: the address whose text is most similar to the photo (Radford et al., 2021)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from ial_bench import Candidates, FrozenEncoderMethod, MethodInfo, SkipMethod, State, unit_norm

_FIELD = "{address}"


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
    )

    class Config(FrozenEncoderMethod.Config):
        """Settings."""

        templates: tuple[str, ...] = Field(
            ("a street view of {address}.", "a photo taken at {address}.", "{address}"),
            min_length=1,
            description="texts that an address is put into at {address}",
        )

        @field_validator("templates")
        @classmethod
        def _has_field(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
            for template in templates:
                if _FIELD not in template:
                    raise ValueError(f"template {template!r} lacks {_FIELD}")
            return templates

    config: Config

    def prepare(self) -> None:
        """Refuse encoders without a text tower."""
        if self.backbone.startswith("timm:"):
            raise SkipMethod(f"{self.backbone} has no text tower; give an openclip: backbone")

    def index(self, candidates: Candidates) -> None:
        """Encode the candidates' texts."""
        encoder = self.context.features.encoder(self.backbone)
        if encoder.encode_texts is None:
            raise SkipMethod(f"{self.backbone} has no text tower; give an openclip: backbone")
        total = np.zeros((len(candidates), encoder.card.dim), dtype=np.float32)
        for template in self.config.templates:
            # Not str.format: an address may hold braces of its own.
            total += unit_norm(encoder.encode_texts([template.replace(_FIELD, t) for t in candidates.texts]))
        self.texts = unit_norm(total) * np.float32(encoder.logit_scale)  # [n_candidates, d]

    def score_features(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """CLIP's logits."""
        return np.asarray(unit_norm(x) @ self.texts.T)

    def state(self) -> State:
        """The text features."""
        return {"texts": self.texts}

    def restore(self, state: State) -> None:
        """Take them over."""
        self.texts = state["texts"]
