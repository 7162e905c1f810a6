"""Loading encoders: open_clip models, timm backbones and published place-recognition encoders.

Weights come from hubs, local files, or are untrained ones that were asked for. Weights that cannot be had are a
reason to skip, never replaced by untrained ones.
"""

from __future__ import annotations

from ial_bench.encoders.base import FLOAT32, Encoder, Precision
from ial_bench.encoders.build import OnArrays, quiet_build
from ial_bench.encoders.openclip import OpenClip, build_openclip, load_openclip, own_model
from ial_bench.encoders.weights import parsed

__all__ = ["OnArrays", "OpenClip", "build_openclip", "load_encoder", "own_model", "quiet_build"]


def load_encoder(text: str, device: str, precision: Precision = FLOAT32) -> Encoder:
    """Load the encoder named `text` onto `device`; `precision` is that of photos' features.

    Raises:
        SkipMethod: its weights cannot be had here.
        ConfigError: no such model or pretrained tag, or a bad spec.
        DataError: a checkpoint file that is damaged, unsafe or for another model.
    """
    spec = parsed(text)
    if spec.library == "openclip":
        return load_openclip(text, device, precision)
    if spec.library == "timm":
        from ial_bench.encoders.timm_backbone import load_timm

        return load_timm(text, spec, device, precision)
    from ial_bench.encoders.vpr.load import load_vpr

    return load_vpr(text, spec, device, precision)
