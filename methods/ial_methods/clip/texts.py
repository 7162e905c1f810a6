"""Addresses as texts: templates, and the classifier that CLIP's text tower makes of them (Radford et al., 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from ial_bench import Candidates, MethodConfig, SkipMethod, unit_norm
from ial_bench.method import FeatureSource

_FIELD = "{address}"


class TemplateSettings(MethodConfig):
    """Settings of methods that set photos against the texts of addresses."""

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
