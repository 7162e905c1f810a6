"""Loading published VPR encoders from their authors' files.

Nothing is downloaded: without a file the encoder is skipped, with the page that has the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from ial_bench.encoders.build import OnArrays, card_of, inference, quiet_build
from ial_bench.encoders.encoder import FLOAT32, Encoder, Precision, require_finite_weights
from ial_bench.encoders.spec import RANDOM_INIT, EncoderSpec
from ial_bench.encoders.vpr import anyloc, cosplace, mixvpr, salad
from ial_bench.encoders.vpr.published import FILES_JOINED_BY, IMAGENET_MEAN, IMAGENET_STD, PUBLISHED, Built, Published
from ial_bench.errors import ConfigError, SkipMethod


class Family(Protocol):
    """An architecture: a module of this package."""

    HEAD: dict[str, Any]
    """Constants of the aggregation that neither weights nor module names show, as JSON values."""

    def build(self, text: str, published: Published, files: Sequence[Path]) -> Built:
        """The encoder that the spec `text` names, untrained if no files are given. Raises what `load_vpr` raises."""
        ...


FAMILIES: Mapping[str, Family] = {"cosplace": cosplace, "mixvpr": mixvpr, "salad": salad, "anyloc": anyloc}


def load_vpr(text: str, spec: EncoderSpec, device: str, precision: Precision = FLOAT32) -> Encoder:
    """Load the VPR encoder that the spec `text` names onto `device`.

    Raises:
        SkipMethod: no weights are given; with the page where they are.
        ConfigError: what is given is no file, or too many.
        DataError: a file that is damaged, unsafe or for another model.
    """
    published = PUBLISHED[spec.model]
    family = FAMILIES[published.family]
    form = f"vpr:{spec.model}/{published.files}"
    if spec.weights is None:
        raise SkipMethod(f"no weights are given for {text}: get them from {published.page}, then write {form}")
    if not (spec.weights_files or spec.random_init):
        raise ConfigError(
            f"{text!r}: {spec.weights!r} is neither a file nor {RANDOM_INIT}",
            f"get the weights from {published.page}, then write {form}",
        )
    if len(spec.weights_files) > 1 + published.files.count(FILES_JOINED_BY):
        raise ConfigError(f"{text!r} names {len(spec.weights_files)} files", f"write {form}")
    with quiet_build():
        built = family.build(text, published, spec.weights_files)
    require_finite_weights(built.model, text)
    model = built.model.eval().requires_grad_(requires_grad=False).to(device)
    head = {"architecture": published.family, **family.HEAD}
    return Encoder(
        card=card_of(
            text, model, model, published.preprocessing, built.dim, built.files, head=head, precision=precision
        ),
        preprocess=OnArrays(transform_of(published)),
        encode_images=inference(model, precision),
        encode_texts=None,
        logit_scale=1.0,
        device=device,
    )


def transform_of(published: Published) -> Callable[[Any], torch.Tensor]:
    """PIL images to float32 [3, *crop]: resized without regard to their shape, cut, normalised."""
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

    steps = [
        Resize(published.size, interpolation=InterpolationMode(published.interpolation)),
        CenterCrop(published.crop),
        ToTensor(),
        Normalize(IMAGENET_MEAN, IMAGENET_STD),
    ]
    return Compose(steps)  # type: ignore[no-any-return]
