"""The string that names an encoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ial_bench.errors import ConfigError

RANDOM_INIT = "random-init"
LIBRARIES = ("openclip", "timm")


@dataclass(frozen=True)
class EncoderSpec:
    """A parsed encoder name.

    Attributes:
        library: ``openclip`` or ``timm``.
        model: the model's name in that library, or, for openclip, the path of a model's JSON configuration.
        weights: a pretrained tag, the path of a checkpoint, ``random-init``, or None for timm's default weights.
    """

    library: str
    model: str
    weights: str | None

    @classmethod
    def parse(cls, text: str) -> EncoderSpec:
        """Read a spec.

        Raises:
            ConfigError: another form.
        """
        library, colon, rest = text.partition(":")
        forms = "openclip:MODEL/PRETRAINED_OR_FILE, openclip:CONFIG.json/FILE or timm:MODEL[/FILE]"
        if not colon or library not in LIBRARIES:
            raise ConfigError(f"{text!r} does not name an encoder", f"write {forms}")
        if ".json/" in rest:
            model, _, weights = rest.partition(".json/")
            model += ".json"
        else:
            model, _, weights = rest.partition("/")
        if not model or (library == "openclip" and not weights):
            raise ConfigError(f"{text!r} does not say which weights", f"write {forms}")
        return cls(library, model, weights or None)

    @property
    def random_init(self) -> bool:
        """Whether untrained weights are asked for."""
        return self.weights == RANDOM_INIT

    @property
    def weights_file(self) -> Path | None:
        """The checkpoint, where the weights are given as a path."""
        if self.weights is None or self.random_init:
            return None
        path = Path(self.weights).expanduser()
        looks_like_path = "/" in self.weights or path.suffix in {
            ".pt",
            ".pth",
            ".bin",
            ".safetensors",
            ".ckpt",
        }
        return path if looks_like_path or path.is_file() else None
