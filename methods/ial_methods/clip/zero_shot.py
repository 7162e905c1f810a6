"""Zero-shot CLIP: the address whose text is most similar to the photo (Radford et al., 2021).

Templates put addresses into words; CLIP's text tower makes a classifier of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from ial_bench import (
    PHOTO,
    Candidates,
    FeatureSource,
    FrozenTextMethod,
    MethodConfig,
    MethodInfo,
    Sizes,
    SkipMethod,
    State,
    Workload,
    unit_norm,
)

_FIELD = "{address}"


class TemplateSettings(MethodConfig):
    """Settings of methods that compare photos with the texts of addresses."""

    templates: tuple[str, ...] = Field(
        ("a street view of {address}.",),
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


def scaled_texts(
    source: FeatureSource, spec: str, candidates: Candidates, templates: Sequence[str]
) -> npt.NDArray[np.float32]:
    """float32 [n_candidates, d]: unit features of the candidates' texts, times the model's logit scale.

    As in CLIP, each template's text feature is normalised, and the mean over templates normalised again.

    Raises:
        SkipMethod: the encoder has no text tower.
    """
    encoder = source.encoder(spec)
    if encoder.encode_texts is None:
        raise SkipMethod(f"{spec} has no text tower; give an openclip: backbone")
    total = np.zeros((len(candidates), encoder.card.dim), dtype=np.float32)
    for template in templates:
        # Not str.format: an address may hold braces of its own.
        total += unit_norm(encoder.encode_texts([template.replace(_FIELD, t) for t in candidates.texts]))
    return np.asarray(unit_norm(total) * np.float32(encoder.logit_scale))


def biased(logits: npt.NDArray[np.float32], bias: float | None) -> npt.NDArray[np.float32]:
    """Scaled cosines with the bias of a model trained with the sigmoid loss; without one as they are."""
    return np.asarray(logits if bias is None else logits + np.float32(bias))


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
        self.texts = scaled_texts(self.context.features, self.backbone, candidates, self.config.templates)

    def score_features(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The model's logits: CLIP's, or SigLIP's with their bias."""
        return biased(unit_norm(x) @ self.texts.T, self.logit_bias)

    def state(self) -> State:
        return {"texts": self.texts}

    def restore(self, state: State) -> None:
        self.texts = state["texts"]
