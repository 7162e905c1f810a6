"""The string that names an encoder."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ial_bench.encoders.vpr.published import FILES_JOINED_BY, PUBLISHED
from ial_bench.errors import ConfigError, SkipMethod, unknown_name

RANDOM_INIT = "random-init"
PACKAGE = "package"
"""Stands for the weights of an installed package."""
SHORT = {"lite0": "openclip:lite0/package"}
"""Encoders that have a name of one word."""
LIBRARIES = ("openclip", "timm", "vpr")
ENCODER_FORMS = tuple(f"{library}:" for library in LIBRARIES)
"""How the name of an encoder begins."""
POOLINGS = ("avg", "cls", "gem", "max")
OWN_POOLING = "encoder"
POOLING_FORMS = "encoder (its own), avg, gem or netvlad:CLUSTERS"
_FORMS = (
    "write openclip:MODEL/PRETRAINED_OR_FILE, openclip:MODEL/FILE@PRETRAINED, openclip:CONFIG.json/FILE, "
    f"timm:MODEL[+POOLING][/FILE], vpr:NAME/FILE or {', '.join(SHORT)}"
)
_VPR_NAMES = (
    "write vpr:NAME/FILE, where NAME is cosplace-TRUNK-DIM or eigenplaces-TRUNK-DIM (such as cosplace-resnet50-512), "
    "mixvpr-resnet50-DIM (128, 512, 4096), salad or anyloc-dinov2-vitg14"
)
_SUFFIXES = {".pt", ".pth", ".bin", ".safetensors", ".ckpt"}
_FILE_AT_TAG = re.compile(r"(?P<file>.+)@(?P<tag>[A-Za-z0-9_-]+)")


@dataclass(frozen=True)
class EncoderSpec:
    """A parsed encoder name.

    Attributes:
        library: ``openclip``, ``timm``, or ``vpr``, the published place-recognition encoders.
        model: the model's name in that library, or, for openclip, the path of a model's JSON configuration.
        weights: a pretrained tag, the path of a checkpoint, ``random-init``, ``package``, or None for timm's default
            weights; for vpr one path, or several joined by ``::``.
        pooling: of a timm backbone, how its last feature map or tokens become one feature; None for the model's own.
        tag: of an openclip checkpoint, the pretrained tag whose preprocessing and activation it has, written
            ``FILE@TAG``.
    """

    library: str
    model: str
    weights: str | None
    pooling: str | None = None
    tag: str | None = None

    @classmethod
    def parse(cls, text: str) -> EncoderSpec:
        """Read a spec.

        Raises:
            ConfigError: another form, an unknown pooling or an unknown place-recognition encoder.
        """
        library, colon, rest = text.partition(":")
        if not colon or library not in LIBRARIES:
            near = difflib.get_close_matches(library, LIBRARIES if colon else tuple(SHORT), n=1)
            hint = f"; did you mean {near[0]}{colon}{rest}?" if near else ""
            raise ConfigError(f"{text!r} does not name an encoder{hint}", _FORMS)
        if library == "openclip" and ".json/" in rest:
            model, _, weights = rest.partition(".json/")
            model += ".json"
        else:
            model, _, weights = rest.partition("/")
        pooling = None
        if library == "timm":
            model, plus, pooling_name = model.partition("+")
            pooling = pooling_name if plus else None
        if not model or (library == "openclip" and not weights):
            raise ConfigError(f"{text!r} does not say which weights", _FORMS)
        if pooling is not None and pooling not in POOLINGS:
            raise unknown_in_spec("pooling", pooling, POOLINGS, f"one of {', '.join(POOLINGS)}: timm:{model}+gem")
        if library == "vpr" and model not in PUBLISHED:
            raise unknown_in_spec("place-recognition encoder", model, tuple(PUBLISHED), _VPR_NAMES)
        if weights and library == "vpr" and not all(weights.split(FILES_JOINED_BY)):
            raise ConfigError(f"{text!r} leaves a file out", f"write vpr:{model}/{PUBLISHED[model].files}")
        tagged = (
            _FILE_AT_TAG.fullmatch(weights)
            if library == "openclip" and not Path(weights).expanduser().is_file()
            else None
        )
        if tagged is not None:
            return cls(library, model, tagged["file"], pooling, tagged["tag"])
        return cls(library, model, weights or None, pooling)

    @property
    def random_init(self) -> bool:
        """Whether untrained weights are asked for."""
        return self.weights == RANDOM_INIT

    @property
    def packaged(self) -> bool:
        """Whether the weights of an installed package are asked for."""
        return self.weights == PACKAGE

    @property
    def weights_files(self) -> tuple[Path, ...]:
        """The checkpoints, where the weights are given as paths."""
        if self.weights in {None, RANDOM_INIT, PACKAGE}:
            return ()
        names = str(self.weights).split(FILES_JOINED_BY) if self.library == "vpr" else [str(self.weights)]
        paths = [Path(name).expanduser() for name in names]
        known = all("/" in n or p.suffix in _SUFFIXES or p.is_file() for n, p in zip(names, paths, strict=True))
        return tuple(paths) if known else ()

    @property
    def weights_file(self) -> Path | None:
        """The (first) checkpoint, where the weights are given as a path."""
        return next(iter(self.weights_files), None)

    @property
    def model_file(self) -> Path | None:
        """The model's JSON configuration, where it is given as a path."""
        return Path(self.model).expanduser() if self.library == "openclip" and self.model.endswith(".json") else None

    @property
    def published(self) -> bool:
        """Whether the name alone identifies the encoder: it has no file of the user's."""
        return not (self.weights_files or self.model_file)

    @property
    def from_hub(self) -> bool:
        """Whether its weights come from a hub: published, neither of a package nor untrained."""
        return self.published and not (self.packaged or self.random_init)

    @property
    def shown(self) -> str:
        """The spec with the base names of its files: what records and reports show."""
        if self.published:
            return self._text(self.network, self.weights or "")
        network = self.network if self.model_file is None else self.model_file.name
        return self._text(network, FILES_JOINED_BY.join(p.name for p in self.weights_files) or self.weights or "")

    def _text(self, network: str, weights: str) -> str:
        tag = "" if self.tag is None else f"@{self.tag}"
        return f"{self.library}:{network}" + (f"/{weights}{tag}" if weights else "")

    @property
    def network(self) -> str:
        """The model with its pooling, as it is written in a spec."""
        return self.model if self.pooling is None else f"{self.model}+{self.pooling}"


@dataclass(frozen=True)
class PoolingSpec:
    """How local features become one, by its text.

    Attributes:
        kind: ``encoder``, ``avg``, ``gem`` or ``netvlad``.
        clusters: of netvlad.
    """

    kind: str
    clusters: int = 0

    @classmethod
    def parse(cls, text: str) -> PoolingSpec:
        """The pooling that `text` names, such as ``netvlad:32``.

        Raises:
            ValueError: it is none.
        """
        kind, colon, number = text.partition(":")
        if kind == "netvlad" and number.isascii() and number.isdigit() and int(number) >= 1:
            return cls(kind, int(number))
        if kind in {OWN_POOLING, "avg", "gem"} and not colon:
            return cls(kind)
        raise ValueError(f"pooling {text!r} is none of {POOLING_FORMS}")


def long_name(text: str) -> str:
    """The spec that a name of one word stands for; any other text as it is."""
    return SHORT.get(text, text)


def unknown_in_spec(kind: str, name: str, known: Collection[str], fix: str) -> ConfigError:
    """A ConfigError for a part of a spec that names nothing, with the nearest known names if any is near."""
    error = unknown_name(kind, name, known, fix)
    return ConfigError(error.problem, error.fix)


def require_trainable_tower(text: str) -> None:
    """Refuse the encoders whose image tower is not trained further here.

    Raises:
        SkipMethod: the spec `text` names one.
        ConfigError: it names no encoder.
    """
    if EncoderSpec.parse(text).library == "vpr":
        raise SkipMethod(f"{text} is used as published and not trained further; give an openclip: or timm: backbone")


def without_folders(message: str, text: str | None) -> str:
    """A message with the files of the spec `text` by their base names."""
    if text is None:
        return message
    spec = EncoderSpec.parse(text)
    files = [*spec.weights_files, *([] if spec.model_file is None else [spec.model_file])]
    for file in sorted({str(f) for f in files} | {str(f.resolve()) for f in files}, key=len, reverse=True):
        message = message.replace(file, Path(file).name)
    return message.replace(text, spec.shown)


def shown_spec(text: str) -> str:
    """`EncoderSpec.shown` of a spec; what is none, as it is."""
    try:
        return EncoderSpec.parse(text).shown
    except ConfigError:
        return text
