"""Which network an ``openclip:`` spec names, which checkpoint, and how photos are prepared for it.

All of it is known before a model is built. What does not follow from the name is looked up next to the checkpoint, then
among the published checksums; what is still open is assumed, with a note.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ial_bench.encoders.spec import PACKAGE, RANDOM_INIT, EncoderSpec, unknown_in_spec
from ial_bench.encoders.weights import PACKAGES, Package, fetched, hub_host, in_hub_cache, parsed
from ial_bench.errors import ConfigError, DataError
from ial_bench.files import sha256_file
from ial_bench.json_files import read_json

OWN_MODELS = Path(__file__).parent / "openclip_models"
"""Small models that come with the harness, by name."""
SIDECAR = "open_clip_config.json"
"""What open_clip writes next to the weights that it publishes: ``model_cfg`` and ``preprocess_cfg``."""
_HUB_NAMES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_PREPROCESSING = ("mean", "std", "interpolation", "resize_mode", "fill_color")
_NEEDED = {"embed_dim", "vision_cfg", "text_cfg"}


@dataclass(frozen=True)
class Network:
    """An open_clip network by its configuration, without weights.

    Attributes:
        name: in open_clip's list or the harness's, or the stem of a configuration's file.
        config: open_clip's ``model_cfg``.
        preprocessing: from a configuration of the user's, in open_clip's words; else empty.
        own: whether it comes with the harness.
        merges: the byte-pair merges of its tokenizer, where it comes with the harness; None: CLIP's.
        files: the configuration, where it is a file of the harness or of the user.
    """

    name: str
    config: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    own: bool = False
    merges: Path | None = None
    files: tuple[Path, ...] = ()

    @cached_property
    def tags(self) -> dict[str, dict[str, Any]]:
        """The published weights of the network: their preprocessing, activation and address, by tag."""
        import open_clip

        if self.files:
            return {}
        names = open_clip.list_pretrained_tags_by_model(self.name)
        return {tag: open_clip.get_pretrained_cfg(self.name, tag) for tag in names}

    @property
    def shipped(self) -> dict[str, Path]:
        """The weights that come with the harness, by tag."""
        found = sorted(OWN_MODELS.glob(f"{self.name}.*.safetensors")) if self.own else []
        return {path.name.split(".")[1]: path for path in found}

    @property
    def package(self) -> Package | None:
        """The package with weights of the image tower, where the harness knows one for its own model."""
        return PACKAGES.get(self.config["vision_cfg"].get("timm_model_name", "")) if self.own else None


@dataclass(frozen=True)
class Source:
    """All that an open_clip model is built from.

    Attributes:
        network: its configuration, with the activation that its weights were trained with.
        preprocessing: changes to open_clip's usual one: mean, std, interpolation, resize_mode.
        file: the checkpoint, None for untrained weights.
        files: all files that were read or looked for.
        notes: what had to be assumed.
        given: whether the checkpoint is a file of the user's, which may have others next to it.
        package: whose `file` it is, with weights of the image tower alone.
    """

    network: Network
    preprocessing: Mapping[str, Any]
    file: Path | None = None
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    given: bool = False
    package: Package | None = None

    @property
    def own_file(self) -> Path | None:
        """The checkpoint, where it is the user's."""
        return self.file if self.given else None


def network_of(spec: EncoderSpec) -> Network:
    """The network that a spec names.

    Raises:
        ConfigError: open_clip has no such model, or there is no such file.
        DataError: a file that is no open_clip configuration.
    """
    import open_clip

    own = OWN_MODELS / f"{spec.model}.json"
    if own.is_file():
        config, preprocessing = _read_config(own)
        merges = OWN_MODELS / str(read_json(own).get("merges"))
        return Network(
            spec.model, config, preprocessing, own=True, merges=merges if merges.is_file() else None, files=(own,)
        )
    if spec.model_file is not None:
        config, preprocessing = _read_config(spec.model_file)
        return Network(spec.model_file.stem, config, preprocessing, files=(spec.model_file,))
    if spec.model not in open_clip.list_models():
        ours = sorted(path.stem for path in OWN_MODELS.glob("*.json") if "." not in path.stem)
        known = [*ours, *open_clip.list_models()]
        raise unknown_in_spec("open_clip model", spec.model, known, "see open_clip.list_models()")
    found: dict[str, Any] = open_clip.get_model_config(spec.model)
    return Network(spec.model, found, {})


def source_of(text: str) -> Source:
    """What the spec `text` is built from; a published checkpoint is downloaded if it is not in the cache.

    Raises:
        SkipMethod: its weights cannot be had here.
        ConfigError: no such model, pretrained tag or file.
        DataError: a configuration that cannot be read.
    """
    spec = parsed(text)
    network = network_of(spec)
    if spec.random_init and spec.tag is None:
        return Source(network, network.preprocessing, files=network.files)
    if spec.weights_file is not None:
        return _of_file(spec, network, spec.weights_file)
    if spec.tag is not None:
        raise ConfigError(f"{text!r}: {spec.weights!r} is no file", "write openclip:MODEL/FILE@TAG, or the tag alone")
    tag = str(spec.weights)
    if tag in network.shipped:
        file = network.shipped[tag]
        return Source(network, network.preprocessing, file, (file, *network.files))
    if spec.packaged and network.package is not None:
        package = network.package
        note = (
            f"{network.name}: the image tower is {package.network} with the weights of {package.requirement}, trained "
            "on ImageNet; texts mean nothing to it before training"
        )
        file = package.path()
        return Source(network, network.preprocessing, file, (file, *network.files), (note,), package=package)
    config = _published(network, tag)
    file = _download(f"openclip:{spec.model}/{tag}", config)
    return Source(_activated(network, config), _preprocessing(config), file, (file,))


def _of_file(spec: EncoderSpec, network: Network, file: Path) -> Source:
    """A checkpoint of the user's, with the settings of the given tag or of the configuration next to it."""
    beside = file.parent / SIDECAR
    files = (file, *network.files, beside)
    if spec.tag is not None:
        config = _published(network, spec.tag)
        return Source(_activated(network, config), _preprocessing(config), file, files, given=True)
    if network.preprocessing:
        return Source(network, network.preprocessing, file, files, given=True)
    if beside.is_file() and not network.files:
        config, preprocessing = _read_config(beside)
        own = Network(network.name, config, preprocessing)
        notes = _differences(network, own, beside)
        source = (
            Source(own, preprocessing, file, files, given=True) if preprocessing else _assumed(spec, own, file, files)
        )
        return replace(source, notes=(*notes, *source.notes))
    if (tag := _tag_by_digest(network, file)) is not None:
        config = network.tags[tag]
        return Source(_activated(network, config), _preprocessing(config), file, files, given=True)
    return _assumed(spec, network, file, files)


def _assumed(spec: EncoderSpec, network: Network, file: Path, files: tuple[Path, ...]) -> Source:
    """The settings on which all published weights of the network agree; else open_clip's usual ones."""
    published = [_preprocessing(config) for config in network.tags.values()]
    agreed = published[0] if published and all(p == published[0] for p in published) else {}
    gelu = "QuickGELU" if network.config.get("quick_gelu") else "GELU"
    whose = "of all its published weights" if agreed else "CLIP's"
    mends = [f"put its {SIDECAR} beside it"]
    if network.tags:
        mends.insert(0, f"write openclip:{spec.model}/{file.name}@TAG (TAG: {', '.join(network.tags)})")
    note = (
        f"{file.name} does not tell how photos are prepared for it: preprocessing {whose} is assumed, and {gelu}, as "
        f"{network.name} is configured; if that is wrong, {' or '.join(mends)}"
    )
    return Source(network, agreed, file, files, () if network.own else (note,), given=True)


def _published(network: Network, tag: str) -> Mapping[str, Any]:
    """open_clip's description of published weights.

    Raises:
        ConfigError: the network has none of that tag.
    """
    import open_clip

    found: dict[str, Any] = {} if network.files else open_clip.get_pretrained_cfg(network.name, tag)
    if not found:
        known = [*network.shipped, *([PACKAGE] if network.package else []), *network.tags, RANDOM_INIT]
        fix = f"one of {', '.join(known)}, or the path of a checkpoint"
        raise unknown_in_spec(f"weights of {network.name}", tag, known, fix)
    return found


def _preprocessing(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: config[key] for key in _PREPROCESSING if config.get(key) is not None}


def _activated(network: Network, config: Mapping[str, Any]) -> Network:
    """The network with the activation that published weights were trained with: OpenAI's with QuickGELU, say."""
    if not config.get("quick_gelu"):
        return network
    return Network(network.name, {**network.config, "quick_gelu": True}, network.preprocessing)


def _download(text: str, config: Mapping[str, Any]) -> Path:
    import open_clip

    hub, url = str(config.get("hf_hub") or ""), str(config.get("url") or "")
    repository, name = _hub_file(hub)
    names = _HUB_NAMES if not name else (str(Path(name).with_suffix(".safetensors")), name)
    model, _, tag = text.partition("/")
    return fetched(
        text,
        cached=in_hub_cache(repository, names),
        host=hub_host() if hub else urlsplit(url).hostname or "",
        fetch=lambda: open_clip.download_pretrained(dict(config)),
        instead=f"{model}/FILE@{tag}",
    )


def _hub_file(hub: str) -> tuple[str, str]:
    """Repository and file name, of open_clip's ``OWNER/NAME/[FILE]``; no name stands for its usual ones."""
    owner, _, rest = hub.partition("/")
    name, _, file = rest.partition("/")
    return (f"{owner}/{name}", file) if name else ("", "")


def _tag_by_digest(network: Network, file: Path) -> str | None:
    """The tag whose published file this is, by its place in the hub's cache or by the checksum in the tag's address."""
    folders = {parent.name for parent in file.resolve().parents}
    sums = {}
    for tag, config in network.tags.items():
        repository, _ = _hub_file(str(config.get("hf_hub") or ""))
        if repository and f"models--{repository.replace('/', '--')}" in folders:
            return tag
        if (start := _checksum(str(config.get("url") or ""))) is not None:
            sums[tag] = start
    if not sums:
        return None
    found = sha256_file(file)
    return next((tag for tag, start in sums.items() if found.startswith(start)), None)


def _checksum(url: str) -> str | None:
    """The first digits of a file's SHA-256 that open_clip's own releases have in their names."""
    if "mlfoundations" not in url:
        return None
    return Path(urlsplit(url).path).stem.rpartition("-")[2]


def _read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Model and preprocessing of an open_clip configuration: a bare model, or what open_clip writes beside weights.

    Raises:
        ConfigError: there is no such file.
        DataError: it is none.
    """
    if not path.is_file():
        raise ConfigError(f"no such model configuration: {path}", "give the path of an open_clip JSON that exists")
    content = read_json(path)
    model = content.get("model_cfg", content) if isinstance(content, dict) else None
    if not isinstance(model, dict) or not set(model) >= _NEEDED:
        raise DataError(
            f"{path} is not an open_clip model configuration",
            "it needs embed_dim, vision_cfg and text_cfg, at the top or in model_cfg",
        )
    preprocessing = content.get("preprocess_cfg") if model is not content else None
    return model, _preprocessing(preprocessing) if isinstance(preprocessing, dict) else {}


def _differences(named: Network, found: Network, beside: Path) -> tuple[str, ...]:
    """How the configuration next to a checkpoint differs from the model that was named."""
    keys = _differing(named.config, found.config)
    if not keys:
        return ()
    return (f"{beside.name} beside the weights goes before {named.name}, from which it differs in {', '.join(keys)}",)


def _differing(a: Mapping[str, Any], b: Mapping[str, Any], under: str = "") -> Sequence[str]:
    found: list[str] = []
    for key in sorted({*a, *b}):
        one, other = a.get(key), b.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            found += _differing(one, other, f"{under}{key}.")
        elif one != other and not (key == "quick_gelu" and not one and not other):
            found.append(f"{under}{key}")
    return found
