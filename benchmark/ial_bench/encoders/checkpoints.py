"""Read state dicts: strip the wrappers of training scripts, and compare names and shapes with the model."""

from __future__ import annotations

import argparse
import pathlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from ial_bench.encoders.weights import opening
from ial_bench.errors import DataError

State = dict[str, torch.Tensor]
Model = TypeVar("Model", bound=nn.Module)
_AVERAGED = (
    "state_dict_ema", "model_ema", "ema_state_dict", "model_ema_state_dict", "ema_model", "ema_model_state_dict", "ema",
)  # fmt: skip
"""Averaged weights are meant for evaluation, so they are preferred to others."""
_WRAPPERS = (
    *_AVERAGED,
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "weights",
    "params",
    "net",
    "network",
)
_WRAPPING = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Parts of names that torch's own wrappers insert, anywhere in a name."""
_PREFIXES = ("model.", "encoder.", "net.", "network.", "backbone.", "clip.", "clip_model.", "ema_model.")
_COUNTERS = ("n_averaged", "num_batches_tracked")
"""Of averaged models and batch norm: no feature depends on them."""
_SHOWN = 3


def read_state(file: Path, text: str, names: Collection[str] = ()) -> State:
    """The state dict in `file`: safetensors, or a checkpoint of torch.

    Args:
        file: with the wrappers and prefixes that training scripts add, or without.
        text: the encoder's name, for errors.
        names: of the wanted tensors, which show what is a prefix.

    Raises:
        DataError: damaged, unsafe, without a state dict or with several.
    """
    found = _unwrapped(_read(file, text), file, text)
    state = _tensors(found, names)
    if not state:
        raise DataError(
            f"{file} does not hold weights of {text!r}: there is no state dict in it",
            "give the checkpoint that the authors released, or torch.save(model.state_dict(), FILE)",
        )
    return state


def fill(model: nn.Module, state: State, file: Path, text: str) -> None:
    """Load `state`, which came from `file`, into `model`, every tensor of it.

    Raises:
        DataError: not the weights of this model: which tensors it has besides, lacks or has in another shape.
    """
    own = model.state_dict()
    given = {
        k: v.reshape(own[k].shape) if k in own and v.numel() == own[k].numel() == 1 else v for k, v in state.items()
    }
    lacking: Collection[str] = [k for k in own if k not in given]
    foreign: Collection[str] = [k for k in given if k not in own]
    shapes = [
        f"{k} is {list(given[k].shape)}, not {list(own[k].shape)}"
        for k in own
        if k in given and own[k].shape != given[k].shape
    ]
    if not shapes:  # a module may accept names of earlier releases, so it decides what is foreign
        lacking, unknown = model.load_state_dict(given, strict=False)
        foreign = [k for k in given if k in set(unknown)]  # in the file's order
    lacking = [k for k in lacking if not k.endswith(_COUNTERS)]
    problems = [
        f"{what}: {_some(names)}"
        for what, names in (
            ("it lacks", [f"{k} {list(own[k].shape)}" if k in own else k for k in lacking]),
            ("it has besides", [f"{k} {list(given[k].shape)}" for k in foreign]),
            ("other shapes", shapes),
        )
        if names
    ]
    if problems:
        raise DataError(
            f"{file} does not hold weights of {text!r}: {'; '.join(problems)}",
            "check that model and checkpoint belong together, and that the file is whole",
        )


def filled(
    model: Model, files: Iterable[Path], text: str, renamed: Callable[[State], State] = lambda state: state
) -> Model:
    """`model` with the tensors of checkpoints that hold all of its weights each; as it is without a file.

    Args:
        model: that takes them.
        files: checkpoints.
        text: the encoder's name, for errors.
        renamed: the tensors of a file under the model's names.

    Raises:
        DataError: as of `read_state` and `fill`.
    """
    for file in files:
        fill(model, renamed(read_state(file, text, model.state_dict())), file, text)
    return model


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
        # Earlier releases take no class by a name that it once had.
        known = tuple(int(n) for n in torch.__version__.split(".")[:2]) >= (2, 7)
        with torch.serialization.safe_globals(_harmless()) if known else nullcontext():
            return torch.load(file, map_location="cpu", weights_only=True)


def _harmless() -> list[Any]:
    """Harmless classes that training scripts store with tensors: losses, options, paths."""
    core: Any = np._core.multiarray  # type: ignore[attr-defined]  # noqa: SLF001 - where pickles say they come from
    numbers = [type(np.dtype(code)) for code in "?bBhHiIlLqQefdg"]
    return [
        (core.scalar, "numpy.core.multiarray.scalar"), (core.scalar, "numpy._core.multiarray.scalar"),
        (core._reconstruct, "numpy.core.multiarray._reconstruct"),  # noqa: SLF001
        (core._reconstruct, "numpy._core.multiarray._reconstruct"),  # noqa: SLF001
        np.dtype, np.ndarray, *numbers, argparse.Namespace,
        (pathlib.PosixPath, "pathlib.PosixPath"), (pathlib.PosixPath, "pathlib._local.PosixPath"),
    ]  # fmt: skip


def _unwrapped(found: Any, file: Path, text: str) -> Mapping[str, Any]:
    """The innermost mapping that has tensors by name; empty where there is none.

    Raises:
        DataError: there are several, and none is what a checkpoint's model is called.
    """
    while isinstance(found, Mapping):
        sets = {str(k): v for k, v in found.items() if isinstance(v, Mapping) and _holds_tensors(v)}
        known = [key for key in _WRAPPERS if key in sets]
        if not sets or (not known and any(isinstance(v, torch.Tensor) for v in found.values())):
            return found
        if len(sets) > 1 and not known:
            raise DataError(
                f"{file} does not hold weights of {text!r}: there are several sets of tensors in it: {_some([*sets])}",
                "save the one that is meant in a file of its own",
            )
        found = sets[known[0]] if known else next(iter(sets.values()))
    return {}


def _holds_tensors(found: Mapping[Any, Any]) -> bool:
    """Whether a mapping has tensors by name, at any depth; an optimiser's state has them by number."""
    return any(
        isinstance(key, str)
        and (isinstance(value, torch.Tensor) or (isinstance(value, Mapping) and _holds_tensors(value)))
        for key, value in found.items()
    )


def _tensors(found: Mapping[str, Any], names: Collection[str]) -> State:
    """The tensors by bare names, and the wanted ones of the plain numbers with them; nothing if there is no tensor."""
    if not any(isinstance(value, torch.Tensor) for value in found.values()):
        return {}
    state = {}
    for name, value in _bare({str(k): v for k, v in found.items()}, names).items():
        if isinstance(value, torch.Tensor) and (name in names or name not in _COUNTERS):
            state[name] = value
        elif name in names and isinstance(value, (float, np.number, np.ndarray)):
            state[name] = torch.as_tensor(np.asarray(value))
    return state


def _bare(state: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The same under names without prefixes, in any order of these."""
    wanted = set(names)
    dropped = _WRAPPING - {part for name in wanted for part in name.split(".")}
    state = _renamed(state, {k: ".".join(part for part in k.split(".") if part not in dropped) for k in state})
    found: Counter[str] = Counter()
    for name in state:
        parts = name.split(".")
        found.update(
            prefix + "." if prefix else ""
            for i in range(len(parts))
            for prefix in [".".join(parts[:i])]
            if ".".join(parts[i:]) in wanted
        )
    prefix, count = min(found.items(), key=lambda item: (-item[1], len(item[0])), default=("", 0))
    if 2 * count >= max(len(wanted), 1):
        return _renamed(state, {k: k.removeprefix(prefix) for k in state})
    while (shared := _common(state, wanted)) is not None:
        state = {k.removeprefix(shared): v for k, v in state.items()}
    return state


def _common(state: Mapping[str, Any], wanted: Collection[str]) -> str | None:
    """A usual prefix that all tensors share and none of those that are wanted has."""
    tensors = [k for k, v in state.items() if isinstance(v, torch.Tensor)]
    for prefix in _PREFIXES:
        if all(k.startswith(prefix) for k in tensors) and not any(k.startswith(prefix) for k in wanted):
            return prefix
    return None


def _renamed(state: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """With other names; as it was where two would have one."""
    renamed = {names[k]: v for k, v in state.items()}
    return renamed if len(renamed) == len(state) else state


def _some(names: Collection[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(list(names)[:_SHOWN]) + more
