"""Which weights are on this machine, for `bench doctor`."""

from __future__ import annotations

from ial_bench.encoders.openclip_source import OWN_MODELS
from ial_bench.encoders.packages import PACKAGES
from ial_bench.encoders.spec import PACKAGE
from ial_bench.errors import BenchError, SkipMethod


def weights_at_hand() -> dict[str, str]:
    """What can be run without a download, and what is missing for the rest, by the encoder's spec or the hub's name."""
    shipped = sorted(OWN_MODELS.glob("*.safetensors"))
    found = {
        f"openclip:{path.name.split('.')[0]}/{path.name.split('.')[1]}": "comes with ial-bench" for path in shipped
    }
    for network, package in PACKAGES.items():
        try:
            package.path()
            told = f"at hand ({package.requirement})"
        except SkipMethod as missing:
            told = f"not here: {missing.reason}"
        except BenchError as error:
            told = f"cannot be used: {error.problem} ({error.fix})"
        found[f"timm:{network}/{PACKAGE}"] = told
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
