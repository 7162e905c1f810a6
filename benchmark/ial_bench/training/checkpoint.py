"""Checkpoints of a training: one safetensors file with its numbers as JSON in the header, whole or absent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ial_bench.errors import DataError
from ial_bench.files import atomic_path

Tensors = dict[str, torch.Tensor]
_WEIGHTS, _BEST, _OPTIMISER = "weights/", "best/", "optimiser/"


@dataclass(frozen=True)
class Checkpoint:
    """A training at the end of a step.

    Attributes:
        weights: what is trained.
        best: the same after the best epoch so far; None before the first.
        optimiser: ``state_dict()["state"]`` of the optimiser.
        told: everything that is no tensor: step, losses so far, epochs.
    """

    weights: Tensors
    best: Tensors | None
    optimiser: dict[int, dict[str, torch.Tensor]]
    told: dict[str, Any]


def trained_tensors(module: nn.Module) -> Tensors:
    """Copies, on the CPU, of the parameters that are trained."""
    return {n: p.detach().to("cpu", copy=True).contiguous() for n, p in module.named_parameters() if p.requires_grad}


def put_tensors(module: nn.Module, tensors: Tensors) -> None:
    """Take over what `trained_tensors` gave.

    Raises:
        DataError: they are of another module.
    """
    own = {n: p for n, p in module.named_parameters() if p.requires_grad}
    if set(own) != set(tensors) or any(own[n].shape != t.shape for n, t in tensors.items()):
        raise DataError("the stored weights are of another model", "run it again with --rerun")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(tensors[name])


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
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"told": json.dumps(checkpoint.told, allow_nan=False)})


def read_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint at `path`, None where there is none.

    Raises:
        DataError: it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    weights, best, optimiser = dict[str, torch.Tensor](), dict[str, torch.Tensor](), dict[int, Tensors]()
    try:
        with safe_open(path, framework="pt") as file:
            told = json.loads(file.metadata()["told"])
            for name in file.keys():  # noqa: SIM118 - safe_open is no mapping
                kind, _, rest = name.partition("/")
                if f"{kind}/" == _OPTIMISER:
                    number, _, part = rest.partition("/")
                    optimiser.setdefault(int(number), {})[part] = file.get_tensor(name)
                else:
                    (weights if f"{kind}/" == _WEIGHTS else best)[rest] = file.get_tensor(name)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"the checkpoint {path} is damaged: {error}", "run it again with --rerun") from error
    return Checkpoint(weights, best or None, optimiser, told)
