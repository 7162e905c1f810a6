"""The authors' files: tensors alone, under whatever their training scripts wrapped them in, compared name by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ial_bench.encoders.weights import opening
from ial_bench.errors import DataError

State = dict[str, torch.Tensor]
_WRAPPERS = ("state_dict", "model_state_dict", "model")  # of Lightning, of CosPlace's training script, of others
_PREFIXES = ("_orig_mod.", "module.")  # of torch.compile, of DataParallel
_SHOWN = 3


def read_state(file: Path, text: str) -> State:
    """The state dict in `file`: safetensors, or a checkpoint of torch.

    Args:
        file: with the wrappers and prefixes that training scripts add, or without.
        text: the encoder's name, for errors.

    Raises:
        DataError: damaged, unsafe, or without a state dict.
    """
    found = _read(file, text)
    for key in _WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not found or not all(isinstance(v, torch.Tensor) for v in found.values()):
        raise DataError(
            f"{file} does not hold weights of {text!r}: there is no state dict in it",
            "give the checkpoint that the authors released",
        )
    for prefix in _PREFIXES:
        if all(str(k).startswith(prefix) for k in found):
            found = {k.removeprefix(prefix): v for k, v in found.items()}
    return {str(k): v for k, v in found.items()}


def fill(model: nn.Module, state: State, file: Path, text: str) -> None:
    """Load `state`, which came from `file`, into `model`, every tensor of it.

    Raises:
        DataError: not the weights of this model: which tensors are too many, missing or of another shape.
    """
    own = model.state_dict()
    lacking = [k for k in own if k not in state]
    foreign = [k for k in state if k not in own]
    shapes = [
        f"{k} is {list(state[k].shape)}, not {list(own[k].shape)}"
        for k in own
        if k in state and own[k].shape != state[k].shape
    ]
    problems = [
        f"{what}: {_some(names)}"
        for what, names in (("it lacks", lacking), ("it has besides", foreign), ("other shapes", shapes))
        if names
    ]
    if problems:
        raise DataError(
            f"{file} does not hold weights of {text!r}: {'; '.join(problems)}",
            "check that model and checkpoint belong together, and that the file is whole",
        )
    model.load_state_dict(state)


def read_centres(file: Path, text: str, width: int) -> torch.Tensor:
    """A vocabulary: float32 [k, width].

    Raises:
        DataError: damaged, unsafe, or no such table.
    """
    found = _read(file, text)
    if not isinstance(found, torch.Tensor) or found.ndim != 2 or found.shape[1] != width or not len(found):
        what = f"a tensor {list(found.shape)}" if isinstance(found, torch.Tensor) else f"a {type(found).__name__}"
        raise DataError(
            f"{file} does not hold cluster centres of {text!r}: it is {what}, not a tensor [clusters, {width}]",
            "the vocabulary comes first, such as dinov2_vitg14/l31_value_c32/urban/c_centers.pt of AnyLoc's release",
        )
    if not found.isfinite().all():
        raise DataError(f"{file}: some cluster centres are not finite", "get the file again")
    return found.float()


def _read(file: Path, text: str) -> Any:
    with opening(file, text):
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
