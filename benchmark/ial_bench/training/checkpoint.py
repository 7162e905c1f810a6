"""Checkpoints of a training: one safetensors file with its numbers as JSON in the header, whole or absent.

The header also holds the SHA-256 of the whole: without it, a flipped bit or a lost part would end up in a result.
Torch is imported where it is used: plans read checkpoints, and records logs, without it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy.typing as npt

from ial_bench.errors import DataError
from ial_bench.files import atomic_path

if TYPE_CHECKING:
    import torch
    from torch import nn

Tensors: TypeAlias = "dict[str, torch.Tensor]"
_WEIGHTS, _BEST, _OPTIMISER = "weights/", "best/", "optimiser/"
_TRAINED = "trained/"
_LENGTH = 8  # bytes at the start of a safetensors file, with the length of the JSON that follows
_MAX_HEAD = 64 << 20  # bytes of that JSON


@dataclass
class TrainingLog:
    """How a training went.

    Attributes:
        epochs: per epoch its mean losses, val SSA-1 and images per second.
        best_epoch: whose weights were kept, from 1; None before the first.
        steps: taken in all.
    """

    epochs: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int | None = None
    steps: int = 0

    def as_dict(self) -> dict[str, Any]:
        """As JSON values, for records and checkpoints."""
        return {"steps": self.steps, "best_epoch": self.best_epoch, "epochs": self.epochs}

    @property
    def best_val(self) -> float:
        """Val SSA-1 of the best epoch, -1 where none was measured."""
        if self.best_epoch is None:
            return -1.0
        value = self.epochs[self.best_epoch - 1]["val_ssa1"]
        return -1.0 if value is None else float(value)


@dataclass(frozen=True)
class Checkpoint:
    """A training at the end of a step.

    Attributes:
        weights: what is trained.
        best: the same after the best epoch so far; None before the first.
        optimiser: ``state_dict()["state"]`` of the optimiser.
        progress: everything that is not a tensor: step, losses so far, epochs.
    """

    weights: Tensors
    best: Tensors | None
    optimiser: dict[int, dict[str, torch.Tensor]]
    progress: dict[str, Any]


def trained_tensors(module: nn.Module) -> Tensors:
    """Copies, on the CPU, of the parameters that are trained."""
    return {n: p.detach().to("cpu", copy=True).contiguous() for n, p in module.named_parameters() if p.requires_grad}


def put_tensors(module: nn.Module, tensors: Tensors) -> None:
    """Copy tensors of `trained_tensors` into the module.

    Raises:
        DataError: they belong to another module.
    """
    import torch

    own = {n: p for n, p in module.named_parameters() if p.requires_grad}
    if set(own) != set(tensors) or any(own[n].shape != t.shape for n, t in tensors.items()):
        raise DataError("the stored weights are of another model", "run it again with --rerun")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(tensors[name])


def tensors_to_state(tensors: Mapping[str, torch.Tensor]) -> dict[str, npt.NDArray[Any]]:
    """Trained tensors as a part of a method's state."""
    return {_TRAINED + n: t.detach().cpu().numpy() for n, t in tensors.items()}


def tensors_from_state(state: Mapping[str, npt.NDArray[Any]]) -> Tensors:
    """What `tensors_to_state` was given, out of a whole state."""
    import torch

    return {n.removeprefix(_TRAINED): torch.tensor(a) for n, a in state.items() if n.startswith(_TRAINED)}


def laid_out_like(parameter: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """`value`, of the parameter's shape, in the memory layout of the parameter.

    torch's fused steps (2.14) on CPUs pair a parameter with gradient and moments by their place in memory. Where one of
    them lies with channels last and another does not, they take other elements, without an error.
    """
    import torch

    if value.stride() == parameter.stride():
        return value
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Store it.

    Raises:
        StorageError: the disk is full or forbidden; the earlier checkpoint stays.
    """
    from safetensors.torch import save_file

    tensors = {_WEIGHTS + n: t for n, t in checkpoint.weights.items()}
    tensors |= {_BEST + n: t for n, t in (checkpoint.best or {}).items()}
    for number, state in checkpoint.optimiser.items():
        tensors |= {f"{_OPTIMISER}{number}/{n}": t.detach().cpu().contiguous() for n, t in state.items()}
    told = json.dumps(checkpoint.progress, allow_nan=False)
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"told": told, "sha256": _sum(tensors, told)})


def read_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint at `path`, None where there is none.

    Raises:
        DataError: it is damaged, or of an earlier release, which kept no sum.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            told, expected = metadata["told"], metadata.get("sha256", "none")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safe_open is no mapping
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise damaged(path, str(error)) from error
    if (found := _sum(tensors, told)) != expected:
        raise damaged(path, f"the SHA-256 of its contents is {found[:12]}..., it was {expected[:12]} when written")
    weights: Tensors = {}
    best: Tensors = {}
    optimiser: dict[int, Tensors] = {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition("/")
        if f"{kind}/" == _OPTIMISER:
            number, _, part = rest.partition("/")
            optimiser.setdefault(int(number), {})[part] = tensor
        else:
            (weights if f"{kind}/" == _WEIGHTS else best)[rest] = tensor
    return Checkpoint(weights, best or None, optimiser, json.loads(told))


def steps_done(path: Path) -> int:
    """Steps of the training at its checkpoint, 0 where there is none or it cannot be read."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH), "little")
            head = json.loads(file.read(length)) if length <= _MAX_HEAD else {}
        return int(json.loads(head["__metadata__"]["told"])["log"]["steps"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def damaged(path: Path, why: str) -> DataError:
    """The error for a checkpoint that a training cannot resume from."""
    return DataError(
        f"the checkpoint {path} is damaged: {why}",
        "`bench run` with --rerun trains anew; so does the same command when that file is deleted",
    )


def _sum(tensors: Tensors, told: str) -> str:
    """SHA-256 over names, types, shapes and values of all tensors, and the JSON."""
    import torch

    total = hashlib.sha256(told.encode())
    for name, tensor in sorted(tensors.items()):
        total.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
