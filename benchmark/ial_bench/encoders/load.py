"""Loading encoders: open_clip models, timm backbones and published VPR encoders.

Weights come from hubs, local files, or are untrained where that is asked for. Where weights cannot be had, what needs
them is skipped with the reason; untrained ones never take their place.
"""

from __future__ import annotations

from ial_bench.encoders.encoder import FLOAT32, Encoder, Precision
from ial_bench.encoders.spec import PACKAGE, EncoderSpec
from ial_bench.encoders.weights import PACKAGES, parsed
from ial_bench.errors import BenchError, SkipMethod


def load_encoder(text: str, device: str, precision: Precision = FLOAT32) -> Encoder:
    """Load the encoder named `text` onto `device`; `precision` is that of photos' features.

    Raises:
        SkipMethod: its weights cannot be had here.
        ConfigError: no such model or pretrained tag, or a bad spec.
        DataError: a checkpoint file that is damaged, unsafe or for another model.
    """
    spec = parsed(text)
    if spec.library == "openclip":
        from ial_bench.encoders.openclip import load_openclip

        return load_openclip(text, device, precision)
    if spec.library == "timm":
        from ial_bench.encoders.timm_backbone import load_timm

        return load_timm(text, spec, device, precision)
    from ial_bench.encoders.vpr.load import load_vpr

    return load_vpr(text, spec, device, precision)


def require_text_tower(text: str) -> None:
    """Refuse, before anything is encoded, the encoders that have no text tower, or no tokenizer here.

    Raises:
        SkipMethod: the spec `text` names one.
        ConfigError: it names no encoder.
    """
    spec = EncoderSpec.parse(text)
    if spec.library != "openclip":
        raise SkipMethod(f"{spec.shown} has no text tower; give an openclip: backbone")
    from ial_bench.encoders.openclip import require_tokenizer

    require_tokenizer(text)


def weights_at_hand() -> dict[str, str]:
    """What can be run without a download, and what the rest lacks; by the encoder's spec or the hub's name."""
    from ial_bench.encoders.openclip_source import OWN_MODELS

    shipped = sorted(OWN_MODELS.glob("*.safetensors"))
    found = {
        f"openclip:{path.name.split('.')[0]}/{path.name.split('.')[1]}": "comes with ial-bench" for path in shipped
    }
    for network, package in PACKAGES.items():
        try:
            package.path()
            state = f"at hand ({package.requirement})"
        except SkipMethod as missing:
            state = f"not here: {missing.reason}"
        except BenchError as error:
            state = f"cannot be used: {error.problem} ({error.fix})"
        found[f"timm:{network}/{PACKAGE}"] = state
    return found | _in_hub_cache()


def _in_hub_cache() -> dict[str, str]:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return {"hub's cache": "empty"}
    sizes = {r.repo_id: f"in the hub's cache, {r.size_on_disk / 1e6:,.1f} MB" for r in repositories}
    return dict(sorted(sizes.items())) or {"hub's cache": "empty"}
